"""Superpixels from another program: ``--superpixels FILE``.

FILE is one of

* a folder with one label file a case, named by its id (``<id>.npy``, ``<id>.nii.gz``,
  ``<id>.png``, ``<id>.tif`` …),
* an ``.npz`` archive with one array a case, under its id,
* another softlabel cache (``.h5``), whose superpixels are taken.

Ids are whole numbers on the image's grid; negative ones mean no superpixel.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from softlabel.cache import Cache, open_cache
from softlabel.errors import CaseError, SoftlabelError, UsageError
from softlabel.readers.arrays import npz_keys, read_npz_array
from softlabel.readers.imagefiles import ENDINGS, read_pixels
from softlabel.types import Array

INPUT_PREFIX = "superpixels:"
"""Before the names of these files among the inputs of a case; no path in a data set has it."""

_LARGEST_WHOLE_FLOAT = 2**53


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

    def file(self, case_id: str) -> tuple[str, Path] | None:
        """Name among the inputs, and path, of the file that holds a case's superpixels."""
        try:
            path = self._path(case_id)
        except (SoftlabelError, OSError):
            return None
        return f"{INPUT_PREFIX}{path.name}", path

    def read(self, case_id: str) -> Array:
        """Superpixels of one case, int64.

        Raises
        ------
        CaseError
            When there are none for this case, they are not whole numbers, or they are floats too
            large to be told apart.
        """
        path = self._path(case_id)
        if self.kind == "folder":
            ids = self._from_folder(path)
        elif self.kind == "npz":
            ids = read_npz_array(path, case_id)
        else:
            stored = _opened(self.path)[case_id].superpixels
            if stored is None:
                raise self._missing(case_id, "superpixels of that case")
            ids = stored[...]
        return _whole_ids(ids, path, case_id)

    def _path(self, case_id: str) -> Path:
        if self.kind == "folder":
            for ending in ENDINGS:
                path = self.path / f"{case_id}{ending}"
                if path.parent == self.path and path.is_file():
                    return path
            raise self._missing(case_id, f"a file {case_id}.npy, .nii.gz, .png …")
        if self.kind == "npz":
            if case_id not in _archive_keys(self.path, self.path.stat().st_mtime_ns):
                raise self._missing(case_id, f"an array named {case_id!r}")
            return self.path
        cache = _opened(self.path)
        if case_id not in cache:
            raise self._missing(case_id, "that case")
        return cache[case_id].path

    def _from_folder(self, path: Path) -> Array:
        pixels = read_pixels(path, as_labels=True)
        if pixels.channel_axis is not None:
            raise CaseError(
                f"{path} has a channel axis; expected one superpixel id a pixel. Save it as a "
                "single-channel image."
            )
        return pixels.values

    def _missing(self, case_id: str, expected: str) -> CaseError:
        return CaseError(
            f"{self.path} has no superpixels for {case_id!r}; expected {expected}. Add it, or "
            "leave the case out with --ids."
        )


def _whole_ids(ids: Array, path: Path, case_id: str) -> Array:
    """Ids as int64; those of uint64 that it cannot hold are numbered afresh."""
    whole = np.rint(ids) if ids.dtype.kind == "f" else ids
    if ids.dtype.kind not in "uif" or not np.array_equal(whole, ids) or not np.isfinite(ids).all():
        raise CaseError(
            f"{path} holds superpixels of {case_id!r} that are no whole numbers ({ids.dtype}); "
            "save superpixel ids as integers."
        )
    largest = float(np.abs(ids).max(initial=0)) if ids.dtype.kind == "f" else 0.0
    if largest > _LARGEST_WHOLE_FLOAT:
        raise CaseError(
            f"{path} holds superpixels of {case_id!r} up to {largest:.4g} as {ids.dtype}; expected "
            "at most 2^53, since larger floats skip whole numbers. Save superpixel ids as integers."
        )
    if ids.dtype == np.uint64 and ids.max(initial=0) > np.iinfo(np.int64).max:
        whole = np.unique(ids, return_inverse=True)[1].reshape(ids.shape)
    return whole.astype(np.int64)


def _opened(path: Path) -> Cache:
    """A cache, opened once in a process for all its cases."""
    return _open_version(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _open_version(path: Path, mtime_ns: int) -> Cache:
    return open_cache(path)


@lru_cache(maxsize=2)
def _archive_keys(path: Path, mtime_ns: int) -> frozenset[str]:
    return frozenset(npz_keys(path))
