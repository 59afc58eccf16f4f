"""The search of Optuna over fusions on cached embeddings: trials in a study on disk, which processes may share and which goes
on where a killed one left it.

    <root>/search/<study>/study.log            the study: every step that was taken, sealed
    <root>/search/<study>/<number>.safetensors a trial's weights, and its outputs for every row

A trial is one fusion from one seed. Its value is the primary metric on val, the loss breaking ties.
"""

from __future__ import annotations

import shutil
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from mmcli import registry
from mmcli.artifacts import store, tensors
from mmcli.artifacts.store import Artifact
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import ArtifactError, ConfigError
from mmcli.jobs import fusion as fusion_job
from mmcli.layers.starting import shapes_alone
from mmcli.models.recipe import Member, build_fusion, build_head, encoder_choice, groups_of
from mmcli.reporting.console import Console
from mmcli.reporting.counts import agreed, counted
from mmcli.selection.turns import Turns, alone
from mmcli.signals import FeatureTable
from mmcli.tasks import Task
from mmcli.training import device
from mmcli.training.config import TrainingConfig
from mmcli.training.device import Compute
from mmcli.training.loop import train

FOLDER = "search"
METHODS = (
    "concat",
    "mean",
    "gated",
    "film",
    "highway",
    "lowrank",
    "bilinear",
    "conv",
    "linear",
    "sequential",
    "embrace",
    "moe",
    "attention",
    "late",
)
"""What is searched over: the methods that train in seconds."""
TRAINING = {"epochs": 40, "learning_rate": 2e-3, "weight_decay": 0.05, "batch_size": 128, "patience": 10}
MANY = 10_000
"""How many trials are more than there ever is time for."""
WAIT_S = 0.1
"""How often a process that has no trial left looks whether the others have ended theirs."""


@dataclass(frozen=True, eq=False)
class Trial:
    """A trial that is done."""

    number: int
    value: float
    member: Member
    file: Path

    def outputs(self, task: Task) -> Any:
        """For every row."""
        return task.outputs.load(tensors.load(self.file))

    def weights(self) -> dict[str, Tensor]:
        """Of its fusion and head."""
        return {name.removeprefix("head."): own for name, own in tensors.load(self.file).items() if name.startswith("head.")}


@dataclass(frozen=True)
class Search:
    """A study: what is searched, on what."""

    root: Path
    dataset: Dataset
    encoders: Mapping[str, Artifact]
    features: Mapping[str, FeatureTable]
    head: Mapping[str, Any]
    """The head over F, as a recipe names it."""
    first: Sequence[str]
    """Methods that are tried first, at their defaults."""
    settings: Settings
    compute: Compute
    seed: int
    anew: bool = False
    """Whether what was tried before is thrown away."""

    @property
    def name(self) -> str:
        """The study's: another where encoders, options or seed are."""
        parents = {key: value for artifact in self.encoders.values() for key, value in artifact.parent().items()}
        return store.digest([parents, list(METHODS), self.head, self.settings.values.get("training", {}), self.seed])[:16]

    @property
    def folder(self) -> Path:
        return self.root / FOLDER / self.name

    def _file(self, number: int) -> Path:
        """What a trial left."""
        return self.folder / f"{number}.safetensors"

    @property
    def file(self) -> Path:
        """The study's log."""
        return self.folder / "study.log"

    def study(self) -> Any:
        """The study on disk, made if need be, its defaults enqueued.

        Raises:
            ArtifactError: what is on disk is damaged.
        """
        with alone(self.root / FOLDER):
            return self._study()

    def _study(self) -> Any:
        import optuna

        from mmcli.selection.journal import SealedLog

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        for left in self.folder.parent.glob(f".{self.name}-*"):  # of a process that was killed while it threw a study away
            shutil.rmtree(left)
        self.folder.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.JournalStorage(SealedLog(self.file))
        study = optuna.create_study(
            study_name=self.name, storage=storage, direction="maximize", load_if_exists=True, pruner=self._pruner(optuna)
        )
        seen = len(study.get_trials(deepcopy=False))
        study.sampler = optuna.samplers.TPESampler(seed=(self.seed * 7919 + seen) % 2**32, multivariate=True, group=True)
        if not seen:
            for method in dict.fromkeys([*self.first, "gated", "concat"]):
                if method in METHODS:
                    study.enqueue_trial({"method": method, **self._defaults(method)}, skip_if_exists=True)
        return study

    @staticmethod
    def _pruner(optuna: Any) -> Any:
        return optuna.pruners.MedianPruner(n_startup_trials=6, n_warmup_steps=8)

    def _defaults(self, method: str) -> dict[str, Any]:
        training = self._training(method)
        found: dict[str, Any] = {"learning_rate": training["learning_rate"], "weight_decay": training["weight_decay"]}
        found |= {"modality_dropout": 0.0, "swap": True}
        found |= {f"use {name}": True for name in self.encoders} if len(self.encoders) > 1 else {}
        return found

    def _training(self, method: str) -> dict[str, Any]:
        own = registry.resolve("fusions", method).literals.get("TRAINING", {})
        return {**TRAINING, **own}

    def run(self, deadline: float, trials: int | None, console: Console) -> list[Trial]:
        """Trials until the time is over or there are so many in all; gives every trial that is done, the best first."""
        if self.anew:
            self._begin_anew(console)
        study = self.study()
        if wrong := self._damaged(study):
            console.warn(f"{wrong}: the search begins anew")
            self._begin_anew(console)
            study = self.study()
        turns = Turns(study, self.folder)
        goal = MANY if trials is None else trials
        before = turns.finished()
        if before:
            console.note(f"search: {counted(before, 'trial')} {agreed(before, 'are')} there already")
        with console.progress("search: trials", min(goal, 999), before) as progress:
            while time.monotonic() < deadline and turns.finished() < goal:
                with turns.next(goal) as trial:
                    if trial is None:
                        time.sleep(WAIT_S)
                        continue
                    self._tell(study, trial)
                best = study.best_trial if self.done(study) else None
                progress.advance(
                    "" if best is None else f"best {best.user_attrs.get('score', 0):.3f} by {best.params['method']}"
                )
        return self.done(study)

    def _tell(self, study: Any, trial: Any) -> None:
        """Makes a trial and tells the study of it."""
        import optuna

        try:
            value = self._objective(trial)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)

    def _begin_anew(self, console: Console) -> None:
        """Throws the study away, unless others are at work on it."""
        with alone(self.root / FOLDER):
            try:
                joined = Turns(self._study(), self.folder).take_up() > 0
            except ArtifactError:
                console.warn(f"{self.file} is damaged: the search begins anew, and what was tried before is thrown away")
                joined = False
            if joined:
                console.warn("another process is at this search: it is joined, not begun anew")
                return
            with tempfile.TemporaryDirectory(dir=self.folder.parent, prefix=f".{self.name}-") as gone:
                self.folder.rename(Path(gone) / self.name)  # at once, whoever reads in it

    def _damaged(self, study: Any) -> str:
        """Which trial is not what it was when it was made, in the study or on disk; empty where all are."""
        import optuna

        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
            file = self._file(trial.number)
            try:
                _, said = tensors.unsealed(file)
            except ValueError as error:
                return f"{file} is damaged ({error})"
            if store.digest(said) != store.digest([trial.value, trial.user_attrs.get("member"), dict(trial.params)]):
                return f"{self.file} says otherwise than {file}"
        return ""

    def done(self, study: Any | None = None) -> list[Trial]:
        """Every trial that is done, the best first; those that came to the same are there once."""
        import optuna

        study = study or self.study()
        found = []
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)):
            file = self._file(trial.number)
            said = trial.user_attrs.get("member")
            if said and file.is_file():
                member = Member(said["method"], said["fusion"], tuple(said["encoders"]), said["decisions"])
                found.append(Trial(trial.number, float(trial.value), member, file))
        return sorted(found, key=lambda trial: (-trial.value, trial.number))

    def _objective(self, trial: Any) -> float:
        import optuna

        method = trial.suggest_categorical("method", list(METHODS))
        names = list(self.encoders)
        if len(names) > 1:
            names = [name for name in names if trial.suggest_categorical(f"use {name}", [True, False])]
        if not names:
            raise optuna.TrialPruned
        kind = registry.load("fusions", method)
        options: dict[str, Any] = {}
        fields = registry.config_of(kind).model_fields
        if "hidden" in fields and isinstance(fields["hidden"].default, int) and fields["hidden"].default:
            options["hidden"] = trial.suggest_categorical("hidden", [32, 64, 128, 256])
        if "dropout" in fields:
            options["dropout"] = trial.suggest_float("dropout", 0.0, 0.6)
        training = TrainingConfig.of(
            self.settings,
            **{
                **self._training(method),
                "learning_rate": trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
                "weight_decay": trial.suggest_float("weight_decay", 1e-3, 0.5, log=True),
                "modality_dropout": trial.suggest_categorical("modality_dropout", [0.0, 0.15, 0.3]),
                "swap": trial.suggest_categorical("swap", [True, False]),
            },
        )
        try:
            return self._trained(trial, method, options, training, names)
        except ConfigError as error:  # a method that does not fit these columns or targets
            trial.set_user_attr("unfit", error.message)
            raise optuna.TrialPruned from None

    def _trained(self, trial: Any, method: str, options: dict[str, Any], training: Any, names: list[str]) -> float:
        import optuna

        task, dataset = self.dataset.task, self.dataset
        features = {name: self.features[name] for name in names}
        dims = {name: own.pooled.shape[1] for name, own in features.items()}
        sources = {name: str(self.encoders[name].config["column"]) for name in names}
        groups = groups_of({name: encoder_choice(self.encoders[name].config) for name in names}, names)
        config = self.settings.part("fusions", method, **options).model_dump()
        with shapes_alone():
            build_fusion(method, config, dims, task, groups)
        seed = device.derive_seed(self.seed, "search", str(trial.number))
        device.seed_everything(seed)
        head = build_head(
            method,
            config,
            dims,
            sources,
            task,
            self.head,
            training.modality_dropout,
            decisions=training.decisions,
            groups=groups,
        )
        if training.swap:
            head.swap_shares = {name: fusion_job.swap_share(own, dataset) for name, own in features.items()}
        sign = 1 if task.primary_higher_is_better else -1

        def watch(history: list[dict[str, float]]) -> bool:
            trial.report(_value(history[-1], task.primary_metric, sign), len(history))
            if trial.should_prune():
                raise optuna.TrialPruned
            return False

        with tempfile.TemporaryDirectory(dir=self.folder, prefix=f".{trial.number}-") as place:
            label = f"trial {trial.number}"
            job = fusion_job.job(head, features, dataset, training, self.compute, seed=seed, folder=Path(place), label=label)
            train(replace(job, watch=watch), Console(quiet=True))
        made = fusion_job.settled(head, features, dataset, self.compute)
        val = dataset.splits["val"]
        score = task.score(made.of(val), dataset.targets[val])
        saved = {**task.outputs.save(made.outputs), **{f"head.{name}": tensor for name, tensor in head.state_dict().items()}}
        member = {"method": method, "fusion": config, "encoders": names, "decisions": training.decisions}
        value = _value({f"val_{name}": own for name, own in score.items()}, task.primary_metric, sign)
        store.write_atomic(self._file(trial.number), tensors.sealed(saved, [value, member, dict(trial.params)]))
        trial.set_user_attr("member", member)
        trial.set_user_attr("score", score[task.primary_metric])
        return value


def _value(row: Mapping[str, float], primary: str, sign: int) -> float:
    """The primary metric, higher being better; the loss breaks ties."""
    return sign * row[f"val_{primary}"] - 0.02 * min(row["val_loss"], 5.0)


def described(study: Any) -> dict[str, Any]:
    """The history and the importances of a study, as plain data."""
    import optuna

    complete = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    pruned = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.PRUNED,))
    importances: dict[str, float] = {}
    if len(complete) >= 4:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that some options were tried seldom
                importances = {name: float(own) for name, own in optuna.importance.get_param_importances(study).items()}
        except (RuntimeError, ValueError):  # all trials alike: nothing matters
            importances = {}
    return {
        "trials": len(complete) + len(pruned),
        "pruned": len(pruned),
        "importances": importances,
        "history": [
            {"number": t.number, "score": t.user_attrs.get("score"), "method": t.params["method"], "params": dict(t.params)}
            for t in complete
        ],
    }
