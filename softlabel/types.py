"""The data that flows through softlabel, as frozen dataclasses.

Conventions, stated once:

* **Axes.** Spatial axes stay in the order of the file. Images are ``(C, *spatial)``, label maps
  ``(*spatial)`` or, from several raters, ``(R, *spatial)``; soft maps are ``(K, *spatial)``.
* **Units** are part of the name: ``spacing_mm``, ``seconds``. A plain ``spacing`` is whatever unit
  the caller chose.
* **Labels** keep the values of the source. Position ``k`` on the class axis is
  ``classes.values[k]``.
* **Ids** are one line of text without slashes (:func:`check_id`); they never become file names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from softlabel.errors import SourceError, did_you_mean
from softlabel.mapping import MAX_LABEL, LabelMapping

Array = npt.NDArray[Any]

MAX_CLASSES = 4096
"""More classes than this are a sign that an image was taken for a label map."""

SPACING_RANGE = (1e-6, 1e6)
"""From nanometres to kilometres in mm; the squares of distances stay far from the limits of
float32."""

MAX_ANISOTROPY = 1e4
"""Searching distances takes longer with every step of the finest axis in one of the coarsest."""


@dataclass(frozen=True)
class ClassTable:
    """The classes of a data set: integer values of the label maps and their names.

    Attributes
    ----------
    values : tuple of int
        Label values in ascending order, not necessarily consecutive. Axis 0 of soft maps
        follows this order.
    names : tuple of str
        One name for each value.

    Examples
    --------
    >>> table = ClassTable.from_mapping({128: "lesion", 0: "background"})
    >>> table.values, table.names
    ((0, 128), ('background', 'lesion'))
    >>> table.index_of("lesion")
    1
    """

    values: tuple[int, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.names):
            raise SourceError(
                f"The class table has {len(self.values)} values and {len(self.names)} names; "
                "give every value one name."
            )
        if not 1 <= len(self.values) <= MAX_CLASSES:
            raise SourceError(
                f"The class table has {len(self.values)} classes; expected 1 to {MAX_CLASSES}. "
                "Check that the label maps are label maps and not images."
            )
        if list(self.values) != sorted(set(self.values)) or self.values[0] < 0:
            raise SourceError(
                "The values of a class table must be distinct, ascending and not negative; "
                f"found {list(self.values)[:20]}."
            )
        if self.values[-1] > MAX_LABEL:
            raise SourceError(
                f"The class table has the value {self.values[-1]}; expected values below 2^63. "
                "Check that the label maps are label maps and not images."
            )
        if len(set(self.names)) != len(self.names):
            raise SourceError(
                f"The names of a class table must be distinct; found {list(self.names)[:20]}."
            )

    @classmethod
    def from_mapping(cls, names: Mapping[int, str]) -> ClassTable:
        """Make a table from ``{value: name}`` in any order."""
        values = sorted(names)
        return cls(tuple(int(v) for v in values), tuple(str(names[v]) for v in values))

    @classmethod
    def from_values(cls, values: Iterable[int]) -> ClassTable:
        """Make a table of label values alone, named ``label 3`` and so on."""
        return cls.from_mapping({int(v): f"label {int(v)}" for v in values})

    def index_of(self, name_or_value: str | int) -> int:
        """Position on the class axis of a class given by its name or its value.

        Raises
        ------
        SourceError
            When the table holds no such class.
        """
        text = str(name_or_value)
        if text in self.names:
            return self.names.index(text)
        if text.lstrip("+").isdecimal() and int(text) in self.values:
            return self.values.index(int(text))
        known = ", ".join(f"{v} ({n})" for v, n in zip(self.values, self.names, strict=True))
        hint = did_you_mean(text, self.names)
        raise SourceError(
            f"There is no class {text!r}{f'{hint} The' if hint else '; the'} classes are: {known}."
        )

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(zip(self.values, self.names, strict=True))


def class_table(classes: ClassTable | Mapping[int, str] | Iterable[int]) -> ClassTable:
    """The class table of what a caller gave: a table, ``{value: name}`` or values alone."""
    if isinstance(classes, ClassTable):
        return classes
    if isinstance(classes, Mapping):
        return ClassTable.from_mapping(classes)
    return ClassTable.from_values(classes)


@dataclass(frozen=True)
class Note:
    """Something that a reader met and took one way, though it could mean another.

    Attributes
    ----------
    code : str
        What kind of thing, in one or two words joined by dashes, such as ``ending``.
    text : str
        One sentence that names the file, what was found and how it was taken.
    """

    code: str
    text: str


@dataclass(frozen=True, eq=False)
class Case:
    """One image with its annotation, as a reader delivers it.

    Attributes
    ----------
    id : str
        Unique within the data set; see :func:`check_id`.
    image : ndarray, shape (C, *spatial)
        Intensities in the numeric type of the file, finite.
    labels : ndarray of an integer type, shape (*spatial) or (R, *spatial)
        Label values as in the source; with ``rater_axis=0`` one map for each rater.
    classes : ClassTable or None
        None only from a reader whose source names no classes and that was given no table: the
        pipeline then scans the data set once and fills it in.
    ignore : int or None
        Label value of pixels that were not annotated.
    rater_axis : 0 or None
        0 when ``labels`` has a leading axis of raters.
    raters : tuple of str
        Names of the raters along ``rater_axis``.
    mask : ndarray of bool, shape (*spatial), or None
        True where the image means something; superpixels leave the rest out.
    spacing_mm : tuple of float or None
        Distance between neighbouring pixel centres along each spatial axis.
    affine : ndarray of float64, shape (4, 4), or None
        Voxel indices to millimetres (NIfTI convention, RAS+).
    group : str
        The patient. Splits never cut through a group.
    source : str
        Path of the file(s) that it came from, relative to the data set.
    channels : tuple of str
        Names of the image channels.
    truth : ndarray of an integer type, shape (*spatial), or None
        The true label map, which only phantoms know.
    label_maps : mapping of str to ndarray
        Further label maps by name (other graders, an automatic method).
    slice_axis : int or None
        Spatial axis across the slices of a volume, where the file or its spacing tells it.
    notes : tuple of Note
        What the reader met in the files and took one way, though it could mean another.
    soft : ndarray of float32, shape (K, *spatial), or None
        Soft labels that the source holds itself, 0 to 1 for each of ``classes``; ``labels`` are
        then the most probable classes.
    """

    id: str
    image: Array
    labels: Array
    classes: ClassTable | None
    ignore: int | None = None
    rater_axis: int | None = None
    raters: tuple[str, ...] = ()
    mask: Array | None = None
    spacing_mm: tuple[float, ...] | None = None
    affine: Array | None = None
    group: str = ""
    source: str = ""
    channels: tuple[str, ...] = ()
    truth: Array | None = None
    label_maps: Mapping[str, Array] = field(default_factory=dict)
    slice_axis: int | None = None
    notes: tuple[Note, ...] = ()
    soft: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Spatial shape."""
        return tuple(self.image.shape[1:])

    @property
    def rater_names(self) -> tuple[str, ...]:
        """Names along ``rater_axis``, ``rater1`` and so on where none are stated; else empty."""
        if self.rater_axis is None:
            return ()
        return self.raters or tuple(f"rater{n + 1}" for n in range(len(self.labels)))

    @property
    def name(self) -> str:
        """The case as errors and notes name it: its id, and its source where it has one."""
        return f"{self.id} ({self.source})" if self.source else self.id


@dataclass(frozen=True)
class CaseRef:
    """A case that a reader has listed but not read.

    Attributes
    ----------
    id, group : str
        As in :class:`Case`.
    source : str
        Cases with the same source are computed together, so that its files are read once.
    files : tuple of str
        Every file that the case depends on, relative to the root of the data set, with ``/``.
        A change in one of them makes the case stale.
    key : mapping of str to JSON values
        What the reader needs to find the case in its files (a B-scan's index, channel files).
    """

    id: str
    group: str
    source: str
    files: tuple[str, ...]
    key: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """What a reader found: the cases that can be read, without any of their images.

    Attributes
    ----------
    format : str
        Name of the reader in :data:`softlabel.readers.READERS`.
    root : Path
        Folder that the relative paths of the cases start from.
    description : str
        One line for the user: what was recognised and how many cases it has.
    refs : tuple of CaseRef
        In natural order of their ids.
    problems : mapping of str to str
        Cases that were seen to be unreadable while listing (id to one-sentence reason), such as
        an image without a label.
    classes : ClassTable or None
        None when the source does not say (see :class:`Case`).
    channels : tuple of str
        Names of the image channels; empty when the source does not say.
    ignore : int or None
        Label value of pixels that were not annotated.
    options : mapping of str to JSON values
        The reader's options, all of them, as they were used; part of a cache's settings.
    unlabelled : tuple of str
        Images without an annotation, which are no cases.
    mapping : LabelMapping or None
        How label values are read; ``classes`` and ``ignore`` are those after it.
    source_classes, source_ignore
        Those of the source, before the mapping.
    soft : bool
        The label maps are probabilities: cases have :attr:`Case.soft`.
    """

    format: str
    root: Path
    description: str
    refs: tuple[CaseRef, ...]
    problems: Mapping[str, str] = field(default_factory=dict)
    classes: ClassTable | None = None
    channels: tuple[str, ...] = ()
    ignore: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    unlabelled: tuple[str, ...] = ()
    mapping: LabelMapping | None = None
    source_classes: ClassTable | None = None
    source_ignore: int | None = None
    soft: bool = False


def spacing_in_order(spacing: Sequence[float] | None, ndim: int) -> tuple[float, ...]:
    """Spacing as ``ndim`` positive floats, 1 when it is None.

    Raises
    ------
    ValueError
        When the count differs from ``ndim``, a value is not finite and positive, or distances
        could not be computed with it: beyond :data:`SPACING_RANGE`, or one axis more than
        :data:`MAX_ANISOTROPY` times as coarse as another.
    """
    if spacing is None:
        return (1.0,) * ndim
    values = tuple(float(s) for s in np.ravel(spacing))
    if len(values) != ndim or not all(np.isfinite(s) and s > 0 for s in values):
        raise ValueError(
            f"spacing must be {ndim} finite positive numbers, one for each spatial axis; "
            f"got {spacing!r}."
        )
    low, high = SPACING_RANGE
    if not low <= min(values) <= max(values) <= min(high, MAX_ANISOTROPY * min(values)):
        raise ValueError(
            f"spacing must lie in {low:g} to {high:g}, the coarsest axis at most "
            f"{MAX_ANISOTROPY:g} times the finest; got {spacing!r}. Give it in a unit near the "
            "size of the pixels, such as mm."
        )
    return values


def unnamed_channels(count: int) -> tuple[str, ...]:
    """Names of the channels of an image that names none.

    Examples
    --------
    >>> unnamed_channels(1), unnamed_channels(2)
    (('intensity',), ('channel 0', 'channel 1'))
    """
    return ("intensity",) if count == 1 else tuple(f"channel {i}" for i in range(count))


def long_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """Axes with more than one pixel: of a volume of one slice the two of an image.

    Examples
    --------
    >>> long_axes((1, 120, 120)), long_axes((240, 240, 48))
    ((1, 2), (0, 1, 2))
    """
    return tuple(axis for axis, length in enumerate(shape) if length > 1)


def coarsest_axis(spacing: tuple[float, ...]) -> int:
    """Axis across the slices of a volume: the coarsest one, the last of equals.

    Examples
    --------
    >>> coarsest_axis((0.958, 0.958, 3.0)), coarsest_axis((1, 1, 1))
    (2, 2)
    """
    return max(range(len(spacing)), key=lambda axis: (spacing[axis], axis))


def required_slice_axis(known: int | None, given: int | None, ndim: int) -> int:
    """Axis across the slices: the one that was given, else the one that is known.

    Raises
    ------
    ValueError
        When neither tells, or there is no such axis.
    """
    axis = known if given is None else given
    if axis is None:
        raise ValueError(
            "nothing tells which axis is across the slices: the file names no axes and no axis has "
            f"a spacing of its own; give --slice-axis 0 to {ndim - 1}."
        )
    if not 0 <= axis < ndim:
        raise ValueError(f"slice_axis must lie in 0..{ndim - 1}; got {axis}.")
    return axis
