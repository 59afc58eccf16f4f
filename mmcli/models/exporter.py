"""What torch's exporter does again for every graph, and need not: half of its time.

It is told by private names of torch: where a version has not got one of them, a graph takes longer and is the same.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx


@contextlib.contextmanager
def tracing() -> Iterator[None]:
    """While a network is traced: what operators give is not kept for the next call of the same, of which there is none. Nor is
    noted of each where in which file it was called, which would stand in the graph, or how its numbers may lie in memory."""
    with _ONE, contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, AttributeError):
            from torch._dynamo import config

            config.fake_tensor_cache_enabled  # noqa: B018 - whether it is there
            stack.enter_context(config.patch(fake_tensor_cache_enabled=False))
        with contextlib.suppress(AttributeError, KeyError):
            _replace(stack, fx.config, "do_not_emit_stack_traces", True)
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            from torch.fx.experimental import proxy_tensor

            shapes = functools.partial(vars(proxy_tensor)["_extract_tensor_metadata"], include_contiguity=False)
            _replace(stack, proxy_tensor, "_extract_tensor_metadata", shapes)
        yield


@contextlib.contextmanager
def translating() -> Iterator[None]:
    """While a graph is put in ONNX's words, of which one gathering is kept: it reads onnxscript's sources, a second or more.
    Nor is every operator computed once more, but those of which types of numbers change."""
    with _ONE, contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            from torch.onnx._internal.exporter._registration import ONNXRegistry

            gathered = functools.partial(_gathered, ONNXRegistry.from_torchlib)
            _replace(stack, ONNXRegistry, "from_torchlib", staticmethod(gathered))
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            from torch.onnx._internal.fx.passes import type_promotion

            interpreter, rule = type_promotion._TypePromotionInterpreter, type_promotion.get_type_promotion_rule
            interpreter._set_current_node, interpreter._maybe_promote_node  # noqa: B018 - whether they are there
            promoted = functools.partialmethod(_promoted, interpreter.run_node, rule)
            _replace(stack, interpreter, "run_node", promoted)
        yield


@contextlib.contextmanager
def whole() -> Iterator[None]:
    """While a graph is translated as it is: what its operators could be taken apart into is not gathered."""
    with _ONE, contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, AttributeError, KeyError):
            from torch.onnx._internal.exporter import _fx_passes

            _replace(stack, _fx_passes, "decompose_with_registry", lambda program, _: program)
        yield


def _replace(stack: contextlib.ExitStack, owner: Any, name: str, own: Any) -> None:
    """Until the stack is left."""
    stack.callback(setattr, owner, name, vars(owner)[name])
    setattr(owner, name, own)


_ONE = threading.RLock()
"""torch's methods are replaced for all threads: by one at a time."""
_REGISTRIES: dict[Any, Any] = {}


def _gathered(plain: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """A registry to which operators of one's own may be added."""
    key = (arguments, tuple(sorted(named.items())))
    if key not in _REGISTRIES:
        _REGISTRIES[key] = plain(*arguments, **named)
    kept = _REGISTRIES[key]
    made = copy.copy(kept)
    made.functions = {target: list(own) for target, own in kept.functions.items()}
    return made


def _promoted(own: Any, plain: Callable[..., Any], rule: Callable[..., Any], node: fx.Node) -> Any:
    """What a node gives, as the tracing noted it, unless the types of what it takes are changed."""
    if node.op != "call_function" or "val" not in node.meta:
        return plain(own, node)
    known = rule(node, own.type_promotion_table)
    if known is None:
        return node.meta["val"]
    before = (node.args, node.kwargs, node.target)
    with own._set_current_node(node):
        own._maybe_promote_node(node, known)
    if (node.args, node.kwargs, node.target) == before:
        return node.meta["val"]
    return fx.Interpreter.run_node(own, node)
