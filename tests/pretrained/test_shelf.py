"""The folder that MMCLI_MODELS names: what is told of it without importing anything there."""

from __future__ import annotations

import ast
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mmcli.errors import ConfigError
from mmcli.pretrained import hub, shelf
from mmcli.pretrained.pickles import conversion, unpacking
from mmcli.pretrained.shelf import Model


def folder(path: Path, config: dict[str, Any] | None, *files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if config is not None:
        (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    for name in files:
        (path / name).write_bytes(b"")
    return path


TEXT: dict[str, Any] = {"model_type": "bert", "vocab_size": 9, "max_position_embeddings": 8}
ST = "model.safetensors"


@pytest.fixture
def above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "models"
    place.mkdir()
    monkeypatch.setenv(shelf.VARIABLE, str(place))
    return place


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (TEXT, "text"),
        ({"model_type": "t5", "vocab_size": 9, "d_model": 8}, "text"),
        ({"model_type": "vit", "image_size": 224, "patch_size": 16}, "image"),
        ({"model_type": "convnext", "num_channels": 3}, "image"),
        ({"model_type": "beit", "vocab_size": 8192, "image_size": 224}, "image"),
        ({"model_type": "videomae", "image_size": 224, "num_frames": 16, "tubelet_size": 2}, "video"),
        ({"model_type": "wav2vec2", "vocab_size": 32, "conv_dim": [512]}, "audio"),
        ({"model_type": "whisper", "vocab_size": 9, "num_mel_bins": 80}, "audio"),
        ({"model_type": "clip", "text_config": {}, "vision_config": {}}, ""),
        ({"model_type": "vilt", "vocab_size": 9, "image_size": 384, "max_position_embeddings": 40}, ""),
        ({"model_type": "decision_transformer", "state_dim": 17}, ""),
    ],
)
def test_what_a_model_reads_is_told_by_its_config(config: dict[str, Any], wanted: str, above: Path) -> None:
    folder(above / "own", config, ST)
    found = shelf.look()
    assert found.models == ((Model("own", "hf", wanted),) if wanted else ())
    assert wanted or f"model_type {config['model_type']}" in found.left_out[0]


def test_what_is_no_model_is_told_with_the_remedy(above: Path) -> None:
    folder(above / "bert", TEXT, ST, "pytorch_model.bin")
    folder(above / "net", {"architecture": "resnet18"}, ST)
    folder(above / "old", TEXT, "pytorch_model.bin")
    folder(above / "bare", TEXT)
    folder(above / "loose", None, "w.pth")
    folder(above / "notes", None, "notes.txt")
    folder(above / ".cache", TEXT, ST)
    folder(above / "odd", None, ST)
    (above / "odd" / "config.json").write_text("[1", encoding="utf-8")
    found = shelf.look()
    assert [own.architecture for own in found.models] == ["hf:MMCLI_MODELS/bert", "timm:MMCLI_MODELS/net"]
    bare, bert, loose, odd, old = found.left_out
    assert bare.endswith("bare: it holds no .safetensors file. Put its weights beside its config.json.")
    assert "bert/pytorch_model.bin: a pickle; the safetensors beside it are read" in bert
    assert "no config.json says of which network w.pth are weights" in loose
    assert "odd: its config.json (model_type none) does not tell" in odd
    assert "pytorch_model.bin is a pickle, which could run any program. Convert it if you trust it: python -c" in old


def test_a_folder_without_models_is_told(above: Path) -> None:
    folder(above / "notes", None, "notes.txt")
    assert shelf.look().models == ()
    (said,) = shelf.look().left_out
    assert said.endswith("models: no model lies there. Each has a folder in it, with its config.json and safetensors.")


def test_the_folder_may_be_a_model_itself_whose_parts_are_none(above: Path) -> None:
    folder(above, TEXT, ST)
    folder(above / "1_Pooling", {"pooling_mode_mean_tokens": True})
    folder(above / "2_Dense", {"in_features": 8}, ST)
    folder(above / "onnx", None, "model.bin")
    assert shelf.look() == shelf.Shelf((Model("models", "hf", "text"),))
    assert hub.local("MMCLI_MODELS/models") == above


def test_places_are_found_by_name_and_what_is_gone_is_named(above: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = folder(above / "bert", TEXT, ST)
    assert hub.local("MMCLI_MODELS/bert") == own
    for name in ("gone", "../models/bert", ""):
        with pytest.raises(ConfigError, match="there is no model") as error:
            hub.local(f"MMCLI_MODELS/{name}")
        assert "point MMCLI_MODELS to where it is" in error.value.remedy
    monkeypatch.setenv(shelf.VARIABLE, str(above / "nowhere"))
    with pytest.raises(ConfigError, match=r"MMCLI_MODELS=.*nowhere: there is no such folder"):
        shelf.look()
    for unset in (lambda: monkeypatch.setenv(shelf.VARIABLE, ""), lambda: monkeypatch.delenv(shelf.VARIABLE)):
        unset()
        assert shelf.look() == shelf.Shelf()
        with pytest.raises(ConfigError, match="MMCLI_MODELS names none") as error:
            hub.local("MMCLI_MODELS/bert")
        assert error.value.remedy == "Say where it is: export MMCLI_MODELS=FOLDER"


def test_looking_imports_no_torch(above: Path) -> None:
    folder(above / "bert", TEXT, ST)
    code = "import sys; from mmcli.pretrained import shelf; assert shelf.look().models; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


TABICL: dict[str, Any] = {"max_classes": 10, "embed_dim": 8, "col_num_blocks": 1, "row_num_blocks": 1, "icl_num_blocks": 1}


def test_a_tabular_model_is_told_by_its_config_and_is_no_encoder(above: Path) -> None:
    folder(above / "own", TABICL, ST)
    folder(above / "bert", TEXT, ST)
    folder(above / "less", {key: own for key, own in TABICL.items() if key != "icl_num_blocks"}, ST)
    found = shelf.look()
    assert found.tabular == (Model("own", "tabicl", "tabular"),)
    assert found.models == (Model("bert", "hf", "text"),)
    (less,) = found.left_out
    assert "less: its config.json (model_type none) does not tell" in less


def test_tabpfn_is_said_not_to_be_read(above: Path) -> None:
    folder(above / "one", {"model_name": "TabPFN-v2-clf"}, "tabpfn-v2-classifier.ckpt")
    folder(above / "two", None, "tabpfn-v2-regressor.ckpt")
    found = shelf.look()
    assert found.tabular == found.models == ()
    assert len(found.left_out) == 2
    assert all("TabPFN is not read: its checkpoints are pickles" in own for own in found.left_out)


def test_a_good_folder_is_read_whatever_checkpoints_lie_in_it(above: Path) -> None:
    folder(above / "bert", TEXT, ST, "TabPFN-v2.ckpt")
    folder(above / "net", {"architecture": "resnet18"}, ST, "tabicl-v1.ckpt")
    folder(above / "own", TABICL, ST, "tabicl-v1.ckpt", "tabpfn-v2.pt")
    found = shelf.look()
    assert [own.name for own in (*found.models, *found.tabular)] == ["bert", "net", "own"]
    assert [own.rpartition(": ")[2] for own in found.left_out] == ["a pickle; the safetensors beside it are read."] * 4


def test_checkpoints_are_told_whatever_their_letters_and_each_has_a_folder_of_its_own(above: Path) -> None:
    folder(above / "got", None, "TabICL-v1.CKPT", "TABICL-v1.pt", "TabPFN.PT")
    said = shelf.look().left_out
    assert "TabPFN is not read" in said[0]
    commands = [shlex.split(own.partition("trust it: ")[2])[2] for own in said[1:]]
    assert len(said) == 3
    assert {own.partition("pathlib.Path(")[2].partition(")")[0] for own in commands} == {
        repr(str(above / "TabICL-v1-CKPT")),
        repr(str(above / "TABICL-v1-pt")),
    }
    folder(above / "TABICL-v1-pt", TABICL, ST)
    assert len(shelf.look().left_out) == 2


HOSTILE = """tabicl$(touch ran)`touch ran`'"; touch ran; ' x.ckpt"""


def test_what_is_to_be_pasted_runs_nothing_that_a_file_is_called(tmp_path: Path) -> None:
    for command in (unpacking(tmp_path / HOSTILE, tmp_path / HOSTILE), conversion(tmp_path / HOSTILE)):
        words = command.partition("Convert it if you trust it: ")[2]
        echoed = subprocess.run(
            words.replace("python -c", "printf %s", 1), shell=True, check=True, capture_output=True, text=True, cwd=tmp_path
        )
        assert not (tmp_path / "ran").exists()
        program = ast.parse(echoed.stdout)
        assert str(tmp_path / HOSTILE) in {own.value for own in ast.walk(program) if isinstance(own, ast.Constant)}


@pytest.mark.parametrize("place", ["", "snapshot"])
def test_a_checkpoint_of_tabicl_becomes_a_folder_by_the_command_that_is_told(place: str, above: Path) -> None:
    pytest.importorskip("tabicl")
    from mmcli.pretrained import tabular
    from tests.pretrained.making_tables import TINY, write_checkpoint

    (above / place).mkdir(exist_ok=True)
    network = write_checkpoint(above / place / "tabicl-classifier-v0.ckpt")
    found = shelf.look()
    assert found.tabular == ()
    (said,) = found.left_out
    assert "tabicl-classifier-v0.ckpt: a pickle, which could run any program. Convert it if you trust it: python -c" in said
    assert "weights_only=True" in said
    command = said.partition("Convert it if you trust it: python")[2]
    subprocess.run(f'"{sys.executable}"{command}', shell=True, check=True, capture_output=True)
    assert shelf.look() == shelf.Shelf(tabular=(Model("tabicl-classifier-v0", "tabicl", "tabular"),))
    made = above / "tabicl-classifier-v0"
    assert tabular.network(made).model_dump().items() >= TINY.items()
    kept = tabular.tensors(made)
    assert {name: own.tolist() for name, own in kept.items()} == {
        name: own.tolist() for name, own in network.state_dict().items()
    }


def test_configs_of_tabicl_are_held_to_what_is_known(tmp_path: Path) -> None:
    from mmcli.pretrained import tabular

    for change, wanted in (
        ({"icl_num_blocks": 10**6}, "icl_num_blocks = 1000000: input should be less than or equal to 64"),
        ({"embed_dim": 1024, "row_num_cls": 32}, "of which 100,000,000 are taken"),
        ({"embedd_dim": 8}, "embedd_dim"),
        ({"activation": "os.system"}, "activation"),
        ({"max_classes": "x"}, "max_classes"),
    ):
        with pytest.raises(ConfigError) as error:
            tabular.network(folder(tmp_path, {**TABICL, **change}))
        assert wanted in error.value.message
        assert str(tmp_path) in error.value.message
    assert tabular.network(folder(tmp_path, {})).numbers == pytest.approx(27_552_258, rel=0.1)
    (tmp_path / "config.json").write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot be read"):
        tabular.network(tmp_path)
    with pytest.raises(ConfigError, match=r"holds 0 \.safetensors files"):
        tabular.tensors(tmp_path)
