"""Ways to run a fused model on batches of signals: by PyTorch in one precision or the other, with int8 weights, as ONNX by ONNX
Runtime, compiled ahead of time. And what each costs on this machine."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmcli.artifacts import own
from mmcli.artifacts.store import Artifact, file_digest
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError, ConfigError
from mmcli.models import graphs, writers
from mmcli.models.networks import FusedModel
from mmcli.pretrained.hub import need
from mmcli.signals import Signal, Source
from mmcli.text.lattice import Lattice, Padded
from mmcli.training.device import Compute

TORCH, BFLOAT16, FLOAT32 = "torch", "torch bfloat16", "torch float32"
INT8_DYNAMIC, INT8_WEIGHTS = "torch int8 dynamic", "torch int8 weights"
ONNX, ONNX_INT8, AOT = "onnx", "onnx int8", "aot"
FILES = {ONNX: "model.onnx", ONNX_INT8: "model.onnx", AOT: "model.pt2"}
"""Way -> the file that it runs, beside the weights; texts that are written unit by unit take `writers.STEP` besides."""
WAYS = (TORCH, BFLOAT16, FLOAT32, INT8_DYNAMIC, INT8_WEIGHTS, *FILES)
QUANTIZED_OPERATORS = ["MatMul", "Gemm", "Gather", "LSTM", "GRU"]
"""What int8 pays for in ONNX on a CPU; its int8 convolutions are slower than those in float32."""

Run = Callable[[Mapping[str, Signal]], Any]


@dataclass(frozen=True)
class Runner:
    """A fused model as it is run: prepared signals -> outputs of B rows, in float32, on the host."""

    way: str
    network: FusedModel
    run: Run
    size: int
    """Bytes of what it computes with."""

    @torch.no_grad()
    def outputs(self, columns: Mapping[str, Source], device: torch.device, batch_size: int | None = None) -> Any:
        """Outputs for normalised columns of the inputs; by default in batches that suit the way."""
        batch_size = batch_size or (32 if self.way in FILES else 256)
        prepared = {name: column.to(device) for name, column in self.network.prepare(columns).items()}
        rows = len(next(iter(prepared.values())))
        parts = [
            self.run({name: column.gather(index) for name, column in prepared.items()})
            for index in torch.arange(rows, device=device).split(batch_size)
        ]
        return self.network.task.outputs.join(parts)


def runner(way: str, network: FusedModel, compute: Compute, file: Path | None = None) -> Runner:
    """The model run in one of the ways; `file` is what `ONNX` and `AOT` run.

    Raises:
        ConfigError: a package is not installed.
        RuntimeError: this device cannot run it so.
    """
    if way not in WAYS:
        raise ConfigError(f"there is no way {way!r} to run a model", f"Known: {', '.join(WAYS)}.")
    if way in FILES:
        assert file is not None
        size = sum(own.stat().st_size for own in files_of(file))
        return Runner(way, network, _answered(_from_file(way, network, file, compute), network), size)
    if way in {INT8_DYNAMIC, INT8_WEIGHTS}:
        network = _quantized(network, way)
    precision = {BFLOAT16: "bfloat16", FLOAT32: "float32", TORCH: compute.precision}.get(way, "float32")
    own = Compute(compute.device, precision, threads=compute.threads)

    kind, host = network.task.outputs, torch.device("cpu")

    def run(signals: Mapping[str, Signal]) -> Any:
        with torch.no_grad(), own.autocast():
            found = kind.to(kind.plain(network(signals).outputs), host)
        return kind.answered(found)

    return Runner(way, network.eval(), run, _bytes(network))


COMPILED_HERE = "compiled_here"
"""In the metrics: sha256 of each file that was compiled on this machine -> its keyed digest. See `artifacts.own`."""


def marks(files: Iterable[Path]) -> dict[str, str]:
    """Of those files that are programs, the digests by which this user's mmcli knows them again on this machine."""
    found = (file_digest(file) for file in files if file.name == FILES[AOT])
    return {sha256: own.mark(sha256) for sha256 in found}


def require_own(artifact: Artifact, relative: str = FILES[AOT]) -> None:
    """Lets pass what was compiled here.

    Raises:
        ArtifactError: it was not: a compiled model is a program, and is not run because a file says so.
    """
    sha256 = file_digest(artifact.file(relative))
    known = artifact.metrics.get(COMPILED_HERE)
    if not isinstance(known, dict) or not own.is_own(sha256, known.get(sha256)):
        raise ArtifactError(
            f"{artifact.path / relative} is a program that was not compiled by you on this machine: it was not run",
            "Compile it here: mmcli optimize --force --set optimization.aot.enabled=true; or run the same model otherwise: "
            'mmcli optimize --pick "NAME" (mmcli optimize lists them).',
        )


def write(way: str, network: FusedModel, signals: Mapping[str, Signal], file: Path, whole: Path | None = None) -> None:
    """Writes what `runner` runs in that way, traced on a batch of signals; int8 from the graph in float32 at `whole`, if it is
    there already. A graph is run on those rows, and on the first step of each, before it is taken.

    Raises:
        ConfigError: a package is not installed.
        RuntimeError: the model cannot be traced, or compiled here, or gives other answers on rows of other lengths.
    """
    host = {name: signal.to(torch.device("cpu")) for name, signal in signals.items()}
    if way in {ONNX, ONNX_INT8}:  # before anything is traced, which takes long
        need("onnxscript", "ONNX", extra="export")
        need("onnxruntime", "running ONNX", extra="export")
    if way in {ONNX, ONNX_INT8} and writers.writes(network):
        _write_two(way, network, host, file, whole)
        writers.check(network, host, file, file.with_name(writers.STEP), exact=way == ONNX)
        return
    _write(way, network, signals, file, whole)
    if way in {ONNX, ONNX_INT8}:
        graphs.check(network.eval(), host, graphs.OnnxModel(file), exact=way == ONNX)


def files_of(file: Path) -> list[Path]:
    """What a way runs: the file, and the second graph of what writes unit by unit."""
    return [file, *(own for own in [file.with_name(writers.STEP)] if file.name == FILES[ONNX] and own.is_file())]


def _write_two(way: str, network: FusedModel, signals: Mapping[str, Signal], file: Path, whole: Path | None) -> None:
    floats = file.with_suffix(".float.onnx") if way == ONNX_INT8 else file
    pair = [floats, floats.with_name(f"{floats.name}.step" if way == ONNX_INT8 else writers.STEP)]
    if way == ONNX_INT8 and whole is not None and whole.is_file():
        pair = files_of(whole)
    else:
        writers.write(network, signals, *pair)
    if way == ONNX_INT8:
        for own, to in zip(pair, (file, file.with_name(writers.STEP)), strict=True):
            _quantized_graph(own, to)
        for own in pair if floats in pair else ():
            own.unlink()


def _write(way: str, network: FusedModel, signals: Mapping[str, Signal], file: Path, whole: Path | None) -> None:
    if way == ONNX_INT8 and whole is not None and whole.is_file():
        _quantized_graph(whole, file)
        return
    if way == AOT and graphs.has_recurrent_layers(network, signals):
        raise RuntimeError("a recurrent layer would be unrolled over every length")
    program = graphs.exported(network, signals, onnx=way != AOT)
    if way == AOT:
        with graphs.quiet():
            torch._inductor.aoti_compile_and_package(program, package_path=str(file))
        return
    names = list(graphs.tensors_of(signals))
    graphs.write_onnx(program, names, file)
    if way == ONNX_INT8:
        floats = file.with_suffix(".float.onnx")
        file.rename(floats)
        _quantized_graph(floats, file)
        floats.unlink()


def _quantized_graph(whole: Path, file: Path) -> None:
    quantization = need("onnxruntime.quantization", "int8 ONNX", extra="export")
    with graphs.quiet():
        quantization.quantize_dynamic(str(whole), str(file), op_types_to_quantize=QUANTIZED_OPERATORS)


def _answered(run: Run, network: FusedModel) -> Run:
    """What a file gives as the network answers: lattices with the search that they are read by, vectors to compare beside those
    that they are compared with. A graph holds neither."""
    beside = list[Any]()

    @torch.no_grad()
    def answered(signals: Mapping[str, Signal]) -> Any:
        found, search = run(signals), graphs.searched_by(network)
        if network.task.gives_embeddings and not network.task.outputs.decides:
            kind = network.task.outputs
            if not beside:
                one = {name: signal.select(torch.zeros(1, dtype=torch.int64)) for name, signal in signals.items()}
                beside.append(kind.to(kind.plain(network.eval()(one).outputs), torch.device("cpu")))
            return beside[0].with_values(found)
        return replace(found, search=search.tensor()) if isinstance(found, Lattice) and search is not None else found

    return answered


def _from_file(way: str, network: FusedModel, file: Path, compute: Compute) -> Run:
    if way == AOT:
        package = torch._inductor.aoti_load_package(str(file))

        def run(signals: Mapping[str, Signal]) -> Any:
            found = package(*graphs.tensors_of(signals).values())
            return found.cpu() if isinstance(found, Tensor) else Padded(*(own.cpu() for own in found)).ragged()

        return run
    if compute.device.type != "cpu":
        raise RuntimeError("ONNX Runtime is used on a CPU")
    two = writers.writes(network)
    session = (
        writers.OnnxWriter(network, file, file.with_name(writers.STEP), compute.threads)
        if two
        else graphs.OnnxModel(file, compute.threads)
    )
    return lambda signals: session(graphs.tensors_of(signals))


def _quantized(network: FusedModel, way: str) -> FusedModel:
    """A copy with the weights of its linear layers in int8, by torchao; `INT8_DYNAMIC` computes in int8 too."""
    with warnings.catch_warnings(), graphs.quiet():
        warnings.simplefilter("ignore")
        torchao = need("torchao.quantization", way, extra="export")
        config = torchao.Int8DynamicActivationInt8WeightConfig if way == INT8_DYNAMIC else torchao.Int8WeightOnlyConfig
        made = copy.deepcopy(network).eval()
        torchao.quantize_(made, config())
    return made


def _bytes(network: FusedModel) -> int:
    """Of the weights as they lie in memory: an int8 tensor of torchao holds smaller ones."""
    total = 0
    for tensor in network.state_dict().values():
        names = tensor.__tensor_flatten__()[0] if hasattr(tensor, "__tensor_flatten__") else []
        inner = [getattr(tensor, name) for name in names] or [tensor]
        total += sum(own.numel() * own.element_size() for own in inner)
    return total


@dataclass(frozen=True)
class Cost:
    """What running a model takes on this machine."""

    p50_ms_1: float
    """Median milliseconds for one row that is decoded and in memory."""
    p95_ms_1: float
    p50_ms_32: float
    p95_ms_32: float
    rows_per_s: float
    """In batches of 32."""
    size_mb: float
    peak_mb: float
    """Its size, and how far the process's memory rises while it runs 32 rows; on Linux, else its size alone."""


CALLS, FEWEST, ENOUGH_S = {32: 15, 1: 40}, 7, 0.5
"""By rows of a batch how often a model is called to be timed; a slow one fewer times, once it was called so long."""


def cost(own: Runner, dataset: Dataset, compute: Compute) -> Cost:
    """Measured on val rows that lie on the device, in turns of one row and of 32."""
    timed = {}
    peak = own.size
    for batch, calls in CALLS.items():
        signals = batch_of(own.network, dataset, batch, compute)
        own.run(signals)
        if batch == 32:
            peak += _rise(lambda signals=signals: own.run(signals))  # type: ignore[misc]
        times = list[float]()
        with compute.threading():
            while len(times) < calls and (len(times) < FEWEST or sum(times) < ENOUGH_S):
                started = time.perf_counter()
                own.run(signals)
                times.append(time.perf_counter() - started)
        times.sort()
        timed[batch] = (times[len(times) // 2] * 1e3, times[int(len(times) * 0.95)] * 1e3)
    return Cost(
        p50_ms_1=round(timed[1][0], 3),
        p95_ms_1=round(timed[1][1], 3),
        p50_ms_32=round(timed[32][0], 3),
        p95_ms_32=round(timed[32][1], 3),
        rows_per_s=round(32e3 / timed[32][0], 1),
        size_mb=round(own.size / 1e6, 3),
        peak_mb=round(peak / 1e6, 1),
    )


def longest_rows(network: FusedModel, dataset: Dataset, rows: int, compute: Compute) -> dict[str, Signal]:
    """So many rows of train and val, prepared and on the device, the longest of each ragged input among them: what a graph is
    traced on."""
    known = torch.cat([dataset.splits["val"], dataset.splits["train"]])
    found = []
    for name in network.inputs:
        column = dataset.column(name)
        lengths = column.lengths
        score = column.present.cpu()[known].long() if lengths is None else lengths.cpu()[known]
        found.append(int(known[score.argmax()]))
    index = list(dict.fromkeys([*found, *known[:rows].tolist()]))[: max(rows, len(found))]
    return _prepared(network, dataset, torch.tensor(index * (1 if len(index) > 1 else 2)), compute)


def batch_of(network: FusedModel, dataset: Dataset, rows: int, compute: Compute) -> dict[str, Signal]:
    """The first val rows, prepared and on the device; over and over where there are fewer."""
    val = dataset.splits["val"] if len(dataset.splits["val"]) else dataset.splits["train"]
    return _prepared(network, dataset, val.repeat(-(-rows // len(val)))[:rows], compute)


def _prepared(network: FusedModel, dataset: Dataset, index: Tensor, compute: Compute) -> dict[str, Signal]:
    """Those rows, prepared and on the device."""
    columns = {name: dataset.column(name).select(index) for name in network.inputs}
    every = torch.arange(len(index))
    return {name: column.gather(every).to(compute.device) for name, column in network.prepare(columns).items()}


def _rise(work: Callable[[], Any]) -> int:
    """Bytes by which the process's memory rises, at its highest, while it works; 0 where the system does not tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not status.exists():
        return 0
    with contextlib.suppress(OSError):
        if sys.platform.startswith("linux"):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        before = _kilobytes(status, "VmRSS")
        reset.write_text("5")
        work()
        return max(_kilobytes(status, "VmHWM") - before, 0) * 1024
    return 0


def _kilobytes(status: Path, field: str) -> int:
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith(field))
    return int(line.split()[1])


def why_not(error: Exception) -> str:
    """The first words of an error, as the reason why a way cannot be taken."""
    text = f"{error.message}: {error.remedy}" if isinstance(error, ConfigError) else str(error)
    line = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return line[:160]
