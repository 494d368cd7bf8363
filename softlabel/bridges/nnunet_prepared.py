"""What ``softlabel nnunet prepare`` leaves for nnU-Net's training, and how it is found again.

Beside a folder ``nnUNet_preprocessed/DATASET/nnUNetPlans_2d`` lies ``softlabel/nnUNetPlans_2d``
with

* ``CASE.b2nd``: superpixel ids on the grid of the preprocessed case, int32, −1 where there is none;
* ``softlabel.json``: settings, spacing, and of each case a mark of its files, the largest id and
  the pixels of each label value.

They cannot lie with the cases: nnU-Net takes every ``.b2nd`` file there for one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from softlabel._version import __version__
from softlabel.errors import SourceError, UsageError, first_of
from softlabel.files.atomic import publish
from softlabel.generation.settings import Settings
from softlabel.readers.nnunetpreprocessed import SEGMENTATION
from softlabel.readers.safety import load_json

FORMAT, VERSION = "softlabel superpixels for nnU-Net", 2
RECORD = "softlabel.json"
ENDING = ".b2nd"

EDGE_BYTES = 1 << 16
"""Of the beginning and the end of an image file, which its mark is made of."""

NAMED_CASES = 3


@dataclass(frozen=True)
class PreparedCase:
    """Superpixels of one case.

    Attributes
    ----------
    files : str
        Mark of the image and the segmentation that it was made from (:func:`mark_of`).
    highest_id : int
    pixels : mapping of int to int
        Label values and how many pixels have each.
    """

    files: str
    highest_id: int
    pixels: Mapping[int, int]


@dataclass(frozen=True)
class Prepared:
    """The superpixels of a preprocessed configuration.

    Attributes
    ----------
    folder : Path
        Where they lie.
    settings : str
        Settings of superpixels and softening, as JSON.
    spacing_mm : tuple of float
        Of the axes of a patch: two for a configuration of slices.
    cases : mapping of str to PreparedCase
    """

    folder: Path
    settings: str
    spacing_mm: tuple[float, ...]
    cases: Mapping[str, PreparedCase] = field(repr=False)

    @property
    def highest_id(self) -> int:
        """The largest id of all cases; −1 without any."""
        return max((case.highest_id for case in self.cases.values()), default=-1)

    def path(self, case: str) -> Path:
        """The file with the superpixels of a case."""
        return self.folder / f"{case}{ENDING}"

    def soften_options(self) -> dict[str, Any]:
        """Keyword arguments of :func:`softlabel.soften` and ``soften_batch`` for a patch."""
        settings = Settings.from_json(self.settings)
        options = settings.checked_method_options()
        return options | {
            "boundary": settings.boundary,
            "scale": settings.scale,
            "normalize": settings.normalize,
            "spacing": self.spacing_mm if settings.distance_unit == "mm" else None,
            "slice_axis": settings.slice_axis if options["in_plane"] else None,
        }

    def pixels(self, cases: Iterable[str]) -> Counter[int]:
        """Pixels of each label value in some of the cases."""
        total: Counter[int] = Counter()
        for case in cases:
            total.update(self.cases[case].pixels)
        return total

    def require(self, cases: Iterable[str], images: Path) -> None:
        """Refuse superpixels that are missing, or of files that have changed since.

        Parameters
        ----------
        cases : iterable of str
        images : Path
            Folder of the preprocessed cases.

        Raises
        ------
        UsageError
            Naming the first of those cases and the command that makes them.
        """
        absent = [case for case in cases if case not in self.cases or not self.path(case).is_file()]
        changed = [
            case for case in cases
            if case not in absent and mark_of(images, case) != self.cases[case].files
        ]  # fmt: skip
        for wrong, what in ((absent, "lacks the superpixels of"), (changed, "has superpixels of")):
            if wrong:
                state = "" if wrong is absent else ", which were preprocessed again since"
                raise UsageError(
                    f"{self.folder} {what} {first_of(wrong, NAMED_CASES)}{state}; expected those "
                    f"of every case. Run softlabel nnunet prepare {images}"
                )

    def save(self) -> None:
        """Write the record."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "softlabel": __version__,
            "settings": json.loads(self.settings),
            "spacing_mm": list(self.spacing_mm),
            "cases": {name: asdict(case) for name, case in sorted(self.cases.items())},
        }
        text = json.dumps(content, indent=1, ensure_ascii=False)
        publish(self.folder / RECORD, text.encode())


def prepared_folder(images: Path) -> Path:
    """Where the superpixels of a folder of preprocessed cases lie."""
    images = images.resolve()
    return images.parent / "softlabel" / images.name


def load_prepared(images: Path) -> Prepared:
    """Read the record of the superpixels of a folder of preprocessed cases.

    Raises
    ------
    UsageError
        When there is none, with the command that makes it.
    SourceError
        When it is damaged, or of another version.
    """
    folder = prepared_folder(images)
    path = folder / RECORD
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist; expected the record of the superpixels that training with "
            f"soft labels needs. Run softlabel nnunet prepare {images}"
        )
    content = load_json(path)
    if (content.get("format"), content.get("version")) != (FORMAT, VERSION):
        raise SourceError(
            f"{path} is of format {content.get('format')!r:.60} and version "
            f"{content.get('version')!r:.20}; expected {FORMAT!r} and {VERSION}. Run softlabel "
            f"nnunet prepare {images}, which makes all of it again."
        )
    try:
        cases = {
            str(name): PreparedCase(
                str(case["files"]),
                int(case["highest_id"]),
                {int(value): int(n) for value, n in case["pixels"].items()},
            )
            for name, case in content["cases"].items()
        }
        spacing = tuple(map(float, content["spacing_mm"]))
        return Prepared(folder, json.dumps(content["settings"], sort_keys=True), spacing, cases)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path} is damaged ({type(error).__name__}: {error}); expected what softlabel nnunet "
            f"prepare writes. Run softlabel nnunet prepare {images}, which makes all of it again."
        ) from error


def mark_of(images: Path, case: str) -> str:
    """A short mark of the image and the segmentation of a case, which is the same in a copy.

    Parameters
    ----------
    images : Path
        Folder of the preprocessed cases.
    case : str
    """
    image, labels = images / f"{case}{ENDING}", images / f"{case}{SEGMENTATION}"
    if not image.is_file():  # older versions of nnU-Net keep both in one file
        return _mark_of_edges(images / f"{case}.npz")
    # Other labels may be compressed to as many bytes: all of the file counts, which is small.
    return f"{_mark_of_edges(image)} {_hashed(labels.read_bytes())}"


def _mark_of_edges(path: Path) -> str:
    """A mark of a large file: its size, beginning and end.

    The end of a ``.b2nd`` file says where its compressed pieces lie, that of an ``.npz`` file has
    checksums, so that other pixels nearly always leave another mark.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        beginning = file.read(EDGE_BYTES)
        file.seek(-min(size, EDGE_BYTES), os.SEEK_END)
        return f"{size}-{_hashed(beginning + file.read())}"


def _hashed(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def trainer_folder() -> Path:
    """The folder to name in ``nnUNet_extTrainer``, found without importing the trainer.

    Raises
    ------
    UsageError
        When the trainer's package is not installed.
    """
    spec = find_spec("softlabel_train")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent
    if folder is None or not (folder / "nnunet_trainers").is_dir():
        raise UsageError(
            "The package softlabel_train is not there, which holds the trainer for nnU-Net; "
            "expected it beside softlabel. Install softlabel again: pip install '.[nnunet]' in its "
            "clone."
        )
    return folder / "nnunet_trainers"
