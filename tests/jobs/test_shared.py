"""One encoder for several inputs: which pairs of a batch are known to match, and what is kept once."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from mmcli.artifacts import store, tensors
from mmcli.cli import app
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError
from mmcli.jobs.fusion import embeddings
from mmcli.jobs.shared import known
from mmcli.layers.pairs import cosines
from mmcli.models import forward, loading
from mmcli.models.columns import Pair
from mmcli.signals import Features
from mmcli.training.device import choose
from tests.conftest import ENCODERS, draw, shared, write_csv
from tests.faults.hostile import reseal, set_at

SMALL = (*ENCODERS, "--image-size", "16", "--set=train-encoder.training.epochs=2", "--set=fuse.training.epochs=2")


def _draw(folder: Path) -> None:
    """Two pictures a row, the same shape and colour in half of them."""
    drawn, rows = random.Random(0), []
    (folder / "p").mkdir()
    kinds = [(shape, colour) for shape in ("round", "square") for colour in ("red", "blue")]
    for number in range(60):
        one = kinds[number % 4]
        other = one if number // 4 % 2 else drawn.choice([kind for kind in kinds if kind != one])
        for end, kind in (("a", one), ("b", other)):
            draw(*kind).save(folder / f"p/{number}{end}.png")
        split = ("train", "train", "train", "val", "test")[number // 8 % 5]
        rows.append(
            [f"p/{number}a.png", f"p/{number}b.png", drawn.choice(["so", "or"]), split, "yes" if one == other else "no"]
        )
    write_csv(folder / "data.csv", ["photo_a", "photo_b", "word", "split", "same"], rows)


def run(*words: object) -> str:
    found = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifacts root of a table whose pictures share an encoder, fused as classes."""

    def make(folder: Path) -> None:
        _draw(folder)
        run("run", folder / "data.csv", "-a", folder / "artifacts", *SMALL, "--preset", "fast")

    return shared(tmp_path_factory, "pairs", make) / "artifacts"


def test_there_is_one_encoder_and_features_for_each_reader(pairs: Path) -> None:
    assert [path.name for path in sorted((pairs / "encoders").iterdir())] == ["photo_a", "word"]
    dataset = Dataset.open(pairs)
    assert dataset.shares == {"photo_b": "photo_a"} and dataset.readers("photo_a") == ["photo_a", "photo_b"]
    one, other = (loading.read_encoder(pairs, name, "cnn") for name in ("photo_a", "photo_b"))
    assert one.path == other.path and other.config["column"] == "photo_b"
    features = [tensors.load(own.file(loading.kept_file(own, loading.EMBEDDINGS)))["pooled"] for own in (one, other)]
    column = dataset.column("photo_b").gather(torch.arange(60))
    made = loading.load_encoder(dataset, other).encoder(column)
    assert torch.allclose(features[1].float(), made.pooled.float(), atol=2e-2)
    assert not torch.equal(features[0], features[1])


def test_the_fused_model_holds_the_weights_once(pairs: Path) -> None:
    dataset = Dataset.open(pairs)
    for artifact in (loading.fresh_fusions(pairs)[0], loading.best(pairs)):
        network = loading.load_fused(dataset, artifact)
        assert network.encoder("photo_a") is network.encoder("photo_b")
        names = [name for name in network.state_dict() if name.endswith("body.stem.weight")]
        assert len(names) == 1
    (stem,) = [name for name in tensors.load(pairs / "optimized" / loading.WEIGHTS) if name.endswith("body.stem.weight")]
    assert stem.startswith("encoders.")


def test_what_was_fused_on_embeddings_is_what_the_whole_gives(pairs: Path) -> None:
    dataset, fusion = Dataset.open(pairs), loading.fresh_fusions(pairs)[0]
    kept = loading.outputs(fusion, dataset)
    made = forward.outputs_for(loading.load_fused(dataset, fusion), dataset, torch.arange(60), choose("cpu", "float32"))
    assert torch.allclose(kept, made, atol=5e-2)
    absent = forward.outputs_for(
        loading.load_fused(dataset, fusion), dataset, torch.arange(60), choose("cpu", "float32"), absent=["photo_b"]
    )
    assert not torch.allclose(kept, absent, atol=1e-4)


def _told(text: str) -> str:
    return " ".join(text.split())


def test_the_file_of_a_reader_is_verified_as_the_owners_is(pairs: Path, tmp_path: Path) -> None:
    root = tmp_path / "artifacts"
    shutil.copytree(pairs, root)
    other = loading.read_encoder(root, "photo_b", "cnn")
    file = other.path / "embeddings.photo_b.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"embeddings\.photo_b\.safetensors is damaged"):
        embeddings(other, Dataset.open(root))
    embeddings(loading.read_encoder(root, "photo_a", "cnn"), Dataset.open(root))


@pytest.mark.parametrize(
    ("kind", "where", "value", "said"),
    [
        ("encoder", ("config", "readers"), ["photo_b", "photo_a"], "its readers are not its column and others"),
        ("encoder", ("config", "readers"), ["photo_a", "word"], "they are not those of config.readers: photo_b, word"),
        ("encoder", ("config", "readers"), "photo_b", "config.readers: input should be a valid list"),
        ("encoder", ("metrics", "readers", "photo_b"), {"val": {"loss": 1.0}}, "val of the reader 'photo_b' lacks"),
        ("encoder", ("metrics", "readers", "photo_b"), 3, "metrics.readers.photo_b"),
        ("preprocess", ("config", "schema", "shares"), {"photo_b": "nothing"}, "cannot read the encoder of 'nothing'"),
        ("preprocess", ("config", "schema", "shares"), {"photo_a": "photo_b", "photo_b": "photo_a"}, "cannot read"),
        ("preprocess", ("config", "schema", "shares"), ["photo_b"], "config.schema.shares"),
        ("fusion", ("config", "encoders", "photo_b", "owner"), None, "config.encoders.photo_b.owner"),
    ],
)
def test_what_a_manifest_says_of_sharing_is_typed(
    pairs: Path, tmp_path: Path, kind: str, where: tuple[str, ...], value: Any, said: str
) -> None:
    names = {"encoder": "encoders/photo_a/cnn", "preprocess": "preprocess", "fusion": loading.fresh_fusions(pairs)[0].name}
    folder = tmp_path / names[kind]
    shutil.copytree(pairs / names[kind], folder)
    store.read(tmp_path, names[kind], kind, "")
    reseal(folder, lambda found: set_at(found, where, value))
    with pytest.raises(ArtifactError) as error:
        store.read(tmp_path, names[kind], kind, "")
    assert "is damaged" in error.value.message and said in _told(error.value.message).replace("Input", "input")


def test_a_schema_that_shares_with_nobody_is_refused(pairs: Path, tmp_path: Path) -> None:
    shutil.copytree(pairs / "preprocess", tmp_path / "preprocess")
    path = tmp_path / "preprocess" / "schema.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shares": {"photo_b": "word2"}}))
    reseal(tmp_path / "preprocess")
    with pytest.raises(ArtifactError, match="cannot read the encoder of 'word2'"):
        _ = Dataset.open(tmp_path).schema


def test_status_and_train_encoder_know_whose_encoder_it_is(pairs: Path) -> None:
    assert "photo_b" not in run("status", "-a", pairs)
    said = run("train-encoder", "photo_b", "-a", pairs, *ENCODERS, "--dry-run")
    assert "input 'photo_b' reads the encoder of 'photo_a'" in said and "would train encoders/photo_a/cnn" in said


def test_pairs_that_are_known() -> None:
    """Rows 0 and 2 match. Cells 0 and 1 are one thing, 4 and 5 too; 2 and 3 are told to differ; row 2's second is absent."""
    cells = torch.tensor([[0, 2, 4], [1, 3, 0]])
    things = torch.tensor([[0, 2, 4], [0, 3, 0]])
    together, apart = known(cells, things, torch.tensor([1, 0, 0]))
    # Order: 0 2 4 1 3 0'
    wanted = torch.zeros(6, 6)
    for one, other in ((0, 3), (0, 5), (3, 5)):
        wanted[one, other] = wanted[other, one] = 1
    assert torch.equal(together.float(), wanted)
    assert not bool((together & apart).any()) and not bool(apart.diagonal().any())
    assert bool(apart[1, 4]) and bool(apart[2, 5]), "the columns of a row do not match where its target says so"
    assert not bool(apart[0, 5]), "equal cells are never negatives"
    assert bool(apart[0, 1]) and bool(apart[2, 4])


def test_a_row_told_to_differ_is_no_negative_where_its_cells_are_equal() -> None:
    together, apart = known(torch.tensor([[7], [7]]), torch.tensor([[7], [7]]), torch.tensor([0]))
    assert not bool(apart.any()) and not bool(together.any())
    together, apart = known(torch.tensor([[7, 8], [-1, 9]]), torch.tensor([[7, 8], [-1, 9]]), torch.tensor([1, 1]))
    assert not bool(together[2].any() | apart[2].any()), "an absent cell is in no pair"


def test_log_odds_of_a_pair_are_its_scaled_cosine() -> None:
    def features(*rows: tuple[float, float], present: tuple[bool, ...] = (True, True)) -> Features:
        pooled = torch.tensor(rows)
        return Features(pooled, pooled[:, None], torch.ones(len(rows), 1, dtype=torch.bool), torch.tensor(present))

    one, other = features((1, 0), (2, 0)), features((0, 3), (5, 0))
    assert cosines([one, other])[0].tolist() == [0.0, 1.0]
    pair = Pair()
    assert torch.allclose(pair([one, other]), torch.tensor([[0, -5.0], [0, 5.0]]))
    assert pair([one, features((0, 3), (5, 0), present=(True, False))])[1].tolist() == [0.0, 0.0]
    logits = torch.cat([torch.linspace(-1, 3, 40), torch.linspace(1, 5, 40)])
    pair.settle(torch.stack([torch.zeros(80), logits], 1), torch.arange(80) // 40)
    settled = (float(pair.scale.detach().exp()) / 10) * (logits + 5) + float(pair.shift.detach())
    assert abs(float(settled[(logits - 2).abs().argmin()])) < 0.15, "the log-odds are not nought halfway between"
