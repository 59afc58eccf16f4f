"""What is looked at in the best model beside its scores: what its inputs are worth, slices, errors, whether to trust it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mmcli.errors import ConfigError, unknown
from mmcli.jobs import fusion as fusion_job
from mmcli.models import conformal, loading
from mmcli.proof import leakage, rates, trust
from mmcli.proof.analysis import Analysis
from mmcli.proof.examples import raw_cells
from mmcli.proof.report import Entry
from mmcli.stages.evaluate.entries import Case, kept
from mmcli.training import device


def extra_slices(case: Case) -> dict[str, list[str]]:
    """The cells of the test rows in the columns that were asked for: from the table itself."""
    if not case.options.slices:
        return {}
    test = case.dataset.splits["test"].tolist()
    table, known = raw_cells(case.dataset, test, case.options.slices)
    if table is None:
        raise ConfigError(f"--slice: {known[0]}", "Put the table where it was, or leave --slice out.")
    missing = [name for name in case.options.slices if name not in table]
    if missing:
        raise ConfigError(f"--slice {missing[0]}: {unknown('column', missing[0], known)}")
    return {name: [table[name].get(row) or "missing" for row in test] for name in case.options.slices}


def what_matters(case: Case) -> dict[str, Any]:
    """Subsets, Shapley values, permutations, curves, interactions, weights: of the best model, by PyTorch."""
    dataset, context = case.dataset, case.context
    compute = device.choose(context.device, context.precision, context.threads)
    network = loading.load_fused(dataset, case.best).to(compute.device)
    own = Analysis(network, dataset, dataset.splits["test"], compute, context.seed)
    steps: dict[str, Any] = {
        "subsets": own.subsets,
        "shapley": own.shapley,
        "permutation": own.permutation,
        "incongruent": own.incongruent,
        "missing_curve": own.missing_curve,
        "weights": own.weights,
    }
    if not case.options.quick:
        steps |= {"noise_curve": own.noise_curve}
        steps |= {} if dataset.task.lacks("EMAP") else {"emap": own.emap}
        steps |= {} if dataset.task.outputs.decides else {"masked_source": own.masked_source}
    found = {}
    with context.console.progress("evaluate: what matters", len(steps)) as progress:
        for name, step in steps.items():
            found[name] = step()
            progress.advance(name.replace("_", " "))
    return found


def trusted(top: Entry, single: Entry | None, case: Case, extra: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Calibration, prediction sets, slices (beside the best column), errors, doubtful targets, duplicates."""
    dataset, task, seed = case.dataset, case.dataset.task, case.context.seed
    test = dataset.splits["test"]
    targets = dataset.targets[test]
    slices = trust.slices(dataset, test, top.outputs, extra, seed, None if single is None else single.outputs)
    found: dict[str, Any] = {"slices": [own.as_dict() for own in slices]}
    told = rates.by_value(task, top.outputs, targets, extra, seed, dataset.groups(test))
    found |= {"rates": told} if told else {}
    sets = case.best.metrics.get("conformal", {})
    if sets:
        with case.best.understood("prediction sets"):
            found["conformal"] = {"asked": sets["coverage"], **conformal.check(task, sets, top.outputs, targets)}
    errors = trust.confident_errors(task, top.outputs, targets)
    instead = task.taken_for(top.outputs, targets, [row for row, _ in errors])
    found["errors"] = [[int(test[row]) + 1, said] for row, said in errors]
    if instead is not None:
        found["taken_for"] = [int(test[row]) + 1 for row in instead]
    found["pairs"] = [[int(test[a]) + 1, int(test[b]) + 1, said] for a, b, said in task.worst_pairs(top.outputs, targets, 12)]
    every = torch.cat([test, dataset.splits["val"]])
    doubtful = trust.suspects(task, kept(case.best, dataset, every), dataset.targets[every])
    found["suspects"] = [[int(every[row]) + 1, round(share, 4), other] for row, share, other in doubtful]
    features = {name: fusion_job.embeddings(own, dataset) for name, own in loading.encoders_of(case.fused).items()}
    found["duplicates"] = trust.duplicates(dataset, features)
    found["leaks"] = leakage.leaks(dataset)
    return found
