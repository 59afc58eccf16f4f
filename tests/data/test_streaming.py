"""Columns on disk against the same in memory: equal bits, and nothing held."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors
import torch

from mmcli.artifacts import tensors
from mmcli.data import memory
from mmcli.data.streaming import Streamed, StreamedFeatures
from mmcli.errors import ConfigError
from mmcli.signals import Column, RaggedFeatures
from mmcli.training.data import Hosted, Rows, shuffled


def on_disk(column: Column, folder: Path, rows: int) -> Streamed:
    files = []
    for number, part in enumerate(torch.arange(len(column)).split(rows)):
        files.append(folder / f"{number}.safetensors")
        tensors.save(files[-1], tensors.column_tensors(column.select(part)))
    return Streamed.of(files, rows, lambda own: Column(own.values * 2, own.present, own.offsets, own.times))


def columns() -> dict[str, Column]:
    torch.manual_seed(0)
    present = torch.rand(23) < 0.8
    lengths = torch.randint(0, 6, (23,)) * present
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    return {
        "grid": Column(torch.randn(23, 3, 4, 4).half(), present),
        "clip": Column(torch.randn(23, 2, 3, 4, 4).half(), present, times=torch.rand(23, 2)),
        "spectrogram": Column(torch.randn(int(offsets[-1]), 5).half(), present, offsets),
    }


@pytest.mark.parametrize("kind", ["grid", "clip", "spectrogram"])
def test_gives_what_the_column_in_memory_gives(tmp_path: Path, kind: str) -> None:
    column = columns()[kind]
    streamed = on_disk(column, tmp_path, 5)
    whole = Column(column.values * 2, column.present, column.offsets, column.times)
    index = torch.tensor([22, 3, 3, 0, 14, 9, 10, 11])
    for ours, theirs in (
        (streamed.gather(index), whole.gather(index)),
        (streamed.select(index).gather(torch.tensor([1, 7])), whole.select(index).gather(torch.tensor([1, 7]))),
        (streamed.emptied().gather(index), whole.emptied().gather(index)),
    ):
        for name in ("values", "present", "lengths", "times"):
            one, other = getattr(ours, name), getattr(theirs, name)
            assert (one is None) == (other is None)
            assert one is None or (one.dtype == other.dtype and torch.equal(one, other)), name
    assert len(streamed) == 23
    assert torch.equal(streamed.present, column.present)
    assert (streamed.lengths is None) == (whole.lengths is None)
    assert streamed.lengths is None or torch.equal(streamed.lengths, column.offsets.diff())  # type: ignore[union-attr]


def test_batches_come_in_order_and_whole_however_they_are_held(tmp_path: Path) -> None:
    column, targets = columns()["grid"], torch.arange(23)
    index = torch.randperm(23, generator=torch.Generator().manual_seed(1)).split(4)
    doubled = Column(column.values * 2, column.present)
    held = [doubled, on_disk(column, tmp_path, 5), Hosted(doubled, torch.device("cpu"))]
    ways = [list(Rows({"x": own}, targets, {}, {}).ahead(index)) for own in held]
    for batches in ways[1:]:
        assert [batch.row_ids.tolist() for batch in batches] == [part.tolist() for part in index]
        for one, other in zip(ways[0], batches, strict=True):
            assert torch.equal(one.inputs["x"].values, other.inputs["x"].values)
            assert torch.equal(one.targets, other.targets)


def test_features_on_disk_are_those_in_memory_and_only_their_own_rows_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = columns()["spectrogram"]
    assert column.offsets is not None
    with tensors.growing(tmp_path / "tokens.safetensors", "tokens") as grown:
        for part in column.values.split(9):
            grown.add(part)
    pooled, outputs = torch.randn(23, 4).half(), torch.randn(23, 2)
    whole = RaggedFeatures(pooled, column.values, column.offsets, column.present, outputs)
    held = StreamedFeatures(pooled, tmp_path / "tokens.safetensors", column.offsets, column.present, outputs)
    index = torch.tensor([22, 3, 3, 0, 14, 9, 10, 11])
    read: list[int] = []

    class Counted:
        def __init__(self, file: Path, framework: str) -> None:
            self.file = opened(file, framework=framework)

        def __enter__(self) -> Counted:
            self.file.__enter__()
            return self

        def __exit__(self, *_: object) -> None:
            self.file.__exit__(None, None, None)

        def get_slice(self, name: str) -> Counted:
            self.slice = self.file.get_slice(name)
            return self

        def __getitem__(self, rows: slice) -> torch.Tensor:
            read.append(rows.stop - rows.start)
            found: torch.Tensor = self.slice[rows]
            return found

    opened = safetensors.safe_open
    monkeypatch.setattr(safetensors, "safe_open", Counted)
    for one, other in ((held.gather(index), whole.gather(index)), (held.to(torch.device("cpu")).gather(index[:2]),) * 2):
        for name in ("pooled", "tokens", "mask", "present", "outputs"):
            ours, theirs = getattr(one, name), getattr(other, name)
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs), name
    assert read == [*column.offsets.diff()[index].tolist(), *column.offsets.diff()[index[:2]].tolist()]
    rows = Rows({"x": held}, torch.arange(23), {}, {})
    assert not rows.resident  # so batches are read ahead of the steps
    for batch in rows.ahead(index.split(3)):
        assert torch.equal(batch.inputs["x"].tokens, whole.gather(batch.row_ids).tokens)


def test_a_broken_shard_stops_the_batches(tmp_path: Path) -> None:
    streamed = on_disk(columns()["grid"], tmp_path, 5)
    (tmp_path / "1.safetensors").write_bytes(b"no tensors")
    with pytest.raises(Exception, match="header"):
        list(Rows({"x": streamed}, torch.arange(23), {}, {}).ahead(torch.arange(23).split(4)))


def test_columns_too_large_for_the_device_stay_on_the_host() -> None:
    one, other = columns()["grid"], columns()["clip"]
    rows = Rows({"a": one, "b": other}, torch.arange(23), {}, {}).to(torch.device("cpu"), room=one.nbytes)
    assert isinstance(rows.inputs["a"], Column)
    assert isinstance(rows.inputs["b"], Hosted)
    assert not rows.resident
    assert torch.equal(rows.gather(torch.tensor([4, 2])).inputs["b"].values, other.values[[4, 2]])


def test_rows_of_like_length_come_together() -> None:
    lengths = torch.randint(1, 200, (1000,), generator=torch.Generator().manual_seed(0))
    index = torch.arange(1000)
    batches, plain = shuffled(index, 8, 1, 0, lengths), shuffled(index, 8, 1, 0)
    assert sorted(torch.cat(batches).tolist()) == list(range(1000))

    def padded(parts: list[torch.Tensor]) -> int:
        return sum(int(lengths[part].max()) * len(part) for part in parts)

    real = int(lengths.sum())
    assert padded(batches) < 1.1 * real < 1.7 * real < padded(plain)
    firsts = [int(lengths[part].max()) for part in batches]
    assert firsts != sorted(firsts)  # the batches themselves are shuffled
    assert all(torch.equal(a, b) for a, b in zip(batches, shuffled(index, 8, 1, 0, lengths), strict=True))
    assert torch.cat(batches).tolist() != torch.cat(shuffled(index, 8, 1, 1, lengths)).tolist()


@pytest.mark.parametrize(("text", "size"), [("2GB", 2 * 2**30), ("1.5g", 3 * 2**29), ("500 MiB", 500 * 2**20), ("77", 77)])
def test_sizes(text: str, size: int) -> None:
    assert memory.parse(text, "x") == size


def test_a_wrong_size_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.VARIABLE, "much")
    with pytest.raises(ConfigError, match="MMCLI_MEMORY=much"):
        memory.budget()


def test_there_is_memory() -> None:
    assert 2**26 < memory.available() < 2**50
