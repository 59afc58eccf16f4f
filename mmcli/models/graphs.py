"""A fused model as a function of plain tensors, for programs that do not know mmcli: ONNX, torch.export, AOTInductor.

The tensors of each encoder are named `<encoder>.values`, `.present` and, where its signal is ragged or timed, `.lengths` and
`.times`; batch size and lengths are free. The answer is `outputs` [B, num_outputs], as the PyTorch model gives them; of texts
read step by step `outputs` [B, T, V], log-probabilities, and `steps` [B], how many are each row's own.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmcli.errors import ConfigError
from mmcli.layers import recurrent  # noqa: F401 - its operator, which is looked up by name
from mmcli.models.networks import AveragedHeads, FusedModel
from mmcli.pretrained.hub import need
from mmcli.signals import Column, Signal
from mmcli.text.lattice import Padded, Search, padded

OUTPUTS, STEPS = "outputs", "steps"


class Flat(nn.Module):
    """A fused model that takes tensors by position and gives outputs."""

    def __init__(self, network: FusedModel, fields: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self.network = network
        self.fields = dict(fields)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        left = iter(tensors)
        signals = {name: Signal(**{field: next(left) for field in own}) for name, own in self.fields.items()}
        outputs = self.network(signals).outputs
        if isinstance(outputs, Padded):
            return outputs.values.float(), outputs.lengths
        numbers: Tensor = outputs.float()
        return numbers


def answers(outputs: Any) -> dict[str, Tensor]:
    """Outputs as a graph gives them, by name."""
    if not isinstance(outputs, Column):
        return {OUTPUTS: outputs.float()}
    values, steps = padded(outputs)
    return {OUTPUTS: values.float(), STEPS: steps}


def why_no_graph(network: FusedModel) -> str:
    """Why a model cannot be one graph, in words; empty where it may."""
    if network.task.outputs.decides:
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


def exported(network: FusedModel, signals: Mapping[str, Signal]) -> torch.export.ExportedProgram:
    """The model as a graph, traced on a batch of at least two rows; sizes of batch and time are free.

    Raises:
        ConfigError: it cannot be one graph.
        RuntimeError: something in it cannot be traced.
    """
    if why := why_no_graph(network):
        raise ConfigError(f"the model cannot be one graph: {why}", "Use it by mmcli predict, or mmcli.load in Python.")
    network = network.eval()
    tensors = tensors_of(signals)
    batch = torch.export.Dim("batch", min=1, max=65536)
    shapes: list[dict[int, Any]] = []
    for name, tensor in tensors.items():
        encoder, _, field = name.rpartition(".")
        ragged = field == "values" and signals[encoder].lengths is not None
        dims: dict[int, Any] = {0: batch}
        if ragged and tensor.shape[1] > 1:
            dims[1] = torch.export.Dim.AUTO
        shapes.append(dims)
    flat = Flat(network, fields_of(signals))
    with torch.no_grad(), quiet():
        return torch.export.export(flat, tuple(tensors.values()), dynamic_shapes=(tuple(shapes),), strict=False)


def write_onnx(program: torch.export.ExportedProgram, names: list[str], path: Path) -> None:
    """Writes the graph as ONNX, its inputs named.

    Raises:
        ConfigError: the packages of the extra `export` are not installed.
        RuntimeError: it holds what ONNX cannot say.
    """
    need("onnxscript", "ONNX", extra="export")
    with quiet():
        made = torch.onnx.export(
            program,
            input_names=names,
            output_names=[OUTPUTS, STEPS][: len(program.graph_signature.user_outputs)],
            dynamo=True,
            verbose=False,
            optimize=False,
            custom_translation_table={torch.ops.mmcli.recurrent_layer.default: _recurrent_layer},
        )
        assert made is not None
        _simplify(made.model)
        made.save(str(path), external_data=False)


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


def _recurrent_layer(values: Any, inner: Any, across: Any, bias: Any, lengths: Any, hidden: int, lstm: bool) -> Any:
    """`layers.recurrent`'s operator as ONNX's own operator, which knows lengths."""
    op: Any = need("onnxscript", "ONNX", extra="export").opset18

    run = op.LSTM if lstm else op.GRU
    options: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if inner.shape[0] == 2 else "forward"}
    options |= {} if lstm else {"linear_before_reset": 1}
    found = run(values, inner, across, bias, op.Cast(lengths, to=6), **options)
    return found[0], found[1]


class OnnxModel:
    """An ONNX file run by ONNX Runtime on the CPU."""

    def __init__(self, path: Path, threads: int = 0) -> None:
        runtime = need("onnxruntime", "running ONNX", extra="export")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.names = [found.name for found in self._session.get_inputs()]
        self._answers = [found.name for found in self._session.get_outputs()]

    def __call__(self, tensors: Mapping[str, Tensor]) -> Any:
        """Outputs float32 [B, num_outputs], or lattices."""
        fed = {name: tensors[name].detach().cpu().numpy() for name in self.names}
        found = [torch.from_numpy(own) for own in self._session.run(self._answers, fed)]
        return found[0] if self._answers == [OUTPUTS] else Padded(*found).ragged()


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


def has_recurrent_layers(program: torch.export.ExportedProgram) -> bool:
    """Whether the graph holds an LSTM or GRU, which only ONNX can say without unrolling it."""
    wanted = torch.ops.mmcli.recurrent_layer.default
    return any(node.target == wanted for node in program.graph.nodes)
