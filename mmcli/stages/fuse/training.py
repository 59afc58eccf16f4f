"""From a plan to its artifact: F and its head trained on the embeddings, or through the encoders."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from mmcli.artifacts import store, tensors
from mmcli.artifacts.store import Artifact, Draft
from mmcli.data.dataset import Dataset
from mmcli.encoders import parameter_count
from mmcli.jobs import fusion as fusion_job
from mmcli.jobs import joint
from mmcli.jobs.aligning import better, kept
from mmcli.jobs.fusion import Answers
from mmcli.jobs.plain import Solved
from mmcli.models import forward, loading
from mmcli.models.networks import FusedModel, FusionHead, Heads, settle
from mmcli.models.recipe import build_head, encoder_choice, groups_of
from mmcli.options.fuse import Options
from mmcli.proof.members import told
from mmcli.signals import FeatureTable
from mmcli.stages import Context
from mmcli.stages.fuse.beside import with_decisions, with_solved
from mmcli.stages.fuse.plans import Plan
from mmcli.training import device
from mmcli.training.device import Compute
from mmcli.training.loop import LOG, Trained, train

ENCODER_RATE = 0.3
ALONE = 0.2
"""Where encoders train too: share of the time in which F trains while they stand still."""


class _Work(NamedTuple):
    """What is trained, on what, and where it goes."""

    plan: Plan
    solved: Mapping[str, Solved]
    dataset: Dataset
    compute: Compute
    context: Context
    draft: Draft
    late: dict[str, Any]
    """What of the artifact's options is known only in the end."""


def make(
    plan: Plan,
    solved: Mapping[str, Solved],
    options: Options,
    dataset: Dataset,
    compute: Compute,
    context: Context,
    *,
    say: bool = True,
) -> Artifact:
    """The artifact of the plan: the one that is there, if it is up to date, or a new one. `solved` are models of
    the same inputs that need no training here, and may become members of it."""
    found = store.up_to_date(context.root, plan.name, plan.fingerprint)
    if found and not (context.force and say):
        if not say:
            return found
        context.console.note(f"{plan.name}: up to date")
        return found
    late: dict[str, Any] = {}
    with store.writing(
        context.root,
        plan.name,
        kind="fusion",
        command=plan.command,
        config={
            "method": plan.method,
            "fusion": plan.config.model_dump(),
            "encoders": {name: encoder_choice(a.config) for name, a in plan.encoders.items()},
            "head": plan.head,
            "trained_encoders": options.train_encoders,
            "training": plan.training.model_dump(),
            "seeds": list(plan.seeds),
            "precision": compute.precision,
        },
        seed=context.seed,
        parents=plan.parents,
        fingerprint=plan.fingerprint,
        late=late,
        anew=context.force and say,
    ) as draft:
        started = time.monotonic()
        (_train_through if options.train_encoders else _train)(_Work(plan, solved, dataset, compute, context, draft, late))
        for said in told(draft.metrics):
            context.console.note(f"{plan.name}: {said}")
        draft.metrics["seconds"] = round(time.monotonic() - started, 2)
    return store.read(context.root, plan.name, "fusion", plan.command)


def _head(plan: Plan, dims: Mapping[str, int], dataset: Dataset) -> FusionHead:
    """F and its head for encoders of those widths, freshly initialised."""
    config, training = plan.config.model_dump(), plan.training
    own = (plan.method, config, dims, plan.sources, dataset.task, plan.head)
    groups = groups_of({name: encoder_choice(artifact.config) for name, artifact in plan.encoders.items()}, plan.encoders)
    return build_head(*own, training.modality_dropout, decisions=training.decisions, groups=groups)


def _train(work: _Work) -> None:
    """Trains F and its head on the embeddings, from each seed; keeps all of them, to be averaged."""
    plan, solved, dataset, compute, context, draft, late = work
    embeddings = _Embeddings.of(plan, dataset)
    features = embeddings.features
    members: list[FusionHead] = []
    scores, val = [], dataset.splits["val"]
    trained: list[Trained] = []
    for seed in plan.seeds:
        label = plan.name if len(plan.seeds) == 1 else f"{plan.name}, seed {seed}"
        head, how, judged = _on_embeddings(plan, seed, embeddings, dataset, compute, context, draft, label)
        trained.append(how)
        if not how.history:
            context.console.note(f"{label}: one input read by one encoder, nothing to fuse: it is that column's own model")
        if not judged:
            fusion_job.fit_cosines(head, features, dataset, trained=True)
            answers = fusion_job.settled(head, features, dataset, compute).of(val)
            judged = dataset.task.score(answers, dataset.targets[val])
        scores.append(judged[dataset.task.primary_metric])
        members.append(head)
        if how.history and not how.best_epoch and head.fusion.memory == "lead" and len(plan.seeds) > len(members) == 1:
            late["seeds"] = [seed]
            context.console.note(f"{plan.name}: other seeds begin as the same column, and are left out")
            break
    heads = with_decisions(members, plan, features, dataset, compute, draft, late)
    fused = fusion_job.answers(heads, features, compute).outputs if solved else None
    heads, taken = with_solved(heads, solved, fused, plan, dataset, draft, late)
    heads, weights = heads.to(compute.device), dict[str, Tensor]()
    for own in taken:
        features = {**features, **own.features}
        weights |= {
            f"{loading.solved_under(name)}{key}": tensor
            for name, encoder in own.encoders.items()
            for key, tensor in encoder.state_dict().items()
        }
    saved = fusion_job.calibrated(heads, fusion_job.settled(heads, features, dataset, compute), dataset)
    draft.tensors[loading.WEIGHTS] = tensors.save(draft.path / loading.WEIGHTS, {**heads.state_dict(), **weights})
    _keep(heads, saved, scores, trained, _latency_ms(heads, features, compute), dataset, draft)


@dataclass(frozen=True)
class _Embeddings:
    """What the encoders left of every row."""

    features: dict[str, FeatureTable]
    taught: dict[str, FeatureTable]
    """What F learns from: the same, or with outputs out of fold."""
    swap_shares: dict[str, float]

    @classmethod
    def of(cls, plan: Plan, dataset: Dataset) -> Self:
        features = {name: fusion_job.embeddings(artifact, dataset) for name, artifact in plan.encoders.items()}
        if plan.out_of_fold:
            taught = {name: fusion_job.embeddings(own, dataset, out_of_fold=True) for name, own in plan.encoders.items()}
            return cls(features, taught, {})
        if not plan.on_embeddings.swap:
            return cls(features, features, {})
        if plan.fixed is not None:
            return cls(features, features, dict(plan.fixed.swap))
        return cls(features, features, {name: fusion_job.swap_share(own, dataset) for name, own in features.items()})


def _on_embeddings(
    plan: Plan,
    seed: int,
    embeddings: _Embeddings,
    dataset: Dataset,
    compute: Compute,
    context: Context,
    draft: Draft,
    label: str,
) -> tuple[FusionHead, Trained, dict[str, float]]:
    """F and its head, trained from one seed while the encoders stand still. Where they began as something that is known (the
    first column, or what columns have in common in closed form), they are no worse than that, and their scores on val are given
    too."""
    own_seed = device.derive_seed(seed, "fuse", plan.method)
    device.seed_everything(own_seed)
    head = _head(plan, {name: own.pooled.shape[1] for name, own in embeddings.features.items()}, dataset)
    head.swap_shares = embeddings.swap_shares
    begins = _begins_as_the_lead(head, plan, dataset)
    folder = draft.path / f"seed-{seed}"
    job = fusion_job.job(
        head, embeddings.taught, dataset, plan.on_embeddings, compute, seed=own_seed, folder=folder, label=label
    )

    def answers() -> Any:
        return fusion_job.settled(head, embeddings.features, dataset, compute).of(dataset.splits["val"])

    if begins and len(plan.encoders) == 1:  # nothing to fuse: it is that column's own model
        own = dataset.task.score(answers(), dataset.targets[dataset.splits["val"]])
        return head, Trained(0, [], own), own
    folder.mkdir(exist_ok=True)
    draft.volatile.add(f"seed-{seed}/{LOG}")
    start = kept(head) if begins or head.fusion.aligns else {}
    stop = None if plan.fixed is None else plan.fixed.epochs
    trained = train(replace(job, seconds=plan.seconds and plan.seconds / len(plan.seeds), stop=stop), context.console)
    if not start:
        return head, trained, {}
    trained = _no_worse(head, start, trained, answers, dataset, label, context)
    return head, trained, trained.val


def _no_worse(
    module: nn.Module,
    start: Mapping[str, Tensor],
    trained: Trained,
    answers: Callable[[], Any],
    dataset: Dataset,
    label: str,
    context: Context,
) -> Trained:
    """What was trained; or what it began as, where the `answers` of val rows are no better since, which is said. What began as
    a column by itself is to be better beyond noise: val chose the epoch already, and nothing is lost by what is that column."""
    task, targets = dataset.task, dataset.targets[dataset.splits["val"]]
    after, found = kept(module), []
    for state in (start, after):
        module.load_state_dict(dict(state))
        found.append(answers())
    scores, beyond = [task.score(own, targets) for own in found], ""
    if task.aligns_columns:
        keeps = better(task, *scores)
    else:
        groups = dataset.groups(dataset.splits["val"])
        gain, beyond = task.gain(found[1], found[0], targets, groups=groups), " beyond noise"
        keeps = gain.low > 0
    if keeps:
        return replace(trained, val=scores[1])
    module.load_state_dict(dict(start))
    before, since = (own[task.primary_metric] for own in scores)
    context.console.note(
        f"{label}: on val training makes it no better{beyond} ({task.primary_metric} {before:.3f} as it began, {since:.3f} "
        "after): it stays as it began"
    )
    return replace(trained, best_epoch=0, val=scores[0], soup=[])


def _begins_as_the_lead(head: FusionHead, plan: Plan, dataset: Dataset) -> bool:
    """Where tokens stay those of the first column, its own head reads them from the start; whether that is so."""
    if head.fusion.memory != "lead" or not head.fusion.order_sensitive:
        return False
    own = loading.load_encoder(dataset, next(iter(plan.encoders.values()))).head
    weights = own.state_dict()
    alike = {key: value.shape for key, value in weights.items()} == {
        key: value.shape for key, value in head.head.state_dict().items()
    }
    begins = type(own) is type(head.head) and alike
    if begins:
        head.head.load_state_dict(weights)
    return begins


def _train_through(work: _Work) -> None:
    """Trains F and its head on the embeddings, then them and the encoders together. What columns decide by themselves is not
    put beside them: they decide otherwise by now."""
    plan, solved, dataset, compute, context, draft, late = work
    seed = device.derive_seed(plan.seeds[0], "fuse", plan.method)
    columns = loading.load_encoders(dataset, plan.encoders)
    embeddings = _Embeddings.of(plan, dataset)
    cached = embeddings.features
    alone = replace(plan, seconds=plan.seconds and plan.seconds * ALONE)
    head, began, _ = _on_embeddings(alone, plan.seeds[0], embeddings, dataset, compute, context, draft, f"{plan.name}, F alone")
    left = 1 - ALONE if began.history else 1.0
    head.swap_shares = {}
    heads = {} if dataset.task.aligns_columns else {name: own.head for name, own in columns.items()}
    encoders = {name: own.encoder for name, own in columns.items()}
    network = FusedModel(encoders, head, copy.deepcopy(heads) if head.reads_outputs else None)
    job = joint.job(
        network,
        heads,
        dataset,
        plan.training,
        compute,
        seed=seed,
        folder=draft.path,
        label=plan.name,
        encoder_rate=ENCODER_RATE,
        teachers=cached,
    )
    draft.volatile.add(LOG)
    start, val = kept(network) if head.fusion.aligns else {}, dataset.splits["val"]
    with joint.narrowed(network):
        trained = train(replace(job, seconds=plan.seconds and plan.seconds * left), context.console)
    if start:
        trained = _no_worse(
            network, start, trained, lambda: forward.outputs_for(network, dataset, val, compute), dataset, plan.name, context
        )
    everything, whole = torch.arange(len(dataset.rows)), cached
    fused = forward.outputs_for(network, dataset, everything, compute) if solved else None
    whole_heads, taken = with_solved(head, solved, fused, plan, dataset, draft, late)
    for own in taken:
        whole, encoders = {**whole, **own.features}, {**encoders, **own.encoders}
    if taken:
        network = FusedModel(encoders, whole_heads, network.own_heads() or None).to(compute.device)
    settle(whole_heads, forward.outputs_for(network, dataset, val, compute), dataset.targets[val])
    saved = Answers(dataset.task, forward.outputs_for(network, dataset, everything, compute))
    saved = fusion_job.calibrated(whole_heads, saved, dataset)
    draft.tensors[loading.WEIGHTS] = tensors.save(draft.path / loading.WEIGHTS, network.state_dict())
    score = trained.val[dataset.task.primary_metric]
    _keep(whole_heads, saved, [score], [trained], _latency_ms(whole_heads, whole, compute), dataset, draft)


@torch.no_grad()
def _latency_ms(heads: Heads, features: Mapping[str, FeatureTable], compute: Compute) -> float:
    """Median milliseconds of F and its head on 32 rows whose embeddings are there, any search for answers included."""
    rows = len(next(iter(features.values())).present)
    index = torch.arange(32) % rows
    batch = {name: own.gather(index).float().to(compute.device) for name, own in features.items()}
    times, kind = [], heads.task.outputs
    with compute.threading():
        for _ in range(15):
            started = time.perf_counter()
            kind.answered(kind.plain(heads(batch).outputs))
            if compute.device.type == "cuda":
                torch.cuda.synchronize(compute.device)
            times.append(time.perf_counter() - started)
    return round(sorted(times)[len(times) // 2] * 1e3, 3)


def _keep(
    heads: Heads,
    saved: Answers,
    scores: Sequence[float],
    trained: Sequence[Trained],
    latency_ms: float,
    dataset: Dataset,
    draft: Draft,
) -> None:
    val = dataset.splits["val"]
    scores_val = dataset.task.score(saved.of(val), dataset.targets[val])
    draft.tensors[loading.OUTPUTS] = tensors.save(draft.path / loading.OUTPUTS, saved.save())
    draft.metrics.update(
        primary_metric=dataset.task.primary_metric,
        higher_is_better=dataset.task.primary_higher_is_better,
        val=scores_val,
        seeds=list(scores),
        best_epochs=[own.best_epoch for own in trained],
        soups=[own.soup for own in trained],
        parameters=parameter_count(heads),
        latency_ms=latency_ms,
    )
    draft.measured.add("latency_ms")
