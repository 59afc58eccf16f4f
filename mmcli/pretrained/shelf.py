"""The folder of pretrained models that `MMCLI_MODELS` names: what lies there, and for which kind of column. Imports no torch.

A model is a sub-folder (or the folder itself) with a config.json, as transformers or timm write it, and safetensors. What it is
for is told from that config alone; nothing there is ever imported, and nothing but safetensors is read as weights.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcli.errors import ConfigError
from mmcli.pretrained.pickles import PICKLES, TABICL, conversion, unpacking

VARIABLE = "MMCLI_MODELS"
_SOUND = frozenset({"num_mel_bins", "conv_dim", "feat_extract_norm"})
_CLIPS = frozenset({"num_frames", "tubelet_size"})
_PICTURES = frozenset({"image_size", "num_channels", "patch_size"})
_SEVERAL = frozenset({"text_config", "vision_config", "audio_config"})
"""Of which kind a network is whose config holds one of these."""
_TABICL = frozenset({"max_classes", "embed_dim", "col_num_blocks", "row_num_blocks", "icl_num_blocks"})
"""What a config of TabICL holds, all of it: what `tabicl.TabICL` is built with."""
_TABPFN = (
    "TabPFN is not read: its checkpoints are pickles that its own package makes networks of, under licences of their own. Of "
    "tabular foundation models TabICL is (https://huggingface.co/jingang/TabICL)."
)


@dataclass(frozen=True)
class Model:
    """One that can be read."""

    name: str
    """What its folder is called."""
    library: str
    """What reads it: the encoder hf or timm, or tabicl."""
    modality: str

    @property
    def architecture(self) -> str:
        """As `--arch` takes it, and as artifacts call it, wherever the folder lies."""
        return f"{self.library}:{VARIABLE}/{self.name}"


@dataclass(frozen=True)
class Shelf:
    """What lies in the folder."""

    models: tuple[Model, ...] = ()
    left_out: tuple[str, ...] = ()
    """What is not read, each with the reason and what to do about it."""
    tabular: tuple[Model, ...] = ()
    """Those of tables, which are no encoders: they answer each row by others of which the target is known."""


def root() -> Path | None:
    """The folder; None where the variable is not set.

    Raises:
        ConfigError: there is no such folder.
    """
    said = os.environ.get(VARIABLE, "")
    if not said:
        return None
    path = Path(said).expanduser()
    if not path.is_dir():
        raise ConfigError(
            f"{VARIABLE}={said}: there is no such folder", f"Name a folder of pretrained models, or: unset {VARIABLE}"
        )
    return path


def look() -> Shelf:
    """What lies in the folder that the variable names; nothing where it is not set.

    Raises:
        ConfigError: it names no folder.
    """
    above = root()
    if above is None:
        return Shelf()
    models: dict[str, Model] = {}
    left_out: list[str] = []
    whole = (above / "config.json").is_file()
    for path in [*sorted(own for own in above.iterdir() if own.is_dir() and not own.name.startswith(".")), above]:
        found = _looked_at(path, above, part=whole and path != above)
        left_out += found.left_out
        for model in [*found.models, *found.tabular]:
            if model.name in models:
                left_out.append(f"{path}: it is called as the folder in it, which is read. Rename one.")
            models.setdefault(model.name, model)
    if not models and not left_out:
        left_out.append(f"{above}: no model lies there. Each has a folder in it, with its config.json and safetensors.")
    encoders = tuple(own for own in models.values() if own.library != TABICL)
    return Shelf(encoders, tuple(left_out), tuple(own for own in models.values() if own.library == TABICL))


def holds(architecture: str) -> bool:
    """Whether an architecture is named as one of the folder."""
    return architecture.partition(":")[2].startswith(f"{VARIABLE}/")


def place(name: str) -> Path | None:
    """Where `MMCLI_MODELS/NAME` lies; None where a name is none of the folder's.

    Raises:
        ConfigError: the variable is not set, or nothing of that name lies there.
    """
    if not name.startswith(f"{VARIABLE}/"):
        return None
    own, above = name.removeprefix(f"{VARIABLE}/"), root()
    if above is None:
        raise ConfigError(
            f"{name} lies in the folder of models, and {VARIABLE} names none", f"Say where it is: export {VARIABLE}=FOLDER"
        )
    found = above / own
    if own == _called(above) and not (found / "config.json").is_file():
        found = above
    if own in {"", ".", ".."} or Path(own).name != own or not (found / "config.json").is_file():
        raise ConfigError(
            f"{name}: there is no model {own!r} in {above}",
            f"Put its folder there (config.json, safetensors), point {VARIABLE} to where it is, or train without it.",
        )
    return found


def _looked_at(path: Path, above: Path, part: bool) -> Shelf:
    """A folder, the one `above` or one in it, as a model; `part`: in one that is a model itself, whose others say nothing."""
    weights = any(path.glob("*.safetensors"))
    pickles = sorted(own for own in path.iterdir() if own.suffix.lower() in PICKLES and own.is_file())
    said = _config(path / "config.json")
    readable = weights and (said.get("model_type") or said.get("architecture") or set(said) >= _TABICL)
    if not part and not readable and (told := tuple(_of_tables(path, above, said, pickles))):
        return Shelf(left_out=tuple(filter(None, told)))
    if not (path / "config.json").is_file():
        return Shelf(left_out=() if part else tuple(_unnamed(path, weights, pickles)))
    library = "hf" if said.get("model_type") else "timm" if said.get("architecture") else ""
    library = TABICL if set(said) >= _TABICL else library
    modality = {"timm": "image", TABICL: "tabular", "hf": _modality(said)}.get(library, "")
    if part and not library:
        return Shelf()
    if not weights:
        why = f"{pickles[0].name} is a pickle, which could run any program" if pickles else "it holds no .safetensors file"
        remedy = conversion(pickles[0]) if pickles else "Put its weights beside its config.json."
        return Shelf(left_out=(f"{path}: {why}. {remedy}",))
    if not modality:
        kind = said.get("model_type") or "none"
        why = f"its config.json (model_type {kind}) does not tell whether it reads text, pictures, sound or clips"
        return Shelf(left_out=(f"{path}: {why}. Name it yourself: --arch hf:{path}",))
    unread = tuple(f"{own}: a pickle; the safetensors beside it are read." for own in pickles)
    found = (Model(_called(path), library, modality),)
    return Shelf((), unread, found) if library == TABICL else Shelf(found, unread)


def _of_tables(path: Path, above: Path, said: dict[str, Any], pickles: list[Path]) -> Iterator[str]:
    """What is said of checkpoints of tabular models, which are not read as they are; nothing (an empty line) of one that has
    been made a folder with safetensors."""
    if str(said.get("model_name")).startswith("TabPFN") or any(own.name.lower().startswith("tabpfn") for own in pickles):
        yield f"{path}: {_TABPFN}"
    if (path / "config.json").is_file():
        return
    for own in pickles:
        if own.name.lower().startswith(TABICL):
            alike = [other.name for other in pickles if other.stem.lower() == own.stem.lower() and other != own]
            made = above / (own.name.replace(".", "-") if alike else own.stem)
            why = f"{own}: a pickle, which could run any program. {unpacking(own, made)}"
            yield "" if (made / "config.json").is_file() else why


def _called(path: Path) -> str:
    return path.name or path.resolve().name


def _unnamed(path: Path, weights: bool, pickles: list[Path]) -> Iterator[str]:
    """What is said of weights without a config."""
    if weights or pickles:
        files = ", ".join(own.name for own in [*sorted(path.glob("*.safetensors")), *pickles])
        yield f"{path}: no config.json says of which network {files} are weights. Put each in a folder with its config.json."


def _config(path: Path) -> dict[str, Any]:
    """What it says; nothing where it is no JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _modality(said: dict[str, Any]) -> str:
    """What a network of transformers reads, by the keys of its config; empty where they do not tell, or tell of several."""
    keys = set(said)
    if keys & _SEVERAL:
        return ""
    if keys & _SOUND:
        return "audio"
    seen = "video" if keys & _CLIPS else "image" if keys & _PICTURES else ""
    read = "vocab_size" in keys and (not seen or "max_position_embeddings" in keys)  # BEiT's vocabulary is of visual words
    return "" if seen and read else seen or ("text" if read else "")
