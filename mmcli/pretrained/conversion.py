"""What a column holds, made into what pretrained weights were trained with: pictures rescaled, texts tokenised anew.

So a column need not be preprocessed for one network, and the others that read it lose nothing. What has to be known for it is
plain JSON, which stands in the config of the encoder; of a tokenizer the file itself stands among its weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from mmcli.errors import ConfigError

Colours = tuple[Sequence[float], Sequence[float]]
"""Mean and deviation of each colour."""


MOST_BYTES = 2**28
"""Of a tokenizer.json."""


def of_texts(data: bytes, max_tokens: int) -> dict[str, Any]:
    """How texts are converted: by the tokenizer.json with those bytes, cut to so many tokens."""
    told = {"tokenizer_bytes": len(data), "tokenizer_sha256": hashlib.sha256(data).hexdigest()}
    return {**told, "max_tokens": max_tokens}


def of_pixels(wanted: Mapping[str, Any], held: Colours) -> dict[str, Any]:
    """How pictures or clips that are normalised with the colours `held` are converted to the size, colours and frames
    `wanted`."""
    own = {"size": int(wanted["size"]), "mean": list(wanted["mean"]), "std": list(wanted["std"])}
    own |= {"frames": int(wanted["frames"])} if "frames" in wanted else {}
    return {**own, "held_mean": list(held[0]), "held_std": list(held[1])}


def check(how: Mapping[str, Any]) -> None:
    """Raises ConfigError where an artifact tells of a conversion what is none, or more than memory holds."""
    whole = {"tokenizer_bytes": MOST_BYTES, "max_tokens": 2**16} if "tokenizer_bytes" in how else {"size": 2048}
    whole |= {"frames": 256} if "frames" in how else {}
    bad = [key for key, most in whole.items() if type(how.get(key)) is not int or not 0 < how[key] <= most]
    for key in ("held_mean", "held_std", "mean", "std") if "size" in whole else ():
        own = how.get(key)
        good = isinstance(own, list) and len(own) == 3 and all(isinstance(number, int | float) for number in own)
        bad += [] if good and (not key.endswith("std") or all(own or ())) else [key]
    if bad:
        raise ConfigError(f"conversion.{bad[0]} is {how.get(bad[0])!r}", "It is filled in where convert=true asks for it.")


def rescaled(values: Tensor, how: Mapping[str, Any]) -> Tensor:
    """Pictures [B, 3, H, W] or clips [B, T, 3, H, W] in the size and normalisation that `how` tells, bilinear, antialiased
    where they become smaller; clips with its number of frames, the nearest to those that would be spread evenly."""
    values, size = values.float(), int(how["size"])
    if values.dim() == 5 and how["frames"] != values.shape[1]:
        values = values[:, torch.linspace(0, values.shape[1] - 1, int(how["frames"])).round().long()]
    flat = values.flatten(0, -4)
    if flat.shape[-2:] != (size, size):
        flat = F.interpolate(flat, (size, size), mode="bilinear", antialias=flat.shape[-1] > size)
    held_mean, held_std, mean, std = (
        flat.new_tensor(how[key]).reshape(3, 1, 1) for key in ("held_mean", "held_std", "mean", "std")
    )
    return ((flat * held_std + held_mean - mean) / std).reshape(*values.shape[:-2], size, size)


def tokenizer(data: bytes, max_tokens: int) -> Tokenizer:
    """That of a tokenizer.json, which cuts texts to so many tokens, the special ones around them included.

    Raises:
        ConfigError: it is none.
    """
    try:
        made = Tokenizer.from_str(data.decode("utf-8"))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigError(f"this is no tokenizer.json: {error}") from None
    made.no_padding()
    made.enable_truncation(max_tokens)
    return made


def unknown_share(made: Tokenizer, texts: Sequence[str]) -> float:
    """Of the tokens of some texts, the share that stands for what the tokenizer does not know."""
    model = json.loads(made.to_str())["model"]
    unknown = model.get("unk_id")
    if unknown is None:
        unknown = made.token_to_id(model.get("unk_token") or "")
    found: list[int] = [i for own in made.encode_batch_fast(list(texts), add_special_tokens=False) for i in own.ids]
    return found.count(unknown) / max(len(found), 1)
