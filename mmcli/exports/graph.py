"""The model: from the cells of some rows to what ONNX Runtime makes of them, and to answers."""

from __future__ import annotations

import importlib
import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from mmcli.exports import answers, writing
from mmcli.exports.damage import read_json, reading
from mmcli.exports.dictionary import looked_up
from mmcli.exports.made import MAKERS, Array, Made, Maker, padded
from mmcli.exports.ngrams import count_ngrams, hash_ngrams
from mmcli.exports.reading import Reader, Texts
from mmcli.media import files
from mmcli.media.boxes import Told
from mmcli.text.words import Timed

OUTPUTS, STEPS = "outputs", "steps"
ABOUT = "model.json"
Reject = tuple[int, str, str, str]
"""(row from 1, column, cell, reason)."""


class Model:
    """An exported folder, ready to predict."""

    def __init__(self, folder: Path, threads: int = 0) -> None:
        """Raises DamagedError where a file of it is missing or damaged."""
        self.folder = folder
        self.about = read_json(folder / ABOUT)
        with reading(folder / ABOUT):
            self.run = _graph(folder / self.about["file"], threads)
            """Of tensors by name: `outputs` [B, num_outputs]; of texts read step by step [B, T, V], and how many `steps` [B]
            are each row's; of texts written unit by unit what the second graph looks at."""
            self._step = _graph(folder / self.about["step"], threads) if self.about.get("step") else None
            task = self.about["task"]
            self._reader = Reader(task, folder) if task["link"] == "ctc" else None
            width: int = task.get("search", {}).get("width", 0)
            self.beam = width if self._step is not None or width > 1 else 0
            """Texts that are followed at once while a row's is searched for; 0 where none are: it is read greedily, or is no
            text."""
            self._members: dict[str, dict[str, Maker]] = {}
            self._pieces: dict[str, list[bytes]] = {}
            self._words: dict[str, dict[str, Any]] = {}
            members = [own for found in self.about["inputs"].values() for own in found["columns"].items()]
            self.faces = {name: Told.from_dict(own["faces"]) for name, own in members if "faces" in own}
            """Column of pictures -> the columns that tell where its faces are."""
            self.remarks: dict[str, Counter[str]] = {}
            """Column -> what was done to how many cells."""
            self.here: Array = np.zeros(0, dtype=np.bool_)
            """Of the rows that came last: of which anything is there."""
            self._lead: Made | None = None
            """Of the same rows: the recordings that their texts follow, where they do."""
            self._texts: list[Texts] = []
            """Of the rows that were answered last, where they are read step by step."""

    def prepare(self) -> None:
        """Sets up what makes tensors of cells.

        Raises:
            DamagedError: a file for them is missing or damaged.
            ImportError: a package that the model's columns need is not installed.
        """
        with reading(self.folder / ABOUT):
            kinds = {own["modality"]: MAKERS[own["modality"]] for _, _, own in self._each_column()}
        makers = {modality: _maker(*kind.split(".")) for modality, kind in kinds.items()}
        with reading(self.folder / ABOUT):
            for name, column, own in self._each_column():
                self._members.setdefault(name, {})[column] = makers[own["modality"]](own["state"], self.folder)
            for name, own in self.about["encoders"].items():
                if own["ngrams"] or own["words"]:
                    path = self.folder / own["pieces"]
                    spelt = read_json(path)
                    with reading(path):
                        self._pieces[name] = [piece.encode("latin-1") for piece in spelt]
                if own["words"]:
                    self._words[name] = read_json(self.folder / own["words"])

    def _each_column(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Each column that it looks at, with the input that it is of and what was learnt of it."""
        for name, found in self.about["inputs"].items():
            for column, own in found["columns"].items():
                yield name, column, own

    @property
    def columns(self) -> list[str]:
        """The columns of a table that it looks at."""
        return [column for found in self.about["inputs"].values() for column in found["columns"]]

    @property
    def together(self) -> bool:
        """Whether its answers are a vector for each column, by which columns find each other."""
        return "columns" in self.about["task"]

    def of_kind(self, kind: str) -> list[str]:
        """The columns of a modality."""
        return [
            name for own in self.about["inputs"].values() for name, each in own["columns"].items() if each["modality"] == kind
        ]

    def known(self, cells: Sequence[str]) -> list[str | None]:
        """Cells without those that mean missing: blanks, and what was told to."""
        return [None if not cell.strip() or cell.strip() in self.about["na"] else cell for cell in cells]

    @property
    def besides(self) -> list[str]:
        """The columns that tell where the faces on pictures are."""
        return [*dict.fromkeys(name for told in self.faces.values() for name in told.columns)]

    def outputs(
        self, cells: Mapping[str, Sequence[str | None]], media_root: str, first: int
    ) -> tuple[dict[str, Array], list[Reject]]:
        """Outputs of rows, given by column, the first of them row `first` of the table; and what could not be read and counts
        as absent."""
        rejects: list[Reject] = []
        made = {name: self._input(members, cells, media_root, first, rejects) for name, members in self._members.items()}
        self.here = np.any([own.present for own in made.values()], axis=0)
        self._lead = made[self.about["task"]["words"]["lead"]] if self.tells_words else None
        fed: dict[str, Array] = {}
        for name, own in self.about["encoders"].items():
            signal = made[own["input"]]
            if own["ngrams"]:
                signal = _counted(signal, self._pieces[name], own["ngrams"])
            elif own["words"]:
                signal = _looked_up(signal, self._pieces[name], self._words[name])
            fields = {"values": signal.values, "present": signal.present, "lengths": signal.lengths, "times": signal.times}
            fed |= {f"{name}.{field}": value for field, value in fields.items() if value is not None}
        rejects.sort(key=lambda reject: reject[0])
        return self.run(fed), rejects

    def written(self, outputs: Mapping[str, Array]) -> list[writing.Written]:
        """What the second graph writes of what `run` gave; nothing where there is none."""
        if self._step is None:
            return []
        search = self.about["task"]["search"]
        return writing.write(self._step, outputs, self.beam, search["ctc"], search["reader"])

    @property
    def tells_words(self) -> bool:
        """Whether its texts follow a recording, so that it is known when their words are said."""
        return bool(self.about["task"].get("words"))

    @property
    def most_answers(self) -> int:
        """How many answers to a row it can tell."""
        if self._step is None and self._reader is None:
            return 1
        kept: int = self.about["task"]["state"]["config"]["beam"]
        return min(kept, self.beam) if self._step is not None or self.beam > 1 else kept

    def answers(self, outputs: Mapping[str, Array], written: Sequence[writing.Written], count: int = 1) -> answers.Answers:
        """The prediction columns of both; of texts with `count` answers."""
        if self._step is not None:
            return answers.told(self.about, written, count)
        if self._reader is None:
            return answers.decode(self.about, outputs[OUTPUTS])
        frames, steps = outputs[OUTPUTS], outputs[STEPS]
        self._texts = self._reader.texts(frames, steps, self.beam, count)
        return answers.read(self.about, frames, steps, self._texts, count)

    def words(self, outputs: Mapping[str, Array]) -> list[list[Timed]]:
        """When the words of the answers are said that were told last, of what `outputs` gave last."""
        assert self._lead is not None
        assert self._lead.lengths is not None
        frames, steps = outputs[OUTPUTS], outputs[STEPS]
        return answers.words(self.about["task"], frames, steps, self._texts, self._lead.lengths, self._lead.present)

    def _input(
        self,
        members: Mapping[str, Maker],
        cells: Mapping[str, Sequence[str | None]],
        media_root: str,
        first: int,
        rejects: list[Reject],
    ) -> Made:
        """One input, of one column or of the fields of several side by side."""
        parts = []
        for column, maker in members.items():
            own = cells[column]
            if column in self.faces:
                where = self.faces[column].columns
                own = self.faces[column].over(own, [cells.get(name, [None] * len(own)) for name in where])
            told = self.remarks.setdefault(column, Counter())
            names = [cell if cell is not None and maker.names_file(cell) else None for cell in own]
            several = sum(name is not None and files.is_several(name, media_root) for name in names)
            told.update({"name several files, of which the first is taken": several} if several else {})
            pairs = zip(own, names, strict=True)
            made = maker([cell if name is None else files.path_of(name, media_root) for cell, name in pairs])
            told.update(made.remarks)
            rejects += [(first + place, column, files.shown(str(own[place])), why) for place, why in made.rejects]
            parts.append(made)
        if len(parts) == 1:
            return parts[0]
        return Made(np.concatenate([own.values for own in parts], 1), np.any([own.present for own in parts], axis=0))


def _maker(module: str, kind: str) -> Any:
    found = importlib.import_module(f".{module}", __package__)
    if not hasattr(found, kind):
        raise ImportError(f"cannot import name {kind!r} from {found.__name__!r}", name=found.__name__)
    return getattr(found, kind)


def _graph(path: Path, threads: int) -> writing.Run:
    """A file that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    with reading(path):
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken, given = [own.name for own in session.get_inputs()], [own.name for own in session.get_outputs()]
    return lambda arrays: dict(zip(given, session.run(given, {name: arrays[name] for name in taken}), strict=True))


def _counted(signal: Made, pieces: Sequence[bytes], ngrams: Mapping[str, Any]) -> Made:
    """From token ids to the buckets of n-grams: the text is spelt out, its n-grams hashed, and counted where they are."""
    hashed = count_ngrams if ngrams.get("counted", True) else hash_ngrams
    buckets, ends = hashed(_spelt(signal, pieces), ngrams["char_ngrams"], ngrams["word_ngrams"], ngrams["buckets"])
    values, lengths = padded(np.split(buckets, ends[1:-1]), (), np.int64)
    return Made(values, signal.present, lengths)


def _looked_up(signal: Made, pieces: Sequence[bytes], table: Mapping[str, Any]) -> Made:
    """From token ids to the units of what the text's words become."""
    found = [np.array(ids, dtype=np.int64) for ids in looked_up(_spelt(signal, pieces), table)]
    values, lengths = padded(found, (), np.int64)
    return Made(values, signal.present, lengths)


def _spelt(signal: Made, pieces: Sequence[bytes]) -> list[str]:
    """The texts, in small letters."""
    assert signal.lengths is not None
    rows = zip(signal.values.tolist(), signal.lengths.tolist(), strict=True)
    return [b"".join(pieces[i] for i in ids[:length]).decode("utf-8", "replace").lower() for ids, length in rows]


def read_tensors(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file: the length of a header, the header in JSON, then the numbers.

    Raises:
        DamagedError: it is missing or damaged.
    """
    types, found = {"F32": np.float32, "I64": np.int64, "BOOL": np.bool_}, {}
    with reading(path):
        data = path.read_bytes()
        (size,) = struct.unpack("<Q", data[:8])
        for name, own in json.loads(data[8 : 8 + size]).items():
            if name != "__metadata__":
                start, end = (8 + size + place for place in own["data_offsets"])
                found[name] = np.frombuffer(data[start:end], dtype=types[own["dtype"]]).reshape(own["shape"])
    return found
