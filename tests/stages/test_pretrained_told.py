"""What train-encoder says of pretrained networks: what trains of them, and what they want of columns."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mmcli.encoders.hf import Config, Hf
from mmcli.encoders.onnx import Config as OnnxConfig
from mmcli.encoders.onnx import Onnx
from mmcli.errors import ConfigError, ExitCode
from mmcli.modalities.audio import Audio
from mmcli.modalities.audio import Config as AudioConfig
from mmcli.modalities.image import Config as ImageConfig
from mmcli.modalities.image import Image
from mmcli.stages.train_encoder.candidates import _for_column
from tests.conftest import ENCODERS, MANNERS, WORDS, run
from tests.encoders import faces
from tests.pretrained import making

TINY = (*ENCODERS, "--set=training.epochs=2", "--threads=1")


def test_more_blocks_than_a_network_has_are_told_once(root: Path, tmp_path: Path) -> None:
    words = [*MANNERS, *(word for own in WORDS.values() for word in own)]
    folder = making.bert(tmp_path / "net", words, layers=6)
    own = ("train-encoder", "word", "--arch", f"hf:{folder}", "--set=encoder.hf.convert=true", "-a", root, *TINY, "-v")
    code, output = run(*own, "--tune", "last-99")
    assert code == ExitCode.DONE, output
    assert output.count("the network has 6 blocks, so that with --tune last-99 all of it trains") == 1
    assert "runs in every epoch" not in output  # nothing of it is frozen
    code, output = run(*own, "--tune", "last-6", "--force")
    assert code == ExitCode.DONE, output
    assert "encoders/word/hf" in output
    assert "all of it trains" not in output


@pytest.mark.parametrize("kind", ["text", "image"])
def test_other_preprocessing_is_told_with_both_remedies(root: Path, tmp_path: Path, kind: str) -> None:
    column = {"text": "word", "image": "picture"}[kind]
    folder = making.bert(tmp_path / "net", MANNERS) if kind == "text" else making.vit(tmp_path / "net")
    own = ("train-encoder", column, "--arch", f"hf:{folder}", "-a", root, *TINY)
    code, output = run(*own)
    assert code == ExitCode.USAGE, output
    assert "trained with other preprocessing" in output
    assert f"--for {column}=hf:{folder}, or let it convert what is stored: --set encoder.hf.convert=true, or" in output
    assert run(*own, "--set", "encoder.hf.convert=true")[0] == ExitCode.DONE


def test_no_conversion_is_named_where_there_is_none(tmp_path: Path) -> None:
    """Of sound, and by a network in ONNX."""
    sound = making.network(tmp_path / "sound", "wav2vec2", conv_dim=(8,) * 7)
    waves = Audio(AudioConfig(features="waveform", normalize="none", sample_rate=8000), [0.0], [1.0])
    said = _refused(f"hf:{sound}", Hf, Hf.resolve(Config(model=str(sound))), waves, "audio")
    assert said == "sample_rate is 8000, not 16000"
    file = faces.write(tmp_path / "a.onnx")
    pictures = Image(ImageConfig(size=16), [0.1] * 3, [0.2] * 3)
    assert "mean is " in _refused(f"onnx:{file}", Onnx, Onnx.resolve(OnnxConfig(model=str(file))), pictures, "image")


def _refused(name: str, kind: Any, config: Any, first: Any, modality: str) -> str:
    """What is wrong, and that the remedy is the usual one."""
    found: Any = SimpleNamespace(joined=False, modality=modality, first=first)
    none: Any = None
    with pytest.raises(ConfigError) as caught:
        _for_column("col", name, kind, config, False, found, none)
    assert caught.value.remedy == (
        f"Preprocess for it: mmcli preprocess TABLE --for col={name}, or start at random: --weights none."
    )
    return str(caught.value.message.partition("'col': ")[2])
