"""Networks of others as ONNX files, run as they are: `onnx:FILE`, with the extra `export`. For embeddings of faces, say.

Nothing of them trains: each row is run once, and a head learns from what comes of it. The file itself lies among the weights,
so that the artifact stands alone. `mmcli preprocess --for image=onnx:FILE` takes over the size and normalisation that it wants.
"""

from __future__ import annotations

import hashlib
import shlex
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mmcli.config import Config as BaseConfig
from mmcli.encoders import Encoder
from mmcli.errors import ConfigError, unknown
from mmcli.media import onnxfiles
from mmcli.pretrained import hub, licences
from mmcli.pretrained.licences import Origin
from mmcli.signals import Column, Kind, Signal, SignalSpec, Source

TRAINING = {"epochs": 60, "learning_rate": 3e-3, "batch_size": 64, "weight_decay": 0.05, "patience": 15}
VARIANT = "model"
_AT_ONCE, _USUAL_SIDE = 32, 112


class Config(BaseConfig):
    """Which file, and what it wants."""

    model: str = ""
    """Path of an ONNX file that takes pictures and gives a vector for each."""
    output: str = ""
    """Which of its outputs; by default the first that is [B, D], else [B, D, 1, 1]."""
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """What its training took from colours between 0 and 1; with 0 and a `std` of 1/255 it is given bytes from 0 to 255."""
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    """By what they were divided then."""
    bgr: bool = False
    """Whether it takes blue first."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Dropout on the vectors."""
    weights: Literal["default"] = "default"
    """Those in the file, always."""
    tune: Literal["head"] = "head"
    """Nothing of it trains."""
    definition: dict[str, Any] = Field(default_factory=dict)
    """Its size and sha256, what it takes and gives: filled in from the file."""


class Onnx(Encoder):
    """Grid [3, H, W] -> one token, the vector that the file gives, each number less its mean, by its deviation. Parameters: D,
    the absent embedding."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"grid"})
    keeps_order: ClassVar[bool] = False
    varies = False

    def __init__(self, config: Config, spec: SignalSpec) -> None:
        config = self.resolve(config)
        found = config.definition
        super().__init__(spec, int(found["dim"]))
        self.config = config
        sides = [side for side in found["sides"] if side]
        if sides and sides != [spec.shape[1], spec.shape[2]]:
            raise ConfigError(
                f"--arch onnx:{config.model} takes {' x '.join(map(str, sides))} pixels, the column has {spec.shape[1]} x "
                f"{spec.shape[2]}",
                f"Preprocess for it: mmcli preprocess TABLE --for {shlex.quote(f'image=onnx:{config.model}')}",
            )
        self.dropout = torch.nn.Dropout(config.dropout)
        self.file: Tensor
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("file", torch.zeros(int(found["bytes"]), dtype=torch.uint8))
        self.register_buffer("mean", torch.zeros(self.dim))
        self.register_buffer("std", torch.ones(self.dim))
        self._session: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Copies make their own session."""
        return {**self.__dict__, "_session": None}

    @classmethod
    def resolve(cls, config: Config) -> Config:
        """With the definition read from the file."""
        if config.definition:
            return config
        data, path = _read(config)
        session = _session(data, config)
        definition = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **_described(session, config)}
        return config.model_copy(update={"definition": definition, "model": str(path)})

    @classmethod
    def preprocessing(cls, config: Config) -> dict[str, dict[str, Any]]:
        """Its size, where it is fixed, the mean and the deviation."""
        config = cls.resolve(config)
        sides = config.definition["sides"]
        if sides[0] != sides[1]:
            raise ConfigError(f"onnx:{config.model} takes {sides[0]} x {sides[1]} pixels: pictures are made square here")
        size = {"size": sides[0]} if sides[0] else {}
        return {"image": {"normalize": "given", "mean": config.mean, "std": config.std, **size}}

    @staticmethod
    def parameter_formula(config: Config, spec: SignalSpec) -> int:  # noqa: ARG004
        return int(Onnx.resolve(config).definition["dim"])

    def start(self) -> None:
        """Puts the file among the weights.

        Raises:
            ConfigError: it is not there, or no more what it was.
        """
        data, path = _read(self.config)
        if hashlib.sha256(data).hexdigest() != self.config.definition["sha256"]:
            raise ConfigError(f"--arch onnx:{path} has changed while it was read", "Run the command again.")
        with torch.no_grad():
            self.file.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))

    def origin(self) -> Origin | None:
        path = Path(self.config.model)
        return Origin(path.name, licences.licence(path) if path.is_file() else licences.UNKNOWN)

    def prepare(self, column: Source) -> Source:
        """What the file makes of each row: float16 [N, D]."""
        values = torch.zeros(len(column), self.dim, dtype=torch.float16)
        here = column.present.nonzero()[:, 0]
        for index in here.split(_AT_ONCE) if len(here) else ():
            values[index.cpu()] = self._run(column.gather(index).values)
        return Column(values.to(column.present.device), column.present)

    def _run(self, grid_BCHW: Tensor) -> Tensor:
        """float16 [B, D]; a file that takes one picture is given one after the other."""
        if self._session is None:
            self._session = _session(self.file.cpu().numpy().tobytes(), self.config)
        found = self.config.definition
        pixels = grid_BCHW.float().cpu()
        pixels = pixels.flip(1) if self.config.bgr else pixels
        pixels = pixels.permute(0, 2, 3, 1) if found["channels_last"] else pixels
        parts = pixels.split(1 if found["one"] else _AT_ONCE)
        made = [
            self._session.run([found["output"]], {found["input"]: np.ascontiguousarray(part.numpy())})[0].reshape(len(part), -1)
            for part in parts
        ]
        values = torch.from_numpy(np.concatenate(made)).half()
        if values.shape[1] != self.dim or not bool(values.isfinite().all()):
            raise ConfigError(
                f"--arch onnx:{self.config.model} gives values that are not finite, or not {self.dim} to a row",
                "See whether it wants other colours: --set encoder.onnx.mean and std.",
            )
        return values

    def preparation(self) -> None:
        """Only ONNX Runtime can, by the file."""
        return

    def fit(self, column: Source) -> None:
        """Mean and deviation of the vectors."""
        assert isinstance(column, Column)
        if column.present.any():
            here = column.values[column.present].float()
            self.mean.copy_(here.mean(0))
            self.std.copy_(here.std(0, unbiased=False).clamp(min=1e-4))

    def encode(self, signal: Signal) -> tuple[Tensor, Tensor, Tensor]:
        pooled = (signal.values.float() - self.mean) / self.std
        ones = torch.ones(pooled.shape[0], 1, dtype=torch.bool, device=pooled.device)
        return self.dropout(pooled), pooled[:, None], ones


def _read(config: Config) -> tuple[bytes, Path]:
    if not config.model:
        raise ConfigError("--arch onnx wants a file", "E.g. --arch onnx:arcface.onnx")
    path = Path(config.model).expanduser().absolute()
    if not path.is_file():
        raise ConfigError(f"--arch onnx:{config.model}: there is no such file", f"Looked in {path.parent}.")
    return path.read_bytes(), path


def _session(data: bytes, config: Config) -> Any:
    hub.need("onnxruntime", f"--arch onnx:{config.model}", "export")
    try:
        return onnxfiles.session(data, torch.get_num_threads())
    except ValueError as error:
        raise ConfigError(f"--arch onnx:{config.model}: {error}") from None


def _described(session: Any, config: Config) -> dict[str, Any]:
    """What the file takes and gives.

    Raises:
        ConfigError: not one picture for each row, not a vector for each.
    """
    name, taken = f"--arch onnx:{config.model}", session.get_inputs()
    shapes = ", ".join(f"{own.name} {own.type} {own.shape}" for own in taken)
    shape = list(taken[0].shape) if len(taken) == 1 else []
    if len(shape) != 4 or taken[0].type != "tensor(float)" or 3 not in {shape[1], shape[3]}:
        raise ConfigError(f"{name} takes {shapes}", "Expected pictures in float32, [B, 3, H, W] or [B, H, W, 3].")
    last = shape[1] != 3
    sides = [side if isinstance(side, int) and side > 0 else 0 for side in (shape[1:3] if last else shape[2:])]
    one = shape[0] == 1
    height, width = (side or _USUAL_SIDE for side in sides)
    zeros = np.zeros((1 if one else 2, *((height, width, 3) if last else (3, height, width))), dtype=np.float32)
    known = [own.name for own in session.get_outputs()]
    if config.output and config.output not in known:
        raise ConfigError(f"{name}: {unknown('output', config.output, known)}")
    try:
        made = dict(zip(known, session.run(known, {taken[0].name: zeros}), strict=True))
    except Exception as error:  # of a type of its own for each fault
        why = " ".join(str(error).split())[:200]
        raise ConfigError(f"{name} cannot be run on pictures of {height} x {width} ({why})") from None
    fit = [own for own, value in made.items() if value.ndim >= 2 and len(value) == len(zeros) and value[0].size > 1]
    fit = [own for own in fit if made[own][0].size == max(made[own].shape[1:])]  # [B, D], whatever sides of one it has besides
    chosen = config.output or min(fit, key=lambda own: made[own].ndim, default="")
    if chosen not in fit:
        shown = ", ".join(f"{own} {list(value.shape)}" for own, value in made.items())
        raise ConfigError(f"{name} gives {shown}", "Expected a vector for each picture, [B, D].")
    dim = int(made[chosen][0].size)
    return {"input": taken[0].name, "output": chosen, "sides": sides, "channels_last": last, "one": one, "dim": dim}
