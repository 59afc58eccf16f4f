"""What every modality must do, whatever it is: read three fine cells, a missing one and a bad one, each by itself.

The cells are those of the kind of column that the modality is surest of, or the EXAMPLES in its file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from mmcli import registry
from mmcli.checks import Check, examples
from mmcli.errors import ConfigError
from mmcli.modalities import Guess, Modality, Strength
from mmcli.signals import RAGGED, Signal

MISSING = 3


def equal(one: Tensor, two: Tensor) -> bool:
    """Whether all values are the same, not a number being equal to itself."""
    return one.dtype == two.dtype and one.shape == two.shape and bool(((one == two) | (one != one)).all())


class Subject:
    """A modality under check, with five cells: three fine ones, a missing one, and perhaps a bad one."""

    label = ""

    def __init__(self, name: str, cells: Sequence[str | None], options: dict[str, Any]) -> None:
        self.name, self.cells = name, cells
        self.kind: type[Modality] = registry.load("modalities", name)
        self.config = registry.config_of(self.kind)(**options)

    @property
    def fine(self) -> list[str]:
        return [cell for cell in self.cells[:MISSING] if cell]

    def fitted(self) -> Modality:
        return self.kind.fit(self.config, iter(self.fine))

    def signal(self, modality: Modality) -> Signal:
        """The cells as an encoder gets them."""
        return modality.restore(modality.transform(self.cells).column).gather(torch.arange(len(self.cells)))


def one_row_to_a_cell_as_the_spec_says(subject: Subject) -> None:
    """Missing cells are zero (in fields not a number) and not present, rejects have a reason, shapes are as described."""
    modality = subject.fitted()
    encoded = modality.transform(subject.cells)
    column, spec = encoded.column, modality.describe()
    assert len(column) == len(subject.cells), f"{len(subject.cells)} cells gave {len(column)} rows"
    present = column.present.tolist()
    assert not present[MISSING], "a missing cell counts as present"
    assert present[0] and present[1], f"fine cells count as absent: {subject.cells[:2]} gave {present[:2]}"
    found = tuple(column.values.shape[1:])
    assert found == spec.shape, f"a row is of shape {list(found)}, describe says {list(spec.shape)}"
    ragged = column.offsets is not None
    assert ragged == (spec.kind in RAGGED), f"a {spec.kind} {'has' if ragged else 'lacks'} offsets"
    values = modality.restore(column).gather(torch.tensor([MISSING])).values
    empty = values.isnan().all() if spec.kind == "fields" else values.abs().sum() == 0
    assert bool(empty), f"a missing cell is not {'nan' if spec.kind == 'fields' else 'zero'}"
    for reject in encoded.rejects:
        assert not present[reject.position], f"cell {reject.position} is rejected and present"
        assert reject.reason, f"cell {reject.position} is rejected without a reason"


def state_is_json_and_makes_the_same_tensors(subject: Subject) -> None:
    """What it has learnt survives the disk."""
    modality = subject.fitted()
    again = type(modality).from_state(json.loads(json.dumps(modality.state())))
    one, two = modality.transform(subject.cells).column, again.transform(subject.cells).column
    assert equal(one.values, two.values), "made again from its state it gives other values"
    assert torch.equal(one.present, two.present), "made again from its state it finds other cells missing"


def a_cell_does_not_depend_on_its_neighbours(subject: Subject) -> None:
    """A cell alone gives what it gives among others."""
    modality = subject.fitted()
    whole = modality.transform(subject.cells).column
    for row, cell in enumerate(subject.cells):
        alone = modality.transform([cell]).column.gather(torch.tensor([0])).values
        assert equal(alone, whole.gather(torch.tensor([row])).values), f"{cell!r} gives other values when it is alone"


def no_cells_at_all(subject: Subject) -> None:
    """It takes a column without values, and one without rows."""
    modality = subject.fitted()
    assert not modality.transform([None, None]).column.present.any(), "missing cells count as present"
    assert len(modality.transform([]).column) == 0, "no cells give some rows"


def linear_features_have_a_row_to_a_cell(subject: Subject) -> None:
    """The linear baseline sees every row."""
    modality = subject.fitted()
    column = modality.restore(modality.transform(subject.cells).column)
    rows = modality.linear_features(column, torch.tensor([0, 1])).shape[0]
    assert rows == len(subject.cells), f"{len(subject.cells)} cells have {rows} rows of linear features"


def augmenting_varies_values_and_keeps_the_rest(subject: Subject) -> None:
    """At any strength, the same seed gives the same values, of the same shape, of the same rows."""
    modality = subject.fitted()
    signal = subject.signal(modality)
    for strength in get_args(Strength):
        made = []
        for _ in range(2):
            torch.manual_seed(0)
            made.append(modality.augment(signal, strength))
        assert equal(made[0].values, made[1].values), f"{strength}: the same seed gives other values"
        assert made[0].values.shape == signal.values.shape, f"{strength}: the shape changes"
        assert torch.equal(made[0].present, signal.present), f"{strength}: other rows are present"


def stretching_leaves_room_and_keeps_the_rest(subject: Subject) -> None:
    """The same seed gives the same values of the same rows, none of them shorter than what was asked, if it was not before."""
    modality = subject.fitted()
    signal = subject.signal(modality)
    if signal.lengths is None:
        return
    least, made = (signal.lengths * 0.95).round().long(), []
    for _ in range(2):
        torch.manual_seed(0)
        made.append(modality.stretch(signal, least))
    lengths = made[0].lengths
    assert lengths is not None, "the lengths are gone"
    assert equal(made[0].values, made[1].values), "the same seed gives other values"
    assert torch.equal(made[0].present, signal.present), "other rows are present"
    assert bool((lengths >= least).all()), f"lengths of {lengths.tolist()}, {least.tolist()} were needed"
    assert made[0].values.shape[1] >= int(lengths.max()), "there are fewer steps than the longest row has"


def sniffing_is_sure_of_its_own(subject: Subject) -> None:
    """Its guess has a reason. Unless only `--type` names it, it is surer of its cells than any other modality."""
    guesses = _guesses(subject.fine)
    own = subject.kind.sniff(subject.fine, tempfile.gettempdir())
    assert own.reason, "the guess has no reason"
    assert 0 <= own.confidence <= 1, f"the confidence is {own.confidence}, not from 0 to 1"
    if registry.in_file(subject.name):
        return
    best = max(guesses, key=lambda other: guesses[other].confidence)
    assert best == subject.name, f"{best} is surer of its cells: {guesses[best].confidence:.2f} to {own.confidence:.2f}"


CHECKS: tuple[Check, ...] = (
    one_row_to_a_cell_as_the_spec_says,
    state_is_json_and_makes_the_same_tensors,
    a_cell_does_not_depend_on_its_neighbours,
    no_cells_at_all,
    linear_features_have_a_row_to_a_cell,
    augmenting_varies_values_and_keeps_the_rest,
    stretching_leaves_room_and_keeps_the_rest,
    sniffing_is_sure_of_its_own,
)


def subjects(name: str, **options: Any) -> list[Subject]:
    """The modality with default options, or with these, and cells that it reads.

    Raises:
        ConfigError: it is sure of none of the cells that there are, and brings none.
    """
    kind: type[Modality] = registry.load("modalities", name)
    brought = registry.resolve("modalities", name).literals.get("EXAMPLES")
    if brought:
        return [Subject(name, examples.five(brought), options)]
    known = examples.cells()
    if name in known:
        return [Subject(name, known[name], options)]
    sure = {key: kind.sniff([cell for cell in own[:MISSING] if cell], tempfile.gettempdir()) for key, own in known.items()}
    best = max(sure, key=lambda key: sure[key].confidence)
    if not sure[best].confidence:
        raise ConfigError(
            f"{name}: sniff takes none of the cells that there are to try it on for its own",
            "Put three cells that it reads into its file: EXAMPLES = ['...', '...', '...']",
        )
    return [Subject(name, known[best], options)]


def _guesses(cells: Sequence[str]) -> dict[str, Guess]:
    folder = tempfile.gettempdir()
    return {name: registry.load("modalities", name).sniff(cells, folder) for name in registry.parts("modalities")}
