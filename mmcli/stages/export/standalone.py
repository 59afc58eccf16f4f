"""What lets an exported graph take tables: the plain modules that its columns need, its tokenizers, and a script."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from mmcli.exports import bundling
from mmcli.exports.damage import REMEDY
from mmcli.exports.made import MAKERS
from mmcli.models.predictor import Model
from mmcli.pretrained import licences
from mmcli.stages.export.describing import SCRIPT, as_json, kind
from mmcli.tables.dates import FREE

TOKENIZERS, DETECTORS = "tokenizers", "detectors"
FOLDERS = (bundling.PACKAGE, TOKENIZERS, DETECTORS)
_SCRIPT = '''"""Predicts a table: python run.py TABLE.csv -o predictions.csv (--help for more); needs {needs}."""

import sys
from hashlib import sha256
from pathlib import Path

COPIES = {copies}
"""The modules that came along, as they were written: one that is cut may do anything."""
FOLDER = Path(__file__).parent

for name, digest in COPIES.items():
    path = FOLDER / "{package}" / name
    if not path.is_file():
        sys.exit(f"error: {{path}} is missing: {remedy}")
    if sha256(path.read_bytes()).hexdigest() != digest:
        sys.exit(f"error: {{path}} is not as it was exported: {remedy}")
try:
    from {package}.command import main
except ImportError as error:
    sys.exit(f"error: {{error}}; pip install {needs}")

if __name__ == "__main__":
    sys.exit(main(FOLDER))
'''


def why_not(loaded: Model) -> str:
    """Why tables cannot be read without mmcli; empty where they can."""
    for found in loaded.inputs.values():
        for column, modality in found.members.items():
            if type(modality).__module__ != f"mmcli.modalities.{kind(modality)}" or kind(modality) not in MAKERS:
                return f"the column {column} is of a modality of your own, {kind(modality)}"
    for name in loaded.network.names:
        if loaded.network.encoder(name).preparation() is None:
            return f"the encoder {name} prepares its input in a way that only it knows"
    return ""


def take_out(description: dict[str, Any], loaded: Model, folder: Path) -> None:
    """Moves tokenizers and detectors out of the description into files, and writes how the ids of a bag are spelt."""
    _take_out_detectors(description, folder)
    (folder / TOKENIZERS).mkdir()
    count = 0
    for found in description["inputs"].values():
        for own in found["columns"].values():
            if own["modality"] == "text":
                count += 1
                name = f"{TOKENIZERS}/{count}.json"
                (folder / name).write_bytes(as_json(own["state"]["tokenizer"]))
                own["state"] = {**own["state"], "tokenizer": name}
    for own in description["encoders"].values():
        if own["ngrams"] or own["words"]:
            count += 1
            own["pieces"] = f"{TOKENIZERS}/{count}.pieces.json"
            pieces = [piece.decode("latin-1") for piece in loaded.inputs[own["input"]].spec.pieces]
            (folder / own["pieces"]).write_bytes(as_json(pieces))
        if own["words"]:
            name = f"{TOKENIZERS}/{count}.words.json"
            (folder / name).write_bytes(as_json(own["words"]))
            own["words"] = name
    if not count:
        (folder / TOKENIZERS).rmdir()


def _take_out_detectors(description: dict[str, Any], folder: Path) -> None:
    files = dict[str, str]()
    for found in description["inputs"].values():
        for own in found["columns"].values():
            data = own["state"].get("detector") if own["modality"] == "image" else None
            if data:
                (folder / DETECTORS).mkdir(exist_ok=True)
                name = files.setdefault(data, f"{DETECTORS}/{len(files) + 1}.onnx")
                (folder / name).write_bytes(base64.b64decode(data))
                own["state"] = {**own["state"], "detector": name}


def write_script(description: Mapping[str, Any], folder: Path) -> list[str]:
    """The script and the modules that it and the model's columns need; gives the packages that they import."""
    modules = ["mmcli.exports.command"]
    if not description["only_tensors"]:
        for found in description["inputs"].values():
            modules += [f"mmcli.exports.{MAKERS[own['modality']].partition('.')[0]}" for own in found["columns"].values()]
    imported = bundling.bundle(dict.fromkeys(modules), folder)
    distributions = licences.distributions()
    columns = [own for found in description["inputs"].values() for own in found["columns"].values()]
    free = any(own["modality"] == "date" and own["state"]["format"].startswith(FREE) for own in columns)
    needs = sorted([*(distributions[name][0].lower() for name in imported), *(["python-dateutil"] if free else [])])
    copies = {own.name: sha256(own.read_bytes()).hexdigest() for own in sorted((folder / bundling.PACKAGE).glob("*.py"))}
    lines = "".join(f'    "{name}": "{digest}",\n' for name, digest in copies.items())
    told = {"needs": " ".join(needs), "package": bundling.PACKAGE, "remedy": REMEDY, "copies": f"{{\n{lines}}}"}
    script = _SCRIPT.format(**told)
    (folder / SCRIPT).write_text(script, encoding="utf-8")
    return needs
