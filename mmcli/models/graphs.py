"""A fused model as a function of plain tensors, for programs that do not know mmcli: ONNX, torch.export, AOTInductor.

The tensors of each encoder are named `<encoder>.values`, `.present` and, where its signal is ragged or timed, `.lengths` and
`.times`; batch size and lengths are free. The answer is `outputs` [B, num_outputs], as the PyTorch model gives them; vectors to
compare, [B, D] of length one, by themselves, those of columns that belong together [B, C, D], zero where a cell is absent; of
texts read step by step `outputs` [B, T, V], log-probabilities, and `steps` [B], how many are each row's own.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mmcli.errors import ConfigError
from mmcli.layers.norms import in_one_piece
from mmcli.models import exporter, onnx_words
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.pretrained.hub import need
from mmcli.signals import Column, Signal
from mmcli.text.lattice import Padded, Search, padded
from mmcli.text.writing import Writing
from mmcli.vectors.aligned import Aligned
from mmcli.vectors.embedded import Embedded

Array = np.ndarray[Any, np.dtype[Any]]
OUTPUTS, STEPS = "outputs", "steps"
LEAST_STEPS = 16
"""Steps of ragged inputs on which a network is traced at least: what is one or none there would be so for all lengths."""
TOLERANCE = 1e-3
"""Of outputs, as a share of the largest: how far a graph may be from PyTorch."""


class Flat(nn.Module):
    """A fused model that takes tensors by position and gives outputs."""

    def __init__(self, network: FusedModel, fields: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.network = network
        self.fields = dict(fields)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        left: Iterator[Any] = iter(tensors)
        signals = {name: Signal(**{field: next(left) for field in own}) for name, own in self.fields.items()}
        outputs = given(self.network(signals).outputs)
        if isinstance(outputs, Padded):
            return outputs.values.float(), outputs.lengths
        numbers: Tensor = outputs.float()
        return numbers


def given(outputs: Any) -> Any:
    """What a graph gives of outputs: of vectors to compare the rows' own, without those that they are held against."""
    return outputs.values if isinstance(outputs, Embedded | Aligned) else outputs


def answers(outputs: Any) -> dict[str, Tensor]:
    """Outputs as a graph gives them, by name; of texts that are written the log-probability of each [B]."""
    outputs = given(outputs)
    if isinstance(outputs, Writing):
        return {OUTPUTS: torch.tensor([nbest[0].log_prob for nbest in outputs.nbests()])}
    if not isinstance(outputs, Column):
        return {OUTPUTS: outputs.float()}
    values, steps = padded(outputs)
    return {OUTPUTS: values.float(), STEPS: steps}


def why_no_graph(network: FusedModel) -> str:
    """Why what a model computes of its inputs cannot be one graph, in words; empty where it may. Of vectors to compare it gives
    those of the rows: who is enrolled is looked up elsewhere."""
    if why := next(filter(None, (network.encoder(name).no_graph for name in network.names)), ""):
        return why
    if network.task.outputs.decides or network.task.gives_embeddings:
        return ""
    heads = network.fusion_head.each if isinstance(network.fusion_head, AveragedHeads) else [network.fusion_head]
    if not all(own.head.reads_steps for own in heads):
        return f"{network.task.outputs.words} that are not read step by step (--head ctc) take a search, which a graph has not"
    if len({tuple(own.names) for own in heads}) > 1:
        return "it averages models that follow different columns step by step"
    return ""


def searched_by(network: FusedModel) -> Search | None:
    """The search that lattices of the network are read by; None where it gives none."""
    heads = network.fusion_head.each if isinstance(network.fusion_head, AveragedHeads) else [network.fusion_head]
    each: list[Any] = [own.head.search for own in heads if hasattr(own.head, "search")]
    if len(each) < len(heads):
        return None
    return Search.from_tensor(each[0]) if all(torch.equal(own, each[0]) for own in each) else Search()


def fields_of(signals: Mapping[str, Signal]) -> dict[str, tuple[str, ...]]:
    """Which tensors each encoder's signal has, in order."""
    every = ("values", "present", "lengths", "times")
    return {name: tuple(f for f in every if getattr(signal, f) is not None) for name, signal in signals.items()}


def tensors_of(signals: Mapping[str, Signal]) -> dict[str, Tensor]:
    """The tensors by name, in the order in which `Flat` takes them; numbers as float32, ids as int64."""
    found = {}
    for name, own in fields_of(signals).items():
        for field in own:
            tensor: Tensor = getattr(signals[name], field)
            if field == "values":
                tensor = tensor.float() if tensor.is_floating_point() else tensor.long()
            found[f"{name}.{field}"] = tensor
    return found


def exported(network: FusedModel, signals: Mapping[str, Signal], onnx: bool = False) -> torch.export.ExportedProgram:
    """The model as a graph, traced on a batch of at least two rows, best the longest there are; sizes of batch and time are
    free, however short the rows. One that is to become ONNX holds operators of mmcli's own, which are traced sooner.

    Raises:
        ConfigError: it cannot be one graph.
        RuntimeError: something in it cannot be traced.
    """
    if why := why_no_graph(network):
        raise ConfigError(f"the model cannot be one graph: {why}", "Use it by mmcli predict, or mmcli.load in Python.")
    return traced(Flat(network.eval(), fields_of(signals)), signals, onnx)[0]


def traced(
    flat: nn.Module, signals: Mapping[str, Signal], onnx: bool = False
) -> tuple[torch.export.ExportedProgram, dict[str, Tensor]]:
    """What takes a model's tensors by position as a graph, in which numbers of rows and lengths are free; and what it was
    traced on, by name.

    Raises:
        RuntimeError: something in it cannot be traced.
    """
    signals = {name: _roomy(signal) for name, signal in signals.items()}
    tensors = tensors_of(signals)
    batch = torch.export.Dim("batch", min=1, max=65536)
    shapes: list[dict[int, Any]] = []
    for name in tensors:
        encoder, _, field = name.rpartition(".")
        ragged = field == "values" and signals[encoder].lengths is not None
        dims: dict[int, Any] = {0: batch}
        if ragged:
            dims[1] = torch.export.Dim.AUTO
        shapes.append(dims)
    whole = in_one_piece(flat) if onnx else contextlib.nullcontext()
    with torch.no_grad(), quiet(), exporter.tracing(), whole:
        return torch.export.export(flat, tuple(tensors.values()), dynamic_shapes=(tuple(shapes),), strict=False), tensors


def _roomy(signal: Signal) -> Signal:
    """With steps enough, behind the rows' own, that none of a network's layers takes their number for one."""
    if signal.lengths is None or signal.values.shape[1] >= LEAST_STEPS:
        return signal
    values = signal.values.new_zeros(len(signal.values), LEAST_STEPS, *signal.values.shape[2:])
    values[:, : signal.values.shape[1]] = signal.values
    return replace(signal, values=values)


def shortest(signals: Mapping[str, Signal]) -> dict[str, Signal]:
    """The same rows, of each no more than the first step."""

    def cut(signal: Signal) -> Signal:
        if signal.lengths is None:
            return signal
        return replace(signal, values=signal.values[:, :1], lengths=signal.lengths.clamp(max=1), host=None)

    return {name: cut(signal) for name, signal in signals.items()}


@torch.no_grad()
def check(network: FusedModel, signals: Mapping[str, Signal], run: Callable[[Mapping[str, Tensor]], Any], exact: bool) -> None:
    """Holds what runs the network against PyTorch, on the rows as they are and on the first step of each; unless `exact`, looks
    only whether there is an answer at all.

    Raises:
        RuntimeError: it cannot be run on them, or answers otherwise.
    """
    for said, rows in (("the longest rows", signals), ("rows of length 1", shortest(signals))):
        hold(said, _numbers(run(tensors_of(rows))), _numbers(network(rows).outputs), exact)


def hold(said: str, found: Tensor, wanted: Tensor, exact: bool) -> None:
    """Compares numbers of a graph with those of PyTorch.

    Raises:
        RuntimeError: they are others, or none at all.
    """
    if found.shape != wanted.shape or not (found.isfinite() | ~wanted.isfinite()).all():
        raise RuntimeError(f"on {said} it gives no answer")
    error = float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1.0)) if wanted.numel() else 0.0
    if exact and error > TOLERANCE:
        raise RuntimeError(f"on {said} it answers otherwise than PyTorch, by {error:.2g}")


def _numbers(outputs: Any) -> Tensor:
    """All that outputs hold, in float32, on the host."""
    outputs = given(outputs)
    return (outputs.values if isinstance(outputs, Column) else outputs).float().cpu()


def write_onnx(program: torch.export.ExportedProgram, names: list[str], path: Path, answers: Sequence[str] = ()) -> None:
    """Writes the graph as ONNX, its inputs named, and its answers, which are `outputs` (and `steps`) where none are given.

    Raises:
        ConfigError: the packages of the extra `export` are not installed.
        RuntimeError: it holds what ONNX cannot say.
    """
    need("onnxscript", "ONNX", extra="export")
    answers = list(answers) or [OUTPUTS, STEPS][: len(program.graph_signature.user_outputs)]
    with quiet(), exporter.translating():
        made = _translated(program, names, answers)
        for node in made.model.graph.all_nodes():  # torch before 2.12 notes in which files of this machine they were called
            node.metadata_props.pop("pkg.torch.onnx.stack_trace", None)
        _simplify(made.model)
        made.save(str(path), external_data=False)


def _translated(program: torch.export.ExportedProgram, names: list[str], answers: Sequence[str]) -> Any:
    """The graph in ONNX's words: as it is, if it has words for all of it; else taken apart first, which takes three times as
    long."""

    words = dict(onnx_words.own())

    def translated() -> Any:
        return torch.onnx.export(
            program,
            input_names=names,
            output_names=list(answers),
            dynamo=True,
            verbose=False,
            optimize=False,
            custom_translation_table=words,
        )

    program.graph.eliminate_dead_code()  # such as what a fusion says of its weights
    schemas = [getattr(node.target, "_schema", None) for node in program.graph.nodes]
    if not any(schema is not None and schema.is_mutable for schema in schemas):
        program.run_decompositions = lambda *_: program
        with contextlib.suppress(torch.onnx.OnnxExporterError), exporter.whole():
            return translated()
        del program.run_decompositions
    words = dict(onnx_words.needed())  # what has a word stays whole
    return translated()


def _simplify(model: Any) -> None:
    """Constants folded, what stands twice kept once. Patterns of nodes are left to ONNX Runtime, which fuses them as it loads:
    onnxscript's own search for them takes a quarter of the whole export, and the graph runs no faster."""
    from onnx_ir.passes import common
    from onnxscript import optimizer

    common.InlinePass()(model)
    optimizer.fold_constants(model, onnx_shape_inference=False)
    for simplify in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
    ):
        simplify(model)


class Session:
    """An ONNX file run by ONNX Runtime on the CPU, on arrays by name."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        runtime = need("onnxruntime", "running ONNX", extra="export")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        with _as_runtime_error("ONNX Runtime cannot load it"):
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [found.name for found in self._session.get_inputs()]
        self.answers = [found.name for found in self._session.get_outputs()]

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """Its answers.

        Raises:
            RuntimeError: ONNX Runtime cannot run it.
        """
        with _as_runtime_error("ONNX Runtime cannot run it"):
            return dict(
                zip(self.answers, self._session.run(self.answers, {name: arrays[name] for name in self.names}), strict=True)
            )


class OnnxModel:
    """An ONNX file of a whole model, run by ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        self._session = Session(path, threads)

    def __call__(self, tensors: Mapping[str, Tensor]) -> Any:
        """Outputs float32 [B, num_outputs], or lattices.

        Raises:
            RuntimeError: ONNX Runtime cannot run it.
        """
        made = self._session({name: tensors[name].detach().cpu().numpy() for name in self._session.names})
        found = [torch.from_numpy(own) for own in made.values()]
        return found[0] if len(found) == 1 else Padded(*found).ragged()


@contextlib.contextmanager
def _as_runtime_error(said: str) -> Iterator[None]:
    """ONNX Runtime's errors are of many classes that have nothing in common."""
    try:
        yield
    except Exception as error:
        raise RuntimeError(f"{said}: {next(iter(str(error).splitlines()), type(error).__name__)}") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the exporter's own words."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def has_recurrent_layers(network: FusedModel, signals: Mapping[str, Signal]) -> bool:
    """Whether an LSTM or GRU goes over rows of any length, which only ONNX can say without unrolling it."""
    ragged = [network.encoder(name) for name, signal in signals.items() if signal.lengths is not None]
    return any(isinstance(module, nn.RNNBase) for encoder in ragged for module in encoder.modules())
