"""Names, types and shapes of the cache file (docs/format.md in code).

Writer, reader and verifier share this module; it knows nothing of h5py.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from softlabel.types import ClassTable

FORMAT = "softlabel-cache"
FORMAT_VERSION = 2
ALGORITHM = 1
"""Raise it when the same input and settings give other results: existing parts become stale."""

INDEX, PART, PACKED = "index", "part", "packed"
PARTS_SUFFIX = ".parts"
PARTS_NUMBER = "parts"
"""Attribute of an index: the number of its folder of parts, see :func:`parts_suffix`."""

PARTS_LINK = "parts_link"
"""Attribute of ``cases`` in an index that was written beside a symbolic link to its parts: 1."""

MOST_FOLDERS = 10**9
"""Numbers of folders of parts are below."""

ROOT_TEXT = ("format", "kind", "generator", "settings", "fingerprint", "software")
ROOT_INTEGERS = ("format_version", "algorithm")


TEXTS = "texts"
"""A dataset of texts, without spatial axes."""


@dataclass(frozen=True)
class DatasetSpec:
    """What a dataset of a case must look like.

    Attributes
    ----------
    name : str
        Path below the case's group.
    kinds : str
        Allowed NumPy kinds of its type, as in ``dtype.kind``.
    leading : str
        Name of the axis before the spatial ones ("C", "K"), "" for none, or :data:`TEXTS`.
    required : bool
    """

    name: str
    kinds: str
    leading: str = ""
    required: bool = False


CASE_DATASETS: dict[str, DatasetSpec] = {
    spec.name: spec
    for spec in (
        DatasetSpec("image", "uif", "C", required=True),
        DatasetSpec("labels", "ui", required=True),
        DatasetSpec("soft", "f", "K", required=True),
        DatasetSpec("superpixels", "ui"),
        DatasetSpec("mask", "u"),
        DatasetSpec("truth", "ui"),
        DatasetSpec("original/image", "uif", "C"),
        DatasetSpec("original/labels", "ui"),
        DatasetSpec("original/truth", "ui"),
        DatasetSpec("preprocessing", "S", TEXTS),
        DatasetSpec("notes", "S", TEXTS),
    )
}
LABEL_MAPS = "label_maps"
"""Group of further label maps, each like ``labels``."""

RECORDS, NOTES, ORIGINAL = "preprocessing", "notes", "original"
"""What the steps before superpixels did, what they noted, and the group of what was before them."""

SUPERPIXEL_SETTINGS = "superpixel_settings"
"""Attribute of a case: what a preset of the settings became for it, as JSON."""

DIGEST = "digest"
"""Attribute of a case, and of an index: see :mod:`softlabel.cache.digest`."""

MANIFEST = ("id", "digest", "bytes")
"""Columns of the table of parts in the index."""

FACTS = "manifest/facts"
"""Dataset of an index: what :mod:`softlabel.cache.facts` tells of each part, one JSON text each."""

MADE_BY = ("id", "record")
"""Columns of the table of a packed file that tells which software made single parts."""

EXPECTED = "expected"
"""Dataset of an index: ids of the cases that the data set has."""

INPUTS = ("path", "size", "mtime_ns", "sha256")
"""Columns of the table of input files in the index."""

INTENSITY = ("intensity_sum", "intensity_sum_squares", "intensity_min", "intensity_max")
"""Intensity statistics: attributes (C,) of a case, datasets (G, C) of the index."""


@dataclass(frozen=True)
class AttributeSpec:
    """What an attribute of a case must look like.

    Attributes
    ----------
    name : str
    kinds : str
        Allowed NumPy kinds of its type ("SUO" is text).
    shape : tuple
        Numbers, or names of axes: "C" channels, "K" classes, "D" spatial axes.
    required : bool
    positive : bool
    finite : bool
        The squares of large intensities may sum up to infinity.
    since : int
        Format version that it is required from.
    """

    name: str
    kinds: str
    shape: tuple[str | int, ...] = ()
    required: bool = True
    positive: bool = False
    finite: bool = True
    since: int = 1


TEXT = "SUO"
CASE_ATTRIBUTES = (
    *(AttributeSpec(name, TEXT) for name in ("id", "group", "source", "inputs")),
    AttributeSpec("spacing_mm", "f", ("D",), required=False, positive=True),
    AttributeSpec("affine", "f", (4, 4), required=False),
    *(AttributeSpec(name, "i") for name in ("n_superpixels", "n_superpixels_asked")),
    AttributeSpec("class_pixels", "u", ("K",)),
    *(AttributeSpec(name, "u") for name in ("pixels", "softened_pixels")),
    AttributeSpec("soft_sum", "f"),
    AttributeSpec("own_class_sum", "f", ("K",), since=2),
    AttributeSpec(DIGEST, TEXT, since=2),
    AttributeSpec("slice_axis", "i", required=False),
    AttributeSpec(SUPERPIXEL_SETTINGS, TEXT, required=False),
    *(AttributeSpec(name, "f", ("C",), finite=False) for name in INTENSITY),
    AttributeSpec("original_spacing_mm", "f", ("D",), required=False, positive=True),
    AttributeSpec("original_affine", "f", (4, 4), required=False),
)


def dataset_spec(name: str) -> DatasetSpec | None:
    """What a dataset of a case must look like; None for one that docs/format.md does not know.

    Examples
    --------
    >>> dataset_spec("label_maps/grader 2").kinds
    'ui'
    """
    if name.removeprefix(f"{ORIGINAL}/").startswith(f"{LABEL_MAPS}/"):
        return CASE_DATASETS["labels"]
    return CASE_DATASETS.get(name)


def fingerprint(settings_json: str, classes: ClassTable, ignore: int | None) -> str:
    """SHA-256 of everything that makes two caches the same kind of thing, hexadecimal."""
    text = json.dumps([settings_json, list(classes.values), list(classes.names), ignore])
    return hashlib.sha256(text.encode()).hexdigest()


def part_name(case_id: str) -> str:
    """File name of a case's part: a hash, so that an id can never be a path.

    Examples
    --------
    >>> part_name("../../etc/passwd")
    '3754d6cb3a38e1185e5b382d5f3ef3f1.h5'
    """
    return hashlib.sha256(case_id.encode()).hexdigest()[:32] + ".h5"


def parts_suffix(number: int) -> str:
    """What stands behind ``NAME`` in the name of its folder of parts.

    Examples
    --------
    >>> parts_suffix(1), parts_suffix(2)
    ('.parts', '.parts.2')
    """
    return PARTS_SUFFIX if number == 1 else f"{PARTS_SUFFIX}.{number}"


def parts_number(folder: str, stem: str | None = None) -> int | None:
    """The number in the name of a folder of parts, inverse of :func:`parts_suffix`.

    None for another name, and for parts of something else than ``stem``, where that is given.

    Examples
    --------
    >>> parts_number("oct.parts"), parts_number("oct.parts.12"), parts_number("oct.parts.1")
    (1, 12, None)
    >>> parts_number("oct.parts", "mri"), parts_number(".parts")
    (None, None)
    """
    found = re.fullmatch(r"(.+)\.parts(?:\.([1-9]\d{0,8}))?", folder, re.DOTALL)
    if found is None or (stem is not None and found[1] != stem) or found[2] == "1":
        return None
    return int(found[2] or 1)


def label_dtype(labels: npt.NDArray[np.integer]) -> np.dtype:  # type: ignore[type-arg]
    """Smallest type that label values are stored in."""
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0:
        return np.dtype(np.int32 if low >= -(2**31) and high < 2**31 else np.int64)
    return np.dtype(np.min_scalar_type(high))


def superpixel_dtype(lowest: int, highest: int) -> np.dtype:  # type: ignore[type-arg]
    """Type that superpixel ids are stored in: uint16 when they fit, int32 when some are −1."""
    if lowest < 0:
        return np.dtype(np.int32)
    return np.dtype(np.uint16 if highest < 2**16 else np.uint32)


def chunk_shape(
    leading: int, spatial: tuple[int, ...], itemsize: int, target: int = 3 << 18
) -> tuple[int, ...]:
    """Chunks of a dataset (leading, *spatial): patches that divide the axes evenly.

    A chunk holds the whole leading axis where it fits in ``target`` bytes, spatial edges of 128
    (2D) or 32 × 32 × 16 (3D) at most, evened out so that the last one of an axis is not nearly
    empty.

    Examples
    --------
    >>> chunk_shape(10, (496, 768), 4)
    (10, 124, 128)
    >>> chunk_shape(117, (512, 512, 300), 4)
    (12, 32, 32, 16)
    """
    edges = {1: (4096,), 2: (128, 128), 3: (32, 32, 16)}[len(spatial)]
    patch = tuple(_even(n, edge) for n, edge in zip(spatial, edges, strict=True))
    if not leading:
        return patch
    fits = max(1, target // (int(np.prod(patch)) * itemsize))
    return (_even(leading, fits), *patch)


def _even(length: int, edge: int) -> int:
    pieces = -(-length // edge)
    return max(1, -(-length // pieces)) if length else 1
