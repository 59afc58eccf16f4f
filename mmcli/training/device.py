"""Where and how to compute: device, precision, threads, seeds."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import torch

from mmcli.data import memory
from mmcli.errors import ConfigError

PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Compute:
    """A device and the precision that it works in."""

    device: torch.device
    precision: str
    channels_last: bool = True
    """Whether pictures lie with their colours together, as fast convolutions want them."""
    fused: bool = True
    """Whether the optimizer takes its step in one kernel."""
    compiled: bool = False
    """Whether the network goes through torch.compile."""
    graphs: bool = False
    """Whether what is compiled is replayed as CUDA graphs: one launch for many kernels."""
    threads: int = field(default_factory=torch.get_num_threads)
    """Cores that it computes on, of a CPU."""
    precision_given: bool = False
    """Whether the user named the precision."""
    tf32: bool | None = None
    """Whether a CUDA device may round the factors of float32 products to TF32 while it trains; None: as torch itself does."""

    def autocast(self) -> AbstractContextManager[None]:
        """Mixed precision for the forward pass, where it is used."""
        if self.precision == "float32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)

    @contextlib.contextmanager
    def threading(self) -> Iterator[None]:
        """So many threads while it lasts; and on a CUDA device products of float32 as `tf32` says."""
        before = torch.get_num_threads()
        if self.threads != before:
            torch.set_num_threads(self.threads)
        try:
            with contextlib.nullcontext() if self.tf32 is None or self.device.type != "cuda" else _products(self.tf32):
                yield
        finally:
            if self.threads != before:
                torch.set_num_threads(before)

    def described(self) -> str:
        """All of it in a few words."""
        layout = "channels-last" if self.channels_last else "contiguous"
        parts = [
            self.precision,
            layout,
            "fused AdamW" if self.fused else "AdamW",
            *(["TF32"] if self.tf32 else []),
            *(["compiled"] if self.compiled else []),
            *(["CUDA graphs"] if self.graphs else []),
        ]
        if self.device.type == "cpu":
            parts.append(f"{self.threads} thread{'s' if self.threads > 1 else ''}")
        return ", ".join(parts)

    def difference(self, other: Compute) -> str:
        """What is described otherwise than of the other."""
        own, others = self.described().split(", "), other.described().split(", ")
        return ", ".join([part for part in own if part not in others] or ["not compiled"])

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        return f"{name}, {self.precision}"


def choose(device: str = "auto", precision: str = "auto", threads: int = 0) -> Compute:
    """The device asked for, or the fastest there is; bfloat16 where its units are native. `threads` 0 leaves them as they are.

    Raises:
        ConfigError: the device or precision is not to be had here.
    """
    chosen = _device(device)
    if precision not in PRECISIONS:
        raise ConfigError(f"--precision {precision}: expected one of {', '.join(PRECISIONS)}")
    given = precision != "auto"
    if precision == "auto":
        precision = "bfloat16" if _bfloat16_is_native(chosen) else "float32"
    if chosen.type == "cpu":
        memory.keep_freed()
    if threads:
        torch.set_num_threads(threads)
    tf32 = not (given and precision == "float32") if chosen.type == "cuda" else None
    return Compute(chosen, precision, fused=chosen.type in {"cpu", "cuda"}, precision_given=given, tf32=tf32)


@contextlib.contextmanager
def _products(tf32: bool) -> Iterator[None]:
    """Products of float32 on a CUDA device by TF32, or exact, convolutions too, while it lasts.

    By the older of torch's two ways to say so: what compiles networks still asks by it in torch 2.13, and does not work once
    the newer has been used. Some versions warn that it will go.
    """
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    _set_products("high" if tf32 else "highest", tf32)
    try:
        yield
    finally:
        _set_products(*before)


def _set_products(matmul: str, convolutions: bool) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
        torch.set_float32_matmul_precision(matmul)
        torch.backends.cudnn.allow_tf32 = convolutions


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        there = "cuda, cpu" if torch.cuda.is_available() else "mps, cpu" if torch.backends.mps.is_available() else "cpu"
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {name} cannot be used: {reason}", f"Here there is: {there} (or auto).") from None
    return device


def free_memory(device: torch.device) -> int:
    """Bytes that tensors may still take: on a CUDA device what is free there and what its allocator keeps for the next ones;
    elsewhere what is free on the host."""
    if device.type != "cuda":
        return memory.available()
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept


def _bfloat16_is_native(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return bool(capabilities.get("amx_bf16"))  # without its tiles, avx512_bf16 is slower than float32
    return False


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Computes on so many threads meanwhile; 0 leaves them as they are."""
    before = torch.get_num_threads()
    try:
        if count:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def seed_everything(seed: int) -> None:
    """Seeds torch's generators, on every device. Nothing else in mmcli draws from global generators."""
    torch.manual_seed(seed)


def derive_seed(seed: int, *names: str) -> int:
    """A seed of its own for each named thing, so that training one column does not change another's draws."""
    text = "/".join([str(seed), *names])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
