"""Superpixels that somebody else made: ``--superpixels FILE``.

FILE is one of

* a folder with one label file a case, named by its id (``<id>.npy``, ``<id>.nii.gz``,
  ``<id>.png``, ``<id>.tif`` …),
* an ``.npz`` archive with one array a case, under its id,
* another softlabel cache (``.h5``), whose superpixels are taken.

Ids are whole numbers on the image's grid; negative ones mean no superpixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from softlabel.cache import InputFile, open_cache
from softlabel.errors import CaseError, UsageError
from softlabel.pipeline import content_hash
from softlabel.readers.arrays import npz_keys, read_npz_array
from softlabel.readers.imagefiles import ENDINGS, read_pixels
from softlabel.types import Array


class SuperpixelFiles:
    """Superpixels of many cases in a folder, an archive or a cache.

    Raises
    ------
    UsageError
        When the path is none of them.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            self.kind = "folder"
        elif path.is_file() and path.suffix in (".npz", ".h5"):
            self.kind = path.suffix[1:]
        else:
            raise UsageError(
                f"The superpixels {path} do not exist or are of no known kind; expected 'slic', "
                "'grid', a folder of label files named by case id, an .npz archive keyed by case "
                "id, or a softlabel cache (.h5)."
            )

    def read(self, case_id: str) -> tuple[Array, InputFile]:
        """Superpixels of one case, and the file they came from.

        Raises
        ------
        CaseError
            When there are none for this case, or they are not whole numbers.
        """
        if self.kind == "folder":
            path, ids = self._from_folder(case_id)
        elif self.kind == "npz":
            path, ids = self.path, self._from_archive(case_id)
        else:
            path, ids = self._from_cache(case_id)
        whole = np.rint(ids) if ids.dtype.kind == "f" else ids
        if ids.dtype.kind not in "uif" or not np.array_equal(whole, ids):
            raise CaseError(
                f"{path} holds superpixels of {case_id!r} that are no whole numbers ({ids.dtype}); "
                "save superpixel ids as integers."
            )
        name = f"superpixels/{path.name}"
        return whole.astype(np.int64), InputFile(name, path.stat().st_size, content_hash(path))

    def _from_folder(self, case_id: str) -> tuple[Path, Array]:
        for ending in ENDINGS:
            path = self.path / f"{case_id}{ending}"
            if path.is_file():
                pixels = read_pixels(path, as_labels=True)
                if pixels.channel_axis is not None:
                    raise CaseError(
                        f"{path} has a channel axis; expected one superpixel id a pixel. Save it "
                        "as a single-channel image."
                    )
                return path, pixels.values
        raise self._missing(case_id, f"a file {case_id}.npy, .nii.gz, .png …")

    def _from_archive(self, case_id: str) -> Array:
        if case_id not in npz_keys(self.path):
            raise self._missing(case_id, f"an array named {case_id!r}")
        return read_npz_array(self.path, case_id)

    def _from_cache(self, case_id: str) -> tuple[Path, Array]:
        with open_cache(self.path) as cache:
            stored = cache[case_id].superpixels if case_id in cache else None
            if stored is None:
                raise self._missing(case_id, "superpixels of that case")
            return stored.path, stored[...]

    def _missing(self, case_id: str, expected: str) -> CaseError:
        return CaseError(
            f"{self.path} has no superpixels for {case_id!r}; expected {expected}. Add it, or "
            "leave the case out with --ids."
        )
