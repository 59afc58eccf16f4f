"""Known texts as a member: filled from train, weighed on val, taken in only where they tell what networks do not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmcli.jobs import recalling
from mmcli.models import recall
from mmcli.signals import Column, Features
from mmcli.tasks.text import Config, Text
from mmcli.text.reciter import Reciter, remembered, sizes
from mmcli.text.writer import Sizes, Writer
from mmcli.text.writing import Member, Writing

WORDS = ["red", "green", "blue", "old", "new", "big", "tiny", "dark"]
N, KNOWN = 120, 60
"""Rows; the first are those of train."""


def task_and_texts(alike: bool) -> tuple[Text, Tensor, list[str]]:
    """Texts of two words; those of val come again in train, or are of letters in an order that never does."""
    luck = torch.Generator().manual_seed(0)
    pairs = [(a, b) for a in WORDS for b in WORDS if a != b]
    texts = [" ".join(pairs[int(torch.randint(len(pairs), (), generator=luck))]) for _ in range(N)]
    if not alike:
        texts[KNOWN:] = ["".join(sorted(text, reverse=True)) for text in texts[KNOWN:]]
    task = Text.fit(Config(units="char"), [(text,) for text in texts], ["y"])
    return task, task.encode([(text,) for text in texts]), texts


def features(texts: list[str]) -> dict[str, Features]:
    """An input that is the same where the text is, but for a little noise, and one that is noise."""
    luck, at = torch.Generator().manual_seed(1), {text: place for place, text in enumerate(dict.fromkeys(texts))}
    told = torch.eye(len(at))[[at[text] for text in texts]] + 0.05 * torch.randn(len(texts), len(at), generator=luck)
    found = {}
    for name, own in (("told", told), ("noise", torch.randn(len(texts), 8, generator=luck))):
        there = torch.ones(len(own), dtype=torch.bool)
        found[name] = Features(own, own[:, None], there[:, None], there)
    return found


def member(task: Text, targets: Tensor, given: dict[str, Features], shares: tuple[float, float]) -> Any:
    dims = {name: own.pooled.shape[1] for name, own in given.items()}
    made: Any = recall.build(
        dims, {name: name for name in dims}, task, {"rows": KNOWN, "longest": targets.shape[1], "words": []}
    )
    made.fusion.shares.copy_(torch.tensor(shares))
    made.head.texts.copy_(targets[:KNOWN])
    known = torch.arange(KNOWN)
    made.head.keys.copy_(made.fused({name: own.gather(known) for name, own in given.items()}).pooled)
    return made.eval()


def untrained(task: Text) -> Writing:
    """What a network says that has learnt nothing: a memory of one token."""
    torch.manual_seed(0)
    writer = Writer(Sizes(task.width, 4, 8, 1, 2)).eval()
    memory = Column(torch.zeros(N, 4), torch.ones(N, dtype=torch.bool), torch.arange(N + 1))
    limits = torch.full((N,), 12)
    return Writing((Member(writer, memory, torch.ones(())),), torch.arange(N), limits, 2)


def test_it_recites_the_text_of_the_row_that_is_most_alike() -> None:
    task, targets, texts = task_and_texts(alike=True)
    given = features(texts)
    made = member(task, targets, given, (1.0, 0.0))
    made.head.threshold.fill_(0.5)
    made.head.heat.fill_(0.05)
    rows = torch.tensor([row for row in range(KNOWN, N) if texts[row] in texts[:KNOWN]])
    with torch.no_grad():
        found: Any = made({name: own.gather(rows) for name, own in given.items()}).outputs
    assert task.written(found) == [texts[row] for row in rows.tolist()]


def test_an_absent_input_counts_for_nothing() -> None:
    task, targets, texts = task_and_texts(alike=True)
    given = features(texts)
    made = member(task, targets, given, (0.5, 0.5))
    nowhere = torch.zeros(N, dtype=torch.bool)
    gone = {**given, "noise": Features(given["noise"].pooled, given["noise"].tokens, given["noise"].mask, nowhere)}
    keys = made.fused(gone).pooled.detach()
    width = given["told"].pooled.shape[1]
    assert keys[:, width:].abs().max() == 0
    assert keys[:, :width].norm(dim=1) == pytest.approx(0.5**0.5)


def knowing(task: Text, targets: Tensor) -> Writing:
    """What a network says that knows the texts of all rows."""
    memory, mask = remembered(targets[:, None], torch.full((N, 1), 5.0))
    lengths = mask.sum(1)
    column = Column(memory[mask], torch.ones(N, dtype=torch.bool), torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]))
    own = Member(Reciter(sizes(task.width)), column, torch.ones(()))
    return Writing((own,), torch.arange(N), torch.full((N,), 12), 2)


def test_not_taken_in_where_it_tells_nothing_more() -> None:
    task, targets, texts = task_and_texts(alike=False)
    given, val = features(texts), torch.arange(KNOWN, N)
    made = member(task, targets, given, (1.0, 0.0))
    assert recalling.weigh(made, given, knowing(task, targets), val, targets, task, 0) is None


def test_taken_in_where_texts_come_again() -> None:
    task, targets, texts = task_and_texts(alike=True)
    given = features(texts)
    made, val = member(task, targets, given, (1.0, 0.0)), torch.arange(KNOWN, N)
    found = recalling.weigh(made, given, untrained(task), val, targets, task, 0)
    assert found is not None
    assert found.share >= 0.75
    assert found.gain > 0.5
    assert (float(made.head.threshold), round(float(made.head.heat), 6)) in [
        (pytest.approx(own), heat) for own in recalling.THRESHOLDS for heat in recalling.HEATS
    ]


def test_too_few_val_rows_show_nothing() -> None:
    task, targets, texts = task_and_texts(alike=True)
    given = features(texts)
    made, val = member(task, targets, given, (1.0, 0.0)), torch.arange(KNOWN, KNOWN + 14)
    assert recalling.weigh(made, given, untrained(task), val, targets, task, 0) is None


def test_remembered_of_a_table(tmp_path: Path) -> None:
    """The inputs' shares go by whose nearest texts are right."""
    import pandas as pd

    from mmcli.data.dataset import Dataset
    from tests.stages.test_translation import invoke

    luck = torch.Generator().manual_seed(2)
    _, _, texts = task_and_texts(alike=True)
    other = [" ".join(WORDS[int(i)] for i in torch.randint(8, (3,), generator=luck)) for _ in range(N)]
    split = ["train"] * KNOWN + ["val"] * 40 + ["test"] * 20
    table = tmp_path / "data.csv"
    pd.DataFrame({"same": texts, "other": other, "text": texts, "split": split}).to_csv(table, index=False)
    root = tmp_path / "artifacts"
    said = ["--target", "text", "--task", "text", "--type", "same=text", "--type", "other=text"]
    code, _, why = invoke("preprocess", table, *said, "-a", root)
    assert code == 0, why
    dataset = Dataset.open(root)
    made = recalling.remember(dataset, ["same", "other"])
    head: Any = made.head
    assert head.fusion.words == ["same/words", "other/words"]
    assert head.fusion.shares.tolist()[0] >= 0.75
    assert dataset.task.texts_of(head.head.texts.long()) == texts[:KNOWN]  # type: ignore[attr-defined]
    words = made.terms["same/words"].long()  # each word became itself
    assert dataset.task.texts_of(words.masked_fill(words == 0, -1)) == texts  # type: ignore[attr-defined]
    keys = head.fused(made.features).pooled.detach()[:, : head.fusion.width]
    assert torch.allclose(keys[:KNOWN], head.head.keys, atol=1e-6)
    assert keys.norm(dim=1) == pytest.approx(1.0, abs=1e-5)


def test_of_rows_that_are_the_same_the_first_are_taken() -> None:
    """Whatever the order in which a library finds the largest: graphs and PyTorch have to find the same."""
    cosines = torch.tensor([[0.5, 0.9, 0.5, 0.9, 0.5, 0.1]], dtype=torch.float64).repeat(1, 2000)
    assert recall._most(cosines, 6).tolist() == [[1, 3, 7, 9, 13, 15]]
    assert recall._most(cosines[:, :6], 5).tolist() == [[1, 3, 0, 2, 4]]


def test_a_train_row_is_not_told_its_own_text_while_training() -> None:
    task, targets, texts = task_and_texts(alike=True)
    given = features(texts)
    made = member(task, targets, given, (1.0, 0.0))
    made.head.threshold.fill_(0.5)
    made.head.heat.fill_(0.05)
    alone = torch.tensor([row for row in range(KNOWN) if texts[:KNOWN].count(texts[row]) == 1])
    rows = {name: own.gather(alone) for name, own in given.items()}
    right = [texts[row] for row in alone.tolist()]
    with torch.no_grad():
        assert task.written(made(rows).outputs) == right
        made.head.strangers = True
        strange = task.written(made(rows).outputs)
        assert not any(own == wanted for own, wanted in zip(strange, right, strict=True))
        made.head.strangers = False
        lost = [float(task.row_losses(made.train(mode)(rows).outputs, targets[alone])[0].mean()) for mode in (False, True)]
    assert lost[1] > lost[0] + 3


def test_a_table_of_words_that_is_none_is_refused() -> None:
    from mmcli.signals import SignalSpec

    spec = SignalSpec(kind="ids", shape=(), vocab_size=3, pieces=(b"a", b" ", b"b"))
    good = b'{"blanks":true,"first":{"a":[1]},"later":{"a":[3,1]},"between":[3],"letters":{"b":2}}'
    made = recall.LookedUp(recall.Config(bytes=len(good), dim=4), spec)
    made.learn(good)
    column = Column(torch.tensor([0, 1, 2, 1, 0]), torch.ones(1, dtype=torch.bool), torch.tensor([0, 5]))
    assert made.prepare(column).values.tolist() == [1, 3, 2, 3]  # cut to four units
    again = recall.LookedUp(recall.Config(bytes=len(good), dim=4), spec)
    again.load_state_dict(made.state_dict())
    assert again.known == made.known
    for bad in (b"\0" * len(good), good.replace(b"[3,1]", b"[3,0]"), good.replace(b"blanks", b"planks")):
        state = {**made.state_dict(), "entries": torch.frombuffer(bytearray(bad), dtype=torch.uint8)}
        with pytest.raises(ValueError, match=r"no table of words|Expecting value|codec"):
            again.load_state_dict(state)
