"""Models of MMCLI_MODELS in the race of train-encoder: matched, announced, frozen, and gone."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch

from mmcli import registry
from mmcli.artifacts import layout, store
from mmcli.config.settings import Settings
from mmcli.data.dataset import Dataset
from mmcli.errors import ExitCode
from mmcli.models import loading
from mmcli.options.train_encoder import Options
from mmcli.pretrained import shelf
from mmcli.pretrained.splicing import Splice
from mmcli.reporting.console import Console
from mmcli.stages import Context, folds
from mmcli.stages.train_encoder import jobs, race
from mmcli.stages.train_encoder.candidates import Bench, Candidate, candidates_of
from mmcli.training import device, loop
from tests.conftest import ENCODERS, MANNERS, WORDS, run
from tests.pretrained import making

TINY = (*ENCODERS, "--set=training.epochs=5", "--threads=1")
BERT, VIT = "hf:MMCLI_MODELS/bert", "hf:MMCLI_MODELS/vit"


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, with one that knows the words of the table."""
    above = tmp_path / "models"
    making.bert(above / "bert", [*MANNERS, *(word for own in WORDS.values() for word in own)])
    monkeypatch.setenv(shelf.VARIABLE, str(above))
    return above


def hashes(root: Path, column: str) -> dict[str, str]:
    return {
        own: store.read(root, layout.encoder(name, own), "encoder", "").hash
        for name, own in layout.encoders(root)
        if name == column
    }


def test_a_model_races_for_its_columns_and_no_others_are_due(root: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(shelf.VARIABLE)
    code, output = run("train-encoder", "-a", root, *TINY)
    assert code == ExitCode.DONE, output
    assert "MMCLI_MODELS" not in output
    before = {column: hashes(root, column) for column in ("picture", "word")}
    monkeypatch.setenv(shelf.VARIABLE, str(models))
    making.network(models / "clip-like", "bert", vision_config={}, vocab_size=9)
    (models / "old").mkdir()
    (models / "old" / "config.json").write_text('{"model_type": "bert", "vocab_size": 9}', encoding="utf-8")
    (models / "old" / "pytorch_model.bin").write_bytes(b"\x80\x04")
    code, output = run("train-encoder", "-a", root, *TINY, "-v")
    assert code == ExitCode.DONE, output
    assert f"word: also {BERT}; it tokenises the texts anew as they are stored, 0.0% of its tokens being unknown" in output
    assert "picture: also" not in output
    assert output.count("its network runs once over 60 rows") == 1  # for the race, and for what follows
    assert "clip-like: its config.json (model_type bert) does not tell" in output
    assert "pytorch_model.bin is a pickle, which could run any program. Convert it" in output
    assert "unset it to leave them out" in output
    after = {column: hashes(root, column) for column in ("picture", "word")}
    assert after["picture"] == before["picture"]
    kept = hashes(root, "word")
    race = root / "encoders" / "word" / ".race.json"  # where the winners were there already
    record = (
        json.loads(race.read_text())
        if BERT not in kept
        else store.read(root, layout.encoder("word", BERT), "encoder", "").metrics["race"]
    )
    assert set(record["table"]) == {"bag", "rnn", BERT}
    _, again = run("train-encoder", "-a", root, *TINY)
    assert "up to date" in again
    assert "also" not in again
    assert "does not tell" not in again
    making.vit(models / "vit")
    _, output = run("train-encoder", "-a", root, *TINY)
    assert f"picture: also {VIT}; it sees what is stored, rescaled to 32 pixels" in output
    assert "word: also" not in output
    assert set(hashes(root, "picture")) >= {"cnn"}
    assert hashes(root, "word") == after["word"]
    code, output = run("status", "-a", root)
    assert f"train-encoder takes in what MMCLI_MODELS holds: {BERT} (text), {VIT} (image)" in output
    _, output = run("train-encoder", "word", "--arch", "bag", "-a", root, *TINY, "--dry-run")
    assert "MMCLI_MODELS" not in output


def test_a_model_that_nothing_can_use_is_told(root: Path, models: Path) -> None:
    (models / "listener").mkdir()
    (models / "listener" / "config.json").write_text('{"model_type": "whisper", "num_mel_bins": 8}', encoding="utf-8")
    (models / "listener" / "model.safetensors").write_bytes(b"")
    code, output = run("train-encoder", "-a", root, *TINY)
    assert code == ExitCode.DONE, output
    assert "hf:MMCLI_MODELS/listener (audio) does not race: no input is of its kind" in output
    assert f"{BERT} (text) does not race" not in output
    _, output = run("train-encoder", "word", "-a", root, *TINY, "--force")
    assert "does not race: no input" not in output  # other inputs were not asked for


def test_a_broken_model_is_told_and_left_out(root: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(models / BERT.rpartition("/")[2], models / "broken")
    for file in (models / "broken").glob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:64])
    code, output = run("train-encoder", "word", "-a", root, *TINY)
    assert code == ExitCode.DONE, output
    assert "word: hf:MMCLI_MODELS/broken does not race: " in output
    assert "safetensors" in output
    assert {"bag", "rnn"} & set(hashes(root, "word")) or BERT in hashes(root, "word")


def test_what_was_trained_stays_when_the_model_is_gone(root: Path, models: Path, table: Path, tmp_path: Path) -> None:
    code, output = run("train-encoder", "word", "--arch", BERT, "-a", root, *TINY)
    assert code == ExitCode.DONE, output
    assert f"{layout.encoder('word', BERT)}: weights of others, bert, licence: mit" in output
    made = store.read(root, layout.encoder("word", BERT), "encoder", "")
    assert made.metrics["weights_of_others"] == [{"name": "bert", "licence": "mit"}]
    assert (made.config["encoder"]["tune"], made.config["encoder"]["convert"]) == ("head", True)
    code, output = run("train-encoder", "picture", "--arch", "cnn", "-a", root, *TINY)
    assert code == ExitCode.DONE, output
    shutil.rmtree(models / "bert")
    small = (*ENCODERS, "--set=training.epochs=5", "--seeds", "1")
    code, output = run("fuse", "--method", "concat", "-a", root, *small)
    assert code == ExitCode.DONE, output
    code, output = run("predict", table, "-a", root, "-o", tmp_path / "p.csv")
    assert code == ExitCode.DONE, output
    code, output = run("evaluate", "-a", root, "--quick")
    assert code == ExitCode.DONE, output
    report = (root / "evaluation" / "report.md").read_text(encoding="utf-8")
    assert re.search(r"bert.{1,40}mit", report)
    code, output = run("train-encoder", "word", "--arch", BERT, "-a", root, *TINY, "--force")
    assert code == ExitCode.USAGE
    assert f"MMCLI_MODELS/bert: there is no model 'bert' in {models}" in output
    code, output = run("export", "--to", tmp_path / "e", "--format", "safetensors", "-a", root)
    assert code == ExitCode.DONE, output


def test_what_does_not_fit_is_left_out_and_says_why(root: Path, models: Path) -> None:
    shutil.rmtree(models / "bert")
    making.bert(models / "bert", ["other", "words"])
    making.bert(models / "mute", ["a"]).joinpath("tokenizer.json").unlink()
    code, output = run("train-encoder", "word", "-a", root, "--budget", "1", *TINY)
    assert code == ExitCode.DONE, output
    assert f"word: {BERT} is left out: its tokenizer does not know 100% of the tokens of 'word'" in output
    assert "hf:MMCLI_MODELS/mute has no tokenizer.json" in output or "mute is left out" in output
    assert set(hashes(root, "word")) <= {"bag", "rnn"}


def test_a_race_by_time_leaves_out_what_has_no_time(root: Path, models: Path) -> None:
    code, output = run("train-encoder", "word", "-a", root, "--budget", "0.003s", *TINY)
    assert code == ExitCode.DONE, output
    assert re.search(f"word: {BERT} does not race: its network would run for [0-9.e-]+ s over all rows, of 0.001 s", output)
    assert set(hashes(root, "word")) <= {"bag", "rnn"}
    _, again = run("train-encoder", "word", "-a", root, "--budget", "0.003s", *TINY)
    assert "up to date" in again


def test_a_model_tuned_in_its_last_blocks_reads_rows_once(root: Path, models: Path, table: Path, tmp_path: Path) -> None:
    """As the preset best has it. For the training and every fold its frozen part runs once; what is saved is the whole network,
    which does the same to the rows."""
    shutil.rmtree(models / "bert")
    making.bert(models / "bert", [*MANNERS, *(word for own in WORDS.values() for word in own)], layers=3)
    best = ("word", "--tune-models", "last-2", "-a", root, *TINY)
    code, output = run("train-encoder", *best, "-v")
    assert code == ExitCode.DONE, output
    assert f"word: also {BERT}; " in output
    assert "models of MMCLI_MODELS are tuned in their last two blocks (--tune last-2); unset it" in output
    assert output.count("the frozen part of its network runs once over 60 rows") == 1
    assert "up to date" in run("train-encoder", *best)[1]
    code, output = run("train-encoder", *best, "--arch", BERT, "--folds", "2", "-v")
    assert code == ExitCode.DONE, output
    assert output.count("the frozen part of its network runs once over 60 rows") == 1
    dataset = Dataset.open(root)
    made = store.read(root, layout.encoder("word", BERT), "encoder", "")
    assert (made.config["encoder"]["tune"], made.config["training"]["augment"]) == ("last-2", "none")
    network = loading.load_encoder(dataset, made).eval()
    start = transformers_of(models / "bert")
    for name, tensor in network.encoder.body.named_parameters():  # type: ignore[union-attr, operator]
        assert torch.equal(tensor, start[name]) == name.startswith(("embeddings.", "encoder.layer.0.")), name
    kept = safetensors.torch.load_file(root / made.name / loading.EMBEDDINGS)
    column = network.encoder.prepare(dataset.column("word"))
    with torch.no_grad():
        again = network.encoder(column.gather(torch.arange(len(column))))
    torch.testing.assert_close(again.pooled, kept["pooled"].float(), atol=4e-3, rtol=4e-3)
    _, output = run("train-encoder", "word", "--tune", "head", "-a", root, *TINY)  # what is said holds
    assert "models of MMCLI_MODELS are read as they are (--tune head)" in output


def transformers_of(folder: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(folder / "model.safetensors")


def test_what_there_is_no_time_to_tune_races_as_it_is(root: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(models / "bert")
    making.bert(models / "bert", [*MANNERS, *(word for own in WORDS.values() for word in own)], layers=3)
    best = ("word", "--tune-models", "last-2", "--budget", "60s", "-a", root, *TINY)
    monkeypatch.setattr(race, "seconds_to_tune", lambda *_: 61.0)
    code, output = run("train-encoder", *best, "-v")
    assert code == ExitCode.DONE, output
    assert re.search(f"word: {BERT} races as it is \\(--tune head\\): [0-9]+ s, which an entrant has, are too few", output)
    assert "its network runs once over 60 rows" in output
    for name in hashes(root, "word"):
        own = store.read(root, layout.encoder("word", name), "encoder", "")
        assert own.metrics["race"]["table"][BERT]["frozen"] is True
        assert own.config["encoder"].get("tune", "head") == "head"
    monkeypatch.undo()
    monkeypatch.setenv(shelf.VARIABLE, str(models))
    assert "up to date" in run("train-encoder", *best)[1]


def test_what_cannot_be_cut_is_not_told_to_take_more_time(root: Path, models: Path) -> None:
    """Both its blocks would train, so that all of it would run in every epoch."""
    own = ("train-encoder", "word", "--tune-models", "last-2", "-a", root, *TINY, "--budget")
    code, output = run(*own, "60s")
    assert code == ExitCode.DONE, output
    assert f"word: {BERT} races as it is (--tune head): it cannot be cut where its blocks begin to train, and a race" in output
    assert "To tune it all the same, say --tune last-2" in output
    assert "Give more time" not in output
    code, output = run(*own, "0.003s", "--force")
    assert code == ExitCode.DONE, output
    assert f"word: {BERT} does not race" in output
    assert "races as it is" not in output


def test_what_varies_or_is_too_large_is_read_in_every_epoch(root: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    making.vit(models / "vit", layers=2)
    own = ("train-encoder", "picture", "--arch", VIT, "--tune", "last-1", "-a", root, *TINY, "-v", "--force")
    once = "the frozen part of its network runs once over 60 rows"
    code, output = run(*own)
    assert code == ExitCode.DONE, output
    assert once in output
    kept = store.read(root, layout.encoder("picture", VIT), "encoder", "").metrics["val"]
    for more in (("--augment", "light"), ("--set=training.mix=mixup",)):
        code, output = run(*own, *more)
        assert code == ExitCode.DONE, output
        assert once not in output
    monkeypatch.setenv("MMCLI_MEMORY", "9k")  # 60 rows of 5 states of 16 numbers in float16 are 9,600 bytes
    code, output = run(*own)
    assert code == ExitCode.DONE, output
    why = "what its frozen part makes of all rows would be 0.01 MiB, more than memory is to hold"
    assert f"{why}, so its frozen part runs in every epoch" in output
    assert once not in output
    whole = store.read(root, layout.encoder("picture", VIT), "encoder", "").metrics["val"]
    assert whole["loss"] == pytest.approx(kept["loss"], rel=5e-3)


def test_how_long_tuning_takes_is_told_by_what_reading_took(root: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(models / "bert")
    making.bert(models / "bert", MANNERS, layers=6)
    context = Context(root=root, console=Console(quiet=True), settings=Settings(), device="cpu", precision="float32", threads=1)
    options = Options(columns=("word",), architectures=(BERT,), tune_models="last-2")
    bench = Bench(options, Dataset.open(root), device.choose("cpu", "float32", 1), context)
    candidate = replace(candidates_of(("word",), bench)["word"][0], races=True)
    epochs = round(candidate.training.epochs / 5)
    share = len(bench.dataset.splits["train"]) / 60
    # two of six blocks train, a step of them three times what reading with the other four is to one of these
    assert jobs.seconds_to_tune(candidate, 8.0, bench) == pytest.approx(3 * 8.0 * 2 / 4 * share * epochs)
    seconds, why = jobs.seconds_to_read(candidate, bench)
    assert seconds > 0
    assert not why
    warm = replace(bench, options=replace(options, unlabelled=True))
    assert jobs.seconds_to_read(candidate, warm) == (0.0, "it starts warm (--unlabelled)")
    monkeypatch.setenv("MMCLI_MEMORY", "1k")
    seconds, why = jobs.seconds_to_read(candidate, bench)
    assert "more than memory is to hold" in why


def test_a_winner_trains_as_it_raced_whatever_memory_is_free(
    root: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without another trial, and without running its frozen part again."""
    shutil.rmtree(models / "bert")
    making.bert(models / "bert", MANNERS, layers=3)
    candidate, bench = tuned_bert(root)
    network, _ = jobs.job_for(candidate, bench, tmp_path / "one")
    assert network.encoder.varies is False
    kept = bench.computed[candidate.fingerprint, "word"]
    monkeypatch.setenv("MMCLI_MEMORY", "1k")
    with monkeypatch.context() as patched:
        patched.setattr(Splice, "made", None)
        patched.setattr(Splice, "capture", None)
        again, _ = jobs.job_for(candidate, bench, tmp_path / "two")
    assert again.encoder.varies is False
    index = torch.arange(5)
    first, second = (own.encoder.eval()(kept.gather(index)).pooled for own in (network, again))
    assert torch.equal(first, second)
    fresh = replace(bench, computed={}, cuts={})
    assert jobs.job_for(candidate, fresh, tmp_path / "three")[0].encoder.varies is True
    monkeypatch.delenv("MMCLI_MEMORY")
    assert jobs.job_for(candidate, fresh, tmp_path / "four")[0].encoder.varies is True
    monkeypatch.setenv("MMCLI_MEMORY", f"{kept.nbytes + 2000}")  # type: ignore[union-attr]
    assert jobs.job_for(candidate, replace(bench, computed={}, cuts={}), tmp_path / "five")[0].encoder.varies is False
    beside = replace(bench, computed={("another", "word"): kept}, cuts={})
    assert jobs.job_for(candidate, beside, tmp_path / "six")[0].encoder.varies is True, "what others keep counts"


def test_a_cut_network_that_was_interrupted_goes_on_to_the_same_bits(root: Path, models: Path, tmp_path: Path) -> None:
    shutil.rmtree(models / "bert")
    making.bert(models / "bert", MANNERS, layers=3)
    found = []
    for folder, before in ((tmp_path / "whole", 0), (tmp_path / "parts", 2)):
        folder.mkdir()
        if before:
            candidate, bench = tuned_bert(root)
            _, job = jobs.job_for(candidate, bench, folder)
            assert loop.rehearse(job, bench.context.console, before, None)[0] == before
        candidate, bench = tuned_bert(root)
        network, job = jobs.job_for(candidate, bench, folder)
        assert network.encoder.varies is False
        loop.train(job, bench.context.console)
        found.append(network.state_dict())
    start = transformers_of(models / "bert")
    body = {name: own for name, own in found[0].items() if name.startswith("encoder.body.")}
    moved = [name for name, own in body.items() if not torch.equal(own, start[name.removeprefix("encoder.body.")])]
    assert {name.split(".")[4] for name in moved} == {"1", "2"}
    assert all(torch.equal(own, found[1][name]) for name, own in found[0].items())


def test_only_what_may_be_cut_gives_up_augmentation(root: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    making.vit(models / "vit", layers=3)
    context = Context(root=root, console=Console(quiet=True), settings=Settings(), device="cpu", precision="float32", threads=1)
    usual = Options(columns=("picture",), architectures=(VIT,), tune_models="last-2")

    def augment(options: Options = usual, **training: str) -> str:
        own = replace(context, settings=Settings({"training": training}))
        bench = Bench(options, Dataset.open(root), device.choose("cpu", "float32", 1), own)
        return candidates_of(("picture",), bench)["picture"][0].training.augment

    assert augment() == "none"
    assert augment(replace(usual, augment="strong")) == "strong"
    assert augment(augment="strong") == "strong"
    assert augment(replace(usual, tune_models="full")) == "light"
    assert augment(replace(usual, unlabelled=True)) == "light"
    assert augment(mix="mixup") == "light"
    monkeypatch.setattr(registry.load("encoders", VIT), "may_split", lambda _: False)
    assert augment() == "light"


def tuned_bert(root: Path) -> tuple[Candidate, Bench]:
    """It on the word, its last two blocks to be tuned, for five epochs."""
    context = Context(root=root, console=Console(quiet=True), settings=Settings(), device="cpu", precision="float32", threads=1)
    options = Options(columns=("word",), architectures=(BERT,), tune_models="last-2", epochs=5)
    bench = Bench(options, Dataset.open(root), device.choose("cpu", "float32", 1), context)
    return candidates_of(("word",), bench)["word"][0], bench


def test_folds_tune_each_model_as_the_first_pipeline_did(root: Path, models: Path) -> None:
    """One that raced as it is leaves what trains of another column's alone."""
    making.vit(models / "vit", layers=2)
    for column, name, how in (("word", BERT, "head"), ("picture", VIT, "last-1")):
        assert run("train-encoder", column, "--arch", name, "--tune", how, "-a", root, *TINY)[0] == ExitCode.DONE
    assert run("fuse", "--method", "late", "-a", root, "--set=training.epochs=2", "--threads=1")[0] == ExitCode.DONE
    context = Context(root=root, console=Console(quiet=True), settings=Settings(), device="cpu", precision="float32", threads=1)
    told = folds.taken_over(("late",), context).training(Options(tune_models="last-2"))
    assert told == Options.again(json.loads(json.dumps(asdict(told)))), "as processes are told it"
    bench = Bench(told, Dataset.open(root), device.choose("cpu", "float32", 1), context)
    made = candidates_of(told.columns, bench)
    tuned = {column: [own.config.tune for own in every] for column, every in made.items()}
    assert tuned == {"word": ["head"], "picture": ["last-1"]}


def test_a_folder_that_is_not_there_ends_it_before_any_work(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shelf.VARIABLE, str(root / "nowhere"))
    code, output = run("train-encoder", "-a", root)
    assert code == ExitCode.USAGE
    assert f"MMCLI_MODELS={root / 'nowhere'}: there is no such folder" in output
    assert "unset MMCLI_MODELS" in output
    assert not (root / "encoders").exists()
    code, output = run("status", "-a", root)
    assert code == ExitCode.DONE
    assert "there is no such folder" in output
    assert run("train-encoder", "word", "--arch", "bag", "-a", root, "--dry-run")[0] == ExitCode.DONE


def test_the_list_of_encoders_holds_them(models: Path) -> None:
    making.of_timm(models / "net")
    _, output = run("list", "encoders")
    assert f"{BERT} for text, of MMCLI_MODELS timm:MMCLI_MODELS/net for image, of MMCLI_MODELS" in output
    assert (
        json.loads(run("list", "encoders", "--json")[1])["encoders"].items()
        >= {BERT: "text, of MMCLI_MODELS", "timm:MMCLI_MODELS/net": "image, of MMCLI_MODELS"}.items()
    )
