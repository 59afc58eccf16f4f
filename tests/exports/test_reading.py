"""Texts that an exported folder finds in frames: those that mmcli finds, and some that no greedy reader would."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmcli.exports import answers
from mmcli.exports.reading import Reader, greedy
from mmcli.stages.export.describing import LANGUAGE_MODEL
from mmcli.tasks.text import Config, Text
from mmcli.text import searching
from mmcli.text.languages import Words
from mmcli.text.lattice import Padded, Search
from mmcli.text.likely import Likely
from mmcli.text.ngram import text_log_prob
from mmcli.text.words import in_seconds

TEXTS = ["the dog, ran home", "a cat sat", "the cat ran", "a dog sat there", "Über 12 Äpfel"] * 4


def described(task: Text, search: Search, folder: Path) -> dict[str, Any]:
    """What an export of a model with that search says of it; and what it writes beside that."""
    np.savez_compressed(folder / LANGUAGE_MODEL, **task.likely.state())
    told = {"width": search.beam, "lm_weight": search.lm_weight, "length_bonus": search.length_bonus}
    told |= {"stranger": search.stranger, "language_model": LANGUAGE_MODEL if search.lm_weight else None}
    about = {"units": task.units.table(), "certainty": [search.slope, search.intercept], "search": told}
    about["state"] = {"config": task.config.model_dump()}
    return {"target": "y", "task": json.loads(json.dumps({"link": "ctc", **about}))}


def heard(task: Text, rows: int, steps: int = 24) -> Padded:
    """Frames in which texts of train lie, blurred so that greedy reads many of them wrong."""
    luck = torch.Generator().manual_seed(0)
    values = torch.randn(rows, steps, task.width, generator=luck) * 1.5
    for row in range(rows):
        path = [unit for own in task.units.ids(TEXTS[row % 5]) for unit in (own, 0)][:steps]
        values[row, torch.arange(len(path)), torch.tensor(path)] += 5.0
        values[row, len(path) :, 0] += 5.0
    lengths = torch.full((rows,), steps)
    lengths[1::4] = torch.randint(1, steps, (len(lengths[1::4]),), generator=luck)
    return Padded(values.log_softmax(-1), lengths)


@pytest.mark.parametrize("kind", ["char", "word", "bpe"])
@pytest.mark.parametrize(
    "search",
    [Search(6, 0.7, 0.5, 3.0, 1.0, stranger=2.0), Search(6, 0.0, 1.0, 3.0, 1.0), Search(1, 0.0, 0.0, 2.0, 0.5)],
    ids=["likely", "bonus", "greedy"],
)
def test_texts_confidences_and_others_are_those_of_the_task(kind: str, search: Search, tmp_path: Path) -> None:
    task = Text.fit(Config(units=kind, vocab=270, beam=6), [(text,) for text in TEXTS], ["y"])  # type: ignore[arg-type]
    task = task.admitting([("the zebra",)] if kind != "bpe" else [])
    given = heard(task, 20)
    ours = given.ragged(search.tensor())
    wanted = {**task.decode(ours), **task.alternatives(ours, 4)}
    about, frames, steps = described(task, search, tmp_path), given.values.numpy(), given.lengths.numpy()
    texts = Reader(about["task"], tmp_path).texts(frames, steps, search.beam, 4)
    found = answers.read(about, frames, steps, texts, 4)
    assert list(found) == [f"y_predicted{suffix}" for suffix in wanted]
    for suffix, cells in wanted.items():
        if suffix == "_confidence":
            np.testing.assert_allclose(found["y_predicted_confidence"], cells, atol=2e-6)
        else:
            assert found[f"y_predicted{suffix}"] == cells
    assert any(cell is not None for cell in wanted["_nbest_4"])
    plain = [task.units.text(greedy(row[:length])) for row, length in zip(frames, steps.tolist(), strict=True)]
    differ = sum(one != other for one, other in zip(plain, wanted[""], strict=True))
    assert differ > 3 if search.beam > 1 else differ == 0


def test_the_language_model_changes_what_is_read(tmp_path: Path) -> None:
    """Frames that say "cot", which one text has, rather than "cat", which the others have."""
    task = Text.fit(Config(units="char"), [("a cat",), ("the cot",), ("cat",), ("cat",)], ["y"])
    ids = [task.units.ids(letter)[0] for letter in "caot"]
    frames = np.full((1, 4, task.width), -12.0, np.float32)
    for step, likely in enumerate(({0: 0.9}, {1: 0.4, 2: 0.55}, {3: 0.9}, {})):
        frames[0, step, 0] = np.log(0.9 if not likely else 0.05)
        for place, share in likely.items():
            frames[0, step, ids[place]] = np.log(share)
    steps = np.array([4])

    def reads(search: Search) -> list[str]:
        about = described(task, search, tmp_path)
        texts = Reader(about["task"], tmp_path).texts(frames, steps, search.beam)
        cells: list[str] = answers.read(about, frames, steps, texts)["y_predicted"]
        return cells

    assert reads(Search(1)) == reads(Search(8)) == ["cot"]
    assert reads(Search(8, 0.5)) == ["cat"]


def test_words_of_a_language_change_what_is_read_as_they_do_in_mmcli(tmp_path: Path) -> None:
    plain = Text.fit(Config(units="char", beam=6), [(text,) for text in TEXTS], ["y"])
    language = Words("en", {"sat": 0.4, "rat": 0.3, "hat": 0.3}, 0.8, 0.5)
    task = Text(plain.config, plain.units, plain.tokenizer, plain.cased, plain.background._replace(language=language))
    search = Search(6, 0.7, 0.5, 3.0, 1.0, stranger=2.0)
    given = heard(task, 20)
    found = []
    for own in (plain, task):
        wanted = own.decode(given.ragged(search.tensor()))
        about, steps = described(own, search, tmp_path), given.lengths.numpy()
        texts = Reader(about["task"], tmp_path).texts(given.values.numpy(), steps, search.beam)
        assert answers.read(about, given.values.numpy(), steps, texts)["y_predicted"] == wanted[""]
        found.append(wanted[""])
    assert found[0] != found[1]


def test_a_language_model_comes_back_from_its_file(tmp_path: Path) -> None:
    task = Text.fit(Config(units="char"), [(text,) for text in TEXTS], ["y"]).admitting([("zebra",)])
    np.savez_compressed(tmp_path / LANGUAGE_MODEL, **task.likely.state())
    with np.load(tmp_path / LANGUAGE_MODEL, allow_pickle=False) as arrays:
        again = Likely.from_state(dict(arrays), task.units.names)
    assert again.words == task.likely.words == {"the", "dog", "ran", "home", "a", "cat", "sat", "there", "über", "12", "äpfel"}
    for text in ("a cat", "the zebra", ""):
        ids = task.units.ids(text)
        assert text_log_prob(again.wary(1.5), ids) == text_log_prob(task.likely.wary(1.5), ids)
        assert again.strange(ids) == (text == "the zebra")
    wordless = Likely(task.likely.model, task.likely.other, task.likely.missing)
    assert Likely.from_state(wordless.state(), ()).words == frozenset()


@pytest.mark.parametrize("kind", ["char", "bpe"])
@pytest.mark.parametrize("each_letter", [False, True])
def test_words_lie_where_mmcli_has_them(kind: Any, each_letter: bool) -> None:
    task = Text.fit(Config(units=kind, vocab=270), [(text,) for text in TEXTS], ["y"])
    lattices = heard(task, 5)
    own = [task.units.ids(text)[:7] for text in TEXTS[:5]]  # pieces cut where a letter may be half
    wanted = searching.timed(lattices.ragged(), own, task.units, each_letter)
    how = {"lead": "x", "stride": 4, "frame_s": 0.01, "each_letter": each_letter}
    told = json.loads(json.dumps({"units": task.units.table(), "words": how}))
    frames, steps = np.array([96, 95, 93, 90, 0]), lattices.lengths.numpy()
    there = np.array([True, True, True, True, False])
    found = answers.words(told, lattices.values.numpy(), steps, [[ids, [1]] for ids in own], frames, there)
    for row in range(4):
        right = in_seconds(wanted[row], int(steps[row]), int(frames[row]), 4, 0.01)
        assert found[row] == right
        assert len(right) > 1 and right[-1].end is not None and right[-1].end > 0.1
        assert max(len(word.word) for word in right) == 1 if each_letter else max(len(word.word) for word in right) > 1
    assert [(word.word, word.start, word.end) for word in found[4]] == [(word.word, None, None) for word in wanted[4]]
