"""What the files are that a column's cells name, told by opening some of them. Knows nothing of tables or tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mmcli.media import addresses, frames, magic, marks, sound
from mmcli.media import files as media

MOST_CELLS = 20
_MOST_PROBED = 4
"""Containers that are opened to see what they hold."""
_LONGEST_NAME, _LONGEST_STEM = 4096, 200
_USUAL = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".bmp", ".wav", ".mp3", ".flac", ".ogg", ".mp4", ".avi", ".mov", ".mkv")
_ENDS = """
.dcm .dicom .nii .nrrd .mha .mhd .svs .ndpi .cr2 .cr3 .nef .arw .dng .raf .orf .rw2 .pef .raw .psd .ai .eps .svg .jxl .exr .hdr
.fits .pdf .djvu .doc .docx .odt .ppt .pptx .xls .xlsx .mid .midi .h5 .hdf5 .mat .npz .pkl .pt .zip .tar .rar .7z .ply .obj
.stl .las .laz .pcd .bin .rm .rmvb .swf
"""
_UNREAD = frozenset(_ENDS.split())
"""How files end that no modality reads."""


@dataclass(frozen=True)
class Look:
    """Some cells of a column, and what is where they point."""

    cells: int
    """Cells looked at: spread over those given, those of other machines left out."""
    found: list[tuple[str, str, str]]
    """(cell, family, name) of those that are there: image, audio, video, vector, other, or empty where it is unknown."""

    @property
    def are_files(self) -> bool:
        """Whether at least half the cells name something that is there."""
        return 2 * len(self.found) >= self.cells > 0

    @property
    def are_paths(self) -> bool:
        """Whether they are, and are written as nothing but a file's name is: with a folder or a suffix."""
        return self.are_files and all("/" in cell or suffix(cell) for cell, _, _ in self.found)

    def share(self, family: str) -> float:
        """How many of those that are there are of that family."""
        return sum(own == family for _, own, _ in self.found) / max(len(self.found), 1)

    def names(self, family: str) -> str:
        """What they are called, commonest first, e.g. `JPEG, PNG`."""
        return ", ".join(name for name, _ in Counter(name for _, own, name in self.found if own == family).most_common(3))

    def first(self, family: str) -> str:
        """The first cell of that family."""
        return next(cell for cell, own, _ in self.found if own == family)


def look(cells: Sequence[str], root: str) -> Look:
    """Opens the files of cells spread over those given, so many that the whole column is known by them."""
    different = [cell for cell in dict.fromkeys(cells) if not media.names_none(cell)]
    step = max(len(different) // MOST_CELLS, 1)
    found, looked, probed = list[tuple[str, str, str]](), 0, 0
    for cell in different[::step][:MOST_CELLS]:
        path = media.resolve(cell, root)
        if addresses.is_far(path):
            continue
        looked += 1
        try:
            kind = magic.kind_of(media.head(path))
        except Exception:  # decoders raise whatever damaged files lead them to; told where the cell is read for good
            continue
        family = kind.family
        if family == "container" or kind.name == "GIF":
            same = [own for _, own, name in found if name == kind.name]
            family = _held(path, kind) if probed < _MOST_PROBED or not same else same[-1]
            probed += 1
        if path[:5].lower() == "data:" and family in {"", "other"}:
            continue  # words that only begin like one
        found.append((cell, family, kind.name))
    return Look(looked, found)


def _held(path: str, kind: magic.Kind) -> str:
    """What a container holds: pictures that move, or sound alone; a GIF that stands still is a picture."""
    try:
        source = media.source(path)
        if kind.name == "GIF":
            return "video" if len(frames.index(source).moments) > 1 else "image"
        with frames.opened(source):
            return "video"
    except Exception:  # as above
        pass
    if kind.name == "GIF":
        return "image"
    return "audio" if _has_sound(path) else "video"


def _has_sound(path: str) -> bool:
    try:
        sound.read(path, 0.1)
    except Exception:  # as above
        return False
    return True


def suffix(cell: str) -> str:
    """How the name of a file ends, in small letters: of an address without its query, of an archive the inner name."""
    name = marks.parted(cell.strip())[0]
    if len(name) > _LONGEST_NAME:
        return ""
    if addresses.is_address(name):
        name = name.partition("::")[0].partition("?")[0].partition("#")[0]
    return PurePosixPath(name.partition("?")[0]).suffix.lower()


def endings(named: Sequence[str], cells: int) -> str:
    """How names end, the commonest first, each with its share of all cells: `50% end like .gif, 50% like .mp4`."""
    ends = Counter(map(suffix, named)).most_common()
    said = [f"{count / max(cells, 1):.0%} {'' if place else 'end '}like {end}" for place, (end, count) in enumerate(ends[:3])]
    rest = sum(count for _, count in ends[3:])
    return ", ".join([*said, *([f"{rest / max(cells, 1):.0%} in other ways"] if rest else [])])


def named_unread(cells: Sequence[str]) -> str:
    """How nearly all cells end, where that is how files end that no modality reads; else empty."""
    ends = Counter(suffix(cell.strip().removesuffix(".gz")) for cell in cells if " " not in cell.strip())
    unread = [end for end, _ in ends.most_common() if end in _UNREAD]
    return ", ".join(unread[:3]) if sum(ends[end] for end in unread) >= 0.9 * len(cells) > 0 else ""


def without_suffix(cells: Sequence[str], root: str) -> str:
    """The first of the media that cells name but for their suffix: `m/p0` where m/p0.png is; empty where they name none."""
    different = list(dict.fromkeys(cell.strip() for cell in cells))
    found: list[str] = []
    for cell in different[:: max(len(different) // _MOST_PROBED, 1)][:_MOST_PROBED] if len(different) >= MOST_CELLS else ():
        path = media.resolve(cell, root)
        if len(cell) > _LONGEST_STEM or addresses.is_address(path) or path[:5].lower() == "data:":
            return ""
        found += [path + end for end in (*_USUAL, *map(str.upper, _USUAL)) if media.exists(path + end)][:1]
    return found[0] if len(found) == _MOST_PROBED else ""


def as_wanted(looked: Look, family: str, share: float, why: str) -> tuple[float, str]:
    """The share of cells of a family and why, corrected by what their files are where those are there."""
    if not looked.are_files:
        return share, why
    own = looked.share(family)
    if own >= 0.5:
        return own, why if share >= 0.5 else f"{own:.0%} of the files looked into are {looked.names(family)}"
    others: list[Any] = [other for other in ("image", "audio", "video", "vector") if other != family]
    if share >= 0.5 and any(looked.share(other) >= 0.5 for other in others):
        return 0.0, f"{why}, but their files are {looked.names(max(others, key=looked.share))}"
    return share, why
