"""What is predicted: one kind of target a file, found by its name. Knows nothing of inputs.

This file is their contract. A task turns target cells into tensors, gives the loss and the metrics, and writes predictions out;
how answers are judged by them, and against what, stands in `mmcli.judging`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from torch import Tensor, nn

from mmcli.judging.baselines import Baselined, Boosted, Evidence, Linear
from mmcli.judging.scores import Judged
from mmcli.reporting.classes import ClassScore
from mmcli.reporting.metrics import Array
from mmcli.reporting.svg import Figure
from mmcli.signals import Decision, Kind
from mmcli.text.words import Timed

Ability = Literal[
    "calibration",
    "calibration by class",
    "distillation",
    "decision fusions",
    "EMAP",
    "linear baseline",
    "plain member",
    "known texts",
    "prediction sets",
    "McNemar's test",
    "doubtful targets",
]
"""What can be had of some kinds of targets."""
MADE_FOR: dict[Ability, tuple[tuple[str, ...], str]] = {
    "calibration": (("softmax", "sigmoid"), "there are no probabilities to calibrate"),
    "calibration by class": (("softmax",), "it is for classes of which a row has one"),
    "McNemar's test": (("softmax",), "it is for classes, where a row is just right or wrong"),
    "doubtful targets": (("softmax",), "it is for classes, whose probabilities can speak against a target"),
}
"""Of what is not for every vector of decisions: by which links they must become probabilities, and what is lacking else."""

Cells = Sequence[tuple[str | None, ...]]
"""The target cells of some rows, one to a target column."""


@dataclass(frozen=True)
class Likeness:
    """How sure a task is that a target is its kind, from 0 to 1, and why."""

    confidence: float
    reason: str


class Task(Judged, Baselined):
    """A kind of target, fitted to the train split. `outputs` are what the head gives, raw, of the kind that the task names."""

    needs_target: ClassVar[bool] = True
    """Whether rows have a target; without one, all rows can be learnt from, and there is nothing to be encoded."""
    gives_embeddings: ClassVar[bool] = False
    """Whether outputs are vectors to be compared with others' rather than decisions about their own row."""
    compares_rows: ClassVar[bool] = False
    """Whether the loss compares the rows of a batch: then parts of it take two passes, and no row is mixed with another."""
    compares_columns: ClassVar[bool] = False
    """Whether it asks if columns of a row that share an encoder belong together: the encoder then learns from pairs of them."""
    aligns_columns: ClassVar[bool] = False
    """Whether the columns of a row are what is learnt from, no target being needed: answers are a vector for each column."""
    columns: tuple[str, ...] = ()
    """Where it is so, the inputs, in order."""
    enrolled: int = 0
    """Train rows whose answers are kept, since others' are compared with them."""
    features_may_be_swapped: ClassVar[bool] = True
    """Whether F may learn from rows some of whose features are another row's."""
    fusion_families: ClassVar[tuple[str, ...] | None] = None
    """The families of fusions that fit; None: all."""
    new_classes_after_train: ClassVar[bool] = False
    """Whether val and test may hold classes, or identities, that train lacks."""
    tokens: ClassVar[Literal["bounded", "whole"]] = "bounded"
    """Whether some tokens of a row are enough among the embeddings, or each is needed."""
    has_classes: ClassVar[bool] = False
    """Whether each row has one of some classes, the stratum being the class."""
    must_vary: ClassVar[bool] = False
    """Whether nothing can be learnt from a target that is the same in every row."""
    ordered: ClassVar[bool] = False
    """Whether the classes stand in an order."""
    target_names: ClassVar[tuple[str, ...]] = ()
    """What a target is called, in small letters, beside the names that every task knows."""
    heads: ClassVar[tuple[str, ...]] = ("linear",)
    """The heads that fit it, the first by default."""
    default_fusion: ClassVar[str] = "gated"
    """The method that fuses where none is named."""
    config: Any

    @classmethod
    @abstractmethod
    def sniff(cls, config: Any, cells: Cells) -> Likeness:
        """How surely a target with these cells (all there) is of this kind."""

    @classmethod
    def suited(cls, config: Any, modalities: Sequence[str]) -> Any:  # noqa: ARG003 - for those that depend on them
        """The options for a table with inputs of these modalities."""
        return config

    def head_for(self, kind: Kind, in_order: bool, seconds: float = 0.0) -> tuple[str, dict[str, Any]]:  # noqa: ARG002
        """The head that an input's own encoder gets where none is named, and options of it, by what its signals are; whether
        the encoder's tokens are steps in order; and of sound, how much of it train has."""
        return self.heads[0], {}

    @classmethod
    def is_labelled(cls, config: Any, cells: tuple[str | None, ...]) -> bool:  # noqa: ARG003 - for those with an empty label
        """Whether a row with these cells can be learnt from."""
        return all(cell is not None for cell in cells)

    @classmethod
    def check(cls, config: Any, names: Sequence[str], cells: tuple[str | None, ...]) -> None:  # noqa: ARG003
        """Looks at one labelled row's cells by themselves.

        Raises:
            DataError: they cannot be targets of this kind.
        """
        return

    @classmethod
    @abstractmethod
    def strata(cls, config: Any, cells: Cells) -> list[str]:
        """For each row what should be spread evenly over the splits: its class, or the like."""

    @classmethod
    def amounts(cls, config: Any, cells: Cells) -> Array | None:  # noqa: ARG003 - for those that have some
        """Where cells are the amounts of one thing, whose scale may be chosen: float64 [N]."""
        return None

    @classmethod
    @abstractmethod
    def fit(cls, config: Any, cells: Cells, names: Sequence[str]) -> Self:
        """Learns what must be learnt from the targets of the train split; `names` are the target columns.

        Raises:
            DataError: nothing can be learnt from them.
        """

    def admitting(self, cells: Cells) -> Self:  # noqa: ARG002
        """The same task, which knows classes of these cells that train lacks: of those where that may be."""
        return self

    def over(self, inputs: Mapping[str, str]) -> Self:  # noqa: ARG002 - most ask for nothing but targets
        """The same task, which knows the inputs by name, and which modality each is: where they are what it asks about."""
        return self

    def kinship(self, cells: Tensor, groups: Array | None) -> Tensor:
        """Where columns are aligned, what stands for targets: int64 [N, 1 + C], the group of each row (its own number, where
        the table names none), and the number of each cell, equal ones alike, -1 where it is absent; `cells` are [C, N]."""
        raise NotImplementedError(f"{type(self).__name__} learns from targets, of {cells.shape[1]} rows")

    @abstractmethod
    def encode(self, cells: Cells) -> Tensor:
        """Targets as a tensor [N, ...].

        Raises:
            DataError: a target that cannot be one.
        """

    @abstractmethod
    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """What training minimises: a scalar."""

    @abstractmethod
    def decode(self, outputs: Any) -> dict[str, list[Any]]:
        """What `predict` writes: column suffix -> one value a row; the suffix "" is the prediction."""

    @property
    def answers(self) -> Sequence[str]:
        """The cells of the target, one of which each prediction is; none where predictions are made of something else."""
        return ()

    @property
    def items(self) -> Sequence[str]:
        """The names of which each prediction is a list, as the cells of the target are; none where they are no lists."""
        return ()

    def column(self, target: str, suffix: str) -> str:
        """What the column of such a suffix is called in tables of predictions."""
        return f"{target}_predicted{suffix}"

    @property
    def most_answers(self) -> int:
        """How many answers to a row it can tell, the likeliest first: see `alternatives`."""
        return 1

    def alternatives(self, outputs: Any, count: int) -> dict[str, list[Any]]:  # noqa: ARG002 - for those that search
        """What `predict --nbest` writes besides: the second answer to the last of `count` that are asked for."""
        return {}

    def words(self, outputs: Any) -> list[list[Timed]]:
        """Of each row where the words of its text are, where answers follow steps."""
        raise NotImplementedError(f"{type(self).__name__} answers with {self.outputs.words}, which follow no steps")

    def remarks(self, outputs: Any, targets: Tensor) -> list[str]:  # noqa: ARG002 - for those with something to say
        """What should be known of these answers beside their scores, in words."""
        return []

    @abstractmethod
    def summary(self) -> str:
        """What was learnt of the targets, in a few words: `9 classes`."""

    @abstractmethod
    def draw(self, outputs: Any, targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """What shows where the outputs are right and wrong: name -> (drawing, caption)."""

    def draw_beside(self, each: Mapping[str, Any], targets: Tensor) -> dict[str, tuple[Figure, str]]:
        """The same of several models by name, the first being the one in hand: where columns are aligned."""
        return self.draw(next(iter(each.values())), targets)

    def retrieval(self, outputs: Any, targets: Tensor, seed: int = 0, groups: Array | None = None) -> dict[str, dict[str, Any]]:
        """Where columns are aligned, direction (`image->tags`) -> each metric with its interval, and among how many cells a
        row's own is looked for, `gallery`."""
        raise NotImplementedError(f"{type(self).__name__} finds no columns by others, of {len(targets)} rows")

    def embeddings(self, outputs: Any) -> dict[str, list[list[float] | None]] | None:  # noqa: ARG002 - most have one for a row
        """Column -> its vector in each row, None where it is absent; None where a row has one vector: the fused features."""
        return None

    def by_class(self, outputs: Any, targets: Tensor) -> list[ClassScore]:  # noqa: ARG002 - those that have classes
        """Precision and recall of each class or label; none where there are no such."""
        return []

    def worst_rows(self, outputs: Any, targets: Tensor, most: int) -> list[tuple[int, str]] | None:  # noqa: ARG002
        """The rows whose answers are the most wrong, and how in words; None where the outputs themselves tell, as decisions."""
        return None

    def taken_for(self, outputs: Any, targets: Tensor, rows: Sequence[int]) -> list[int] | None:  # noqa: ARG002
        """Where `rows` are compared with the others that are given: which one each is wrongly taken for; None where answers
        are names of their own."""
        return None

    def worst_pairs(self, outputs: Any, targets: Tensor, most: int) -> list[tuple[int, int, str]]:  # noqa: ARG002
        """Pairs of rows that are the most wrongly taken for alike or unlike, and how in words; none where rows are not
        compared."""
        return []

    def pairs(self, outputs: Any, targets: Tensor) -> tuple[list[tuple[list[str], list[str]]], str] | None:  # noqa: ARG002
        """Of each row the units that were written and the right ones, to be set against each other, and what stands between
        units; None where answers are no texts."""
        return None

    def chosen(self, outputs: Tensor) -> Tensor:
        """Where each row has one of some classes: the number of the one that it is told, int64 [N]."""
        return outputs.argmax(1)

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that was configured and learnt, as plain JSON."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The reverse of `state`."""

    @property
    def decision(self) -> Decision:
        """What of the outputs decides, where they are decisions."""
        raise NotImplementedError(f"{type(self).__name__} answers with {self.outputs.words}, which decide nothing")

    @property
    def num_outputs(self) -> int:
        """How many numbers a row's outputs are, where they are decisions."""
        return self.decision.width

    def lacks(self, ability: Ability) -> str:
        """Why it cannot be had of this kind of target, in words; empty where it can."""
        if not self.outputs.decides or self.gives_embeddings:
            answers = "vectors to compare" if self.gives_embeddings else self.outputs.words
            return f"it is made for classes, labels and numbers, and these answers are {answers}"
        if ability == "known texts":
            return "these answers are no texts"
        if ability == "plain member" and self.compares_columns:
            return "columns are compared, and what a linear model says of each adds up to nothing of that kind"
        if ability == "plain member" and type(self).linear_model is Task.linear_model:
            return f"{type(self).__name__} has no linear model that says what its weights are"
        links, why = MADE_FOR.get(ability, ((), ""))
        return why if links and self.decision.link not in links else ""

    def decision_head(self) -> nn.Module:
        """From fused decisions [B, decision.width] to outputs."""
        return nn.Identity()

    def settle(self, decide: nn.Module, outputs: Tensor, targets: Tensor) -> None:  # noqa: ARG002
        """Sets what its `decision_head` decides by (thresholds), from val outputs and targets."""
        return


Contract = Task
__all__ = ["Ability", "Boosted", "Cells", "Contract", "Evidence", "Likeness", "Linear", "Task"]
