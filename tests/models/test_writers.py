"""What writes texts as two graphs gives what PyTorch gives: other batch sizes and lengths, absent cells, averages, a beam."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mmcli import registry
from mmcli.errors import ConfigError
from mmcli.models import graphs, recall, runners, writers
from mmcli.models.networks import FusedModel
from mmcli.models.recipe import averaged, build_head
from mmcli.tasks.text import Config as TextConfig
from mmcli.tasks.text import Text
from mmcli.text.writing import Writing
from mmcli.training import device
from tests.models.test_graphs import Plain, signals

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

TEXT = Text.fit(TextConfig(units="char"), [("ab ba c",), ("b a ab",)], ["y"])
KINDS = {"t": "sequence", "v": "vector"}


def reciting(dims: dict[str, int]) -> Any:
    """Some known texts as a member."""
    member = recall.build(dims, {name: name for name in dims}, TEXT, {"rows": 5, "longest": 4, "words": []})
    own: Any = member.head
    torch.manual_seed(3)
    own.keys.copy_(nn.functional.normalize(torch.randn(own.keys.shape), dim=1))
    own.texts.copy_(torch.tensor([[1, 2, 3, 2], [2, 3, -1, -1], [3, 1, 3, -1], [1, 1, 2, 3], [-1, -1, -1, -1]]))
    own.heat.fill_(0.2)
    own.exponent.fill_(0.6)
    own.certainty.copy_(torch.tensor([2.0, 1.0]))
    member.temperature.fill_(1.5)
    return member


def network(methods: list[str], ctc: float = 0.0, beam: int = 3, columns: str = "tv") -> FusedModel:
    """Texts written by a mean of fusions, with weights as loud as those of a trained one."""
    encoders: dict[str, Any] = {name: Plain(KINDS[name]) for name in columns}
    dims = {name: own.dim for name, own in encoders.items()}
    config = {"dim": 8, "heads": 2, "layers": 2, "ctc_weight": ctc, "beam": beam}
    config = registry.config_of(registry.load("heads", "decoder"))(**config).model_dump()
    heads = []
    for place, method in enumerate(methods):
        if method == recall.METHOD:
            heads.append(reciting(dims))
            continue
        torch.manual_seed(place)
        part = registry.config_of(registry.load("fusions", method))()
        head = build_head(method, part.model_dump(), dims, {n: n for n in dims}, TEXT, {"name": "decoder", "config": config})
        own: Any = head.head
        with torch.no_grad():
            torch.manual_seed(place + 7)
            own.writer.embed.weight.normal_(std=0.3 * own.writer.sizes.dim**-0.5)  # tied: louder units would say themselves
            own.writer.bias[0] = -1.0
            for layer in own.writer.layers:
                layer.found.weight.mul_(4)
            for absent in head.absent:
                nn.init.normal_(absent)
            own.longest.fill_(9)
            own.ratio.fill_(2500)
            own.exponent.fill_(0.6)
            own.certainty.copy_(torch.tensor([2.0, 1.0]))
            head.temperature.fill_(1.0 + 0.5 * place)
        heads.append(head)
    made = FusedModel(encoders, averaged(heads)).eval()
    if len(methods) > 1:
        made.fusion_head.shares.copy_(torch.tensor([0.7, 0.3]))  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize(
    ("methods", "ctc"), [(["memory"], 0.3), (["gated-cross-attention", "gated"], 0.0), (["memory", "recall"], 0.0)]
)
def test_graphs_write_what_the_network_writes(methods: list[str], ctc: float, tmp_path: Path) -> None:
    own, file = network(methods, ctc), tmp_path / "model.onnx"
    assert writers.why_no_graphs(own) == ""
    runners.write(runners.ONNX, own, signals(own, KINDS, [0, 1, 2, 3]), file)
    assert runners.files_of(file) == [file, tmp_path / "step.onnx"]
    runner = runners.runner(runners.ONNX, own, device.choose("cpu"), file)
    assert runner.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    for index in ([0, 1, 2, 3], [4], [2], [5, 3, 0], [0, 1, 2, 3, 4, 5]):
        batch = signals(own, KINDS, index)
        with torch.no_grad():
            wanted: Writing = own(batch).outputs
        found: Writing = runner.run(batch)
        assert [len(nbest) for nbest in found.nbests()] == [len(nbest) for nbest in wanted.nbests()]
        for nbest, right in zip(found.nbests(), wanted.nbests(), strict=True):
            known = {tuple(one.ids): one for one in right}
            assert {tuple(one.ids) for one in nbest} == set(known)
            for one in nbest:
                other = known[tuple(one.ids)]
                assert (one.log_prob, one.score) == pytest.approx((other.log_prob, other.score), abs=1e-3)
        texts, sure = (TEXT.decode(outputs) for outputs in (found, wanted))
        assert texts[""] == sure[""]
        assert texts["_confidence"] == pytest.approx(sure["_confidence"], abs=1e-4)
        targets = TEXT.encode([("ab",)] * len(index))
        torch.testing.assert_close(found.losses(targets), wanted.losses(targets), atol=1e-3, rtol=1e-3)
    assert len({len(nbest[0].ids) for nbest in found.nbests()}) > 1  # texts end at different steps


def test_one_token_to_look_at_is_enough(tmp_path: Path) -> None:
    own, file = network(["memory"], columns="v"), tmp_path / "model.onnx"
    kinds = {"v": KINDS["v"]}
    runners.write(runners.ONNX, own, signals(own, kinds, [0, 1, 2, 3]), file)
    batch = signals(own, kinds, [4, 1, 5])
    found: Writing = runners.runner(runners.ONNX, own, device.choose("cpu"), file).run(batch)
    with torch.no_grad():
        wanted: Writing = own(batch).outputs
    assert len(wanted.members[0].memory.values) == len(batch["v"].present), "a token to a row"
    assert TEXT.decode(found)[""] == TEXT.decode(wanted)[""]
    for nbest, right in zip(found.nbests(), wanted.nbests(), strict=True):
        assert [one.log_prob for one in nbest] == pytest.approx([one.log_prob for one in right], abs=1e-3)


def test_another_beam_needs_no_other_graphs(tmp_path: Path) -> None:
    own, file = network(["memory"]), tmp_path / "model.onnx"
    batch = signals(own, KINDS, [0, 1, 2, 3])
    runners.write(runners.ONNX_INT8, own, batch, file)
    runner = runners.runner(runners.ONNX_INT8, own, device.choose("cpu"), file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "step.onnx"]
    assert {len(nbest) for nbest in runner.run(batch).nbests()} <= {1, 2, 3}
    own.fusion_head.head.beam = 1  # type: ignore[union-attr]
    assert {len(nbest) for nbest in runner.run(batch).nbests()} == {1}


def test_graphs_that_answer_otherwise_are_refused(tmp_path: Path) -> None:
    own, files = network(["memory"]), (tmp_path / "model.onnx", tmp_path / "step.onnx")
    batch = signals(own, KINDS, [0, 1, 2, 3])
    writers.write(own, batch, *files)
    writers.check(own, batch, *files, exact=True)
    with torch.no_grad():
        own.fusion_head.head.writer.layers[1].up.bias.add_(1.0)  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="after 0 units, it answers otherwise"):
        writers.check(own, batch, *files, exact=True)


def test_it_is_no_single_graph() -> None:
    own = network(["memory"])
    with pytest.raises(ConfigError, match="take a search, which a graph has not"):
        graphs.exported(own, signals(own, KINDS, [0, 1]))


def test_the_mean_is_as_sure_as_its_members_were_settled() -> None:
    own = network(["memory", "gated"])
    batch = signals(own, KINDS, [0, 1])
    assert own(batch).outputs.certainty == (2.0, 1.0)
    own.fusion_head.each[1].head.certainty.fill_(3.0)  # type: ignore[union-attr, operator]
    assert own(batch).outputs.certainty is None
    assert writers.How.of(own).certainty is None
    assert replace(writers.How.of(own), certainty=None) == writers.How(3, own(batch).outputs.exponent, 0.0, None, None)
