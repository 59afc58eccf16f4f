"""What a fused model is built of, as plain data: encoders, the fusions that are averaged, calibration. With it and a file of
weights a model stands alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor, nn

from mmcli import registry
from mmcli.artifacts.store import Artifact
from mmcli.config import validate
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError
from mmcli.fusions import Alignment, Fusion
from mmcli.heads import Decisions, Head
from mmcli.models import calibration, in_context, plain, recall
from mmcli.models.networks import AveragedHeads, FusedModel, FusionHead, Heads
from mmcli.models.trees import Config as TreesConfig
from mmcli.models.trees import Trees
from mmcli.signals import SignalSpec
from mmcli.tasks import Task
from mmcli.vectors.beside import Beside

HEAD_START = 0.1
"""Factor on a head's first weights where the columns' own predictions are there from the start."""


@dataclass(frozen=True)
class Member:
    """One fusion and its head."""

    method: str
    fusion: dict[str, Any]
    """Its `Config`."""
    encoders: tuple[str, ...]
    """Those it reads, in order."""
    decisions: bool = False
    """Whether the encoders' own predictions are added to its outputs."""


@dataclass(frozen=True)
class Recipe:
    """All of a fused model but its weights."""

    encoders: dict[str, dict[str, Any]]
    """Name -> input, architecture, encoder (its `Config`), head (that of the column by itself); and the `owner` of its
    weights, where that is another input; the `fold` that it is of, where that is not the first. A term of a linear model, of
    boosted trees or of a tabular foundation model has no head and is `solved`; the last has the `origin` of its weights."""
    members: tuple[Member, ...]
    head: dict[str, Any]
    """The head over F: its name and its `Config`."""
    modality_dropout: float = 0.0
    calibration: str = ""
    calibration_shape: tuple[int, ...] = ()
    slim: bool = False
    """Whether layers were narrowed, so that the file of weights has the say on shapes."""

    @classmethod
    def of(cls, artifact: Artifact) -> Recipe:
        """That of a fusion or an optimised model."""
        config = artifact.config
        if "recipe" in config:
            return cls.from_dict(config["recipe"])
        member = Member(config["method"], config["fusion"], tuple(config["encoders"]), config["training"]["decisions"])
        members = (member,) * len(config["seeds"])
        if beside := config.get("beside"):
            members += (Member(beside["method"], beside["fusion"], member.encoders),)
        solved: dict[str, dict[str, dict[str, Any]]] = config.get("solved", {})
        built_by = config.get("solved_fusions", {})
        members += tuple(Member(method, built_by.get(method, {}), tuple(terms)) for method, terms in solved.items())
        dropout = float(config["training"]["modality_dropout"])  # tuning it further goes on taking inputs away
        encoders = {name: choice for terms in (config["encoders"], *solved.values()) for name, choice in terms.items()}
        return cls(encoders, members, config["head"], dropout)

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Recipe:
        """The reverse of `as_dict`."""
        found = dict(said)
        members = tuple(Member(**{**own, "encoders": tuple(own["encoders"])}) for own in found.pop("members"))
        return cls(members=members, calibration_shape=tuple(found.pop("calibration_shape")), **found)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def sources(self) -> dict[str, str]:
        """Encoder -> its input."""
        return {name: str(choice["input"]) for name, choice in self.encoders.items()}

    @property
    def methods(self) -> str:
        """The methods in a word: `gated`, or `gated x 3, conv`."""
        names = [member.method for member in self.members]
        return ", ".join(f"{name} x {names.count(name)}" if names.count(name) > 1 else name for name in dict.fromkeys(names))

    def with_members(self, members: Sequence[Member], all_encoders: Mapping[str, dict[str, Any]]) -> Recipe:
        """Other fusions, and just the encoders that they read."""
        used = {name for member in members for name in member.encoders}
        encoders = {name: choice for name, choice in all_encoders.items() if name in used}
        return replace(self, members=tuple(members), encoders=encoders)

    def build(self, dataset: Dataset, weights: Mapping[str, Tensor] | None = None) -> FusedModel:
        """The model, freshly initialised, or with `weights` and ready to predict."""
        encoders = self._encoders(dataset)
        dims = {name: encoder.dim for name, encoder in encoders.items()}
        heads = [self._member(member, dims, dataset.task) for member in self.members]
        decides = any(head.reads_outputs for head in heads)
        own_heads = {
            name: build_answer(self.encoders[name]["head"], dataset.task, dim)
            for name, dim in dims.items()
            if decides and not is_solved(self.encoders[name])
        }
        layer = calibration.build(self.calibration, self.calibration_shape)
        network = FusedModel(encoders, averaged(heads), own_heads or None, layer)
        if weights is None:
            return network
        if self.slim:
            fit_shapes(network, weights)
        network.load_state_dict(dict(weights))
        return network.eval()

    def _member(self, member: Member, dims: Mapping[str, int], task: Task) -> FusionHead:
        own, sources = {name: dims[name] for name in member.encoders}, {name: self.sources[name] for name in member.encoders}
        if member.method in plain.TERMS:
            return plain.build(own, sources, task)
        if member.method == recall.METHOD:
            return recall.build(own, sources, task, member.fusion, int(self.head["config"].get("beam", 1)))
        groups = groups_of(self.encoders, member.encoders)
        how = (member.method, member.fusion, own, sources, task, self.head, self.modality_dropout)
        return build_head(*how, decisions=member.decisions, groups=groups)

    def _encoders(self, dataset: Dataset) -> dict[str, Encoder]:
        """The encoders by name, freshly initialised; one that several inputs share is built once."""
        shared = {_weights_of(choice) for choice in self.encoders.values() if "owner" in choice}
        built: dict[tuple[str, str, int], Encoder] = {}
        made: dict[str, Encoder] = {}
        for name, choice in self.encoders.items():
            key = _weights_of(choice)
            common = key in shared and not is_solved(choice)  # a term of a solved model is its own
            known = built.get(key) if common else None
            own = build_encoder(key[1], choice["encoder"], dataset.input(choice["input"]).spec) if known is None else known
            made[name] = own
            built |= {key: own} if common else {}
        return made


def is_solved(choice: Mapping[str, Any]) -> bool:
    """Whether an encoder is a term of a solved model: its weights stand with the fused model's own, and it has no head."""
    return bool(choice.get("solved"))


def _weights_of(choice: Mapping[str, Any]) -> tuple[str, str, int]:
    """The input whose encoder it is, of which architecture, and of which fold."""
    return str(choice.get("owner", choice["input"])), str(choice["architecture"]), int(choice.get("fold", 1))


def build_encoder(architecture: str, config: Mapping[str, Any], spec: SignalSpec) -> Encoder:
    """An encoder for signals of that shape, freshly initialised."""
    if architecture == plain.TREES:
        return Trees(validate(TreesConfig, config, "encoder.trees"), spec)
    if architecture == plain.IN_CONTEXT:
        return in_context.InContext(validate(in_context.Config, config, "encoder.in-context"), spec)
    if architecture == recall.WORDS:
        return recall.LookedUp(validate(recall.Config, config, "encoder.words"), spec)
    encoder: Encoder = _build("encoders", architecture, config, spec)
    return encoder


def groups_of(choices: Mapping[str, Mapping[str, Any]], names: Iterable[str]) -> list[list[str]]:
    """Those of the named encoders that several inputs share: a group for each, in order."""
    groups: dict[tuple[str, str, int], list[str]] = {}
    for name in names:
        groups.setdefault(_weights_of(choices[name]), []).append(name)
    return [group for group in groups.values() if len({choices[name]["input"] for name in group}) > 1]


def build_fusion(
    method: str,
    config: Mapping[str, Any],
    dims: Mapping[str, int],
    task: Task,
    groups: Sequence[Sequence[str]] = (),
    sources: Mapping[str, str] | None = None,
) -> Fusion:
    """A fusion of columns of those widths, or of their predictions, freshly initialised; `groups` are those that share an
    encoder, `sources` the inputs that they read.

    Raises:
        ConfigError: the method does not fit the options, the columns or the task.
    """
    kind: type[Fusion] = registry.load("fusions", method)
    decides = kind.family == "decision"
    fit = task.fusion_families
    unfit = f"such targets go with methods of {' and '.join(fit)}" if fit is not None and kind.family not in fit else ""
    unfit = unfit or (task.lacks("decision fusions") if decides else "")
    unfit = unfit or ("such methods go with --task contrastive" if kind.aligns and not task.aligns_columns else "")
    if unfit:
        raise ConfigError(f"{method} fuses {kind.family}s: {unfit}", "Choose another --method; mmcli list fusions shows them.")
    if kind.compares and not groups:
        raise ConfigError(
            f"{method} compares columns that share an encoder: none do", "Preprocess with --share image_b=image_a"
        )
    more: list[Any] = [*([task.decision] if decides else []), *([groups] if kind.compares else [])]
    if kind.aligns:
        read = {name: (sources or {}).get(name, name) for name in dims}
        more.append(Alignment(tuple(task.columns), read, tuple(tuple(group) for group in groups)))
    fusion: Fusion = _build("fusions", method, config, dims, *more)
    return fusion


def encoder_choice(config: Mapping[str, Any]) -> dict[str, Any]:
    """An encoder as a recipe names it, from its artifact's config."""
    own = ("owner", "architecture", "encoder", "head")
    return {"input": config["column"], **{key: config[key] for key in own if key in config}}


def head_of(
    task: Task, settings: Settings, name: str | None = None, default: tuple[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """The head of that name, or the default or the task's own, with the options that hold for it, as a recipe names it; those
    of the default, where the user does not say otherwise.

    Raises:
        ConfigError: it does not fit the task.
    """
    usual, options = default or (task.heads[0], {})
    name = registry.canonical("heads", name) if name else usual
    built_in = not registry.in_file(name) and registry.resolve("heads", name).module.startswith("mmcli.")
    if built_in and name not in task.heads:
        raise ConfigError(f"--head {name} does not fit such targets", f"Heads that do: {', '.join(task.heads)}.")
    return {"name": name, "config": settings.part("heads", name, **(options if name == usual else {})).model_dump()}


def build_answer(head: Mapping[str, Any], task: Task, dim: int) -> Head:
    """The head over features of that width, freshly initialised."""
    made: Head = _build("heads", head["name"], head["config"], task, dim)
    return made


def build_head(
    method: str,
    config: Mapping[str, Any],
    dims: Mapping[str, int],
    sources: Mapping[str, str],
    task: Task,
    head: Mapping[str, Any],
    modality_dropout: float = 0.0,
    *,
    decisions: bool = False,
    groups: Sequence[Sequence[str]] = (),
) -> FusionHead:
    """F, and what makes outputs of the fused features or decisions, freshly initialised; with `decisions` beside a method of
    features it starts near the columns' own predictions."""
    fusion = build_fusion(method, config, dims, task, groups, sources)
    if fusion.family == "decision":
        return FusionHead(fusion, Decisions(task), dims, sources, modality_dropout)
    answer = build_answer(head, task, fusion.dim)
    if answer.reads_steps and fusion.memory != "lead":
        about = {name: info.literals.get("ABOUT", {}) for name, info in registry.parts("fusions").items()}
        able = [name for name, said in about.items() if said.get("memory") == "lead"]
        raise ConfigError(
            f"{method} gives no tokens in the order of a leading column, which the head {head['name']} reads step by step",
            f"Choose --method {' or '.join(able)}, or another --head.",
        )
    if decisions and task.enrolled:
        own = Beside(len(dims), task.enrolled, int(head["config"]["dim"]))
        return FusionHead(fusion, answer, dims, sources, modality_dropout, beside=own)
    if not decisions or task.lacks("decision fusions"):
        return FusionHead(fusion, answer, dims, sources, modality_dropout)
    answer.start_small(HEAD_START)
    beside = build_fusion("late", {"mode": "product"}, dims, task)
    return FusionHead(fusion, answer, dims, sources, modality_dropout, beside)


def averaged(members: Sequence[FusionHead]) -> Heads:
    """One, or the mean of several."""
    return members[0] if len(members) == 1 else AveragedHeads(members)


def _build(room: str, name: str, config: Mapping[str, Any], *arguments: Any) -> Any:
    part = registry.load(room, name)
    return part(validate(registry.config_of(part), config, f"{room}.{name}"), *arguments)


def fit_shapes(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Gives parameters and buffers the shapes of those in `weights`."""
    for name, tensor in weights.items():
        folder, _, own = name.rpartition(".")
        parent = module.get_submodule(folder)
        before = getattr(parent, own)
        if before.shape == tensor.shape:
            continue
        empty = before.new_empty(tensor.shape)
        if isinstance(before, nn.Parameter):
            setattr(parent, own, nn.Parameter(empty))
        else:
            parent.register_buffer(own, empty)
