"""Registration wedges: filled with the background around them, and masked.

Gradients and superpixels see a filled wedge as background; masked, it stays out of superpixels,
statistics and the search for the retina. What a wedge is, :mod:`softlabel.wedges` knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.bscans import axes_of, fill_bscans
from softlabel.preprocess.record import Record
from softlabel.preprocess.step import Kind
from softlabel.types import Array, Case
from softlabel.wedges import find_wedges

WEDGES = ("mask", "fill")


@dataclass(frozen=True)
class WedgeOptions:
    """Options of the step.

    Attributes
    ----------
    wedges : {"fill", "mask"}
        ``fill`` replaces their pixels by the background around them and masks them; ``mask``
        leaves the image as it is.
    axial_axis : int
        Spatial axis along the A-scans.
    """

    wedges: str = field(
        default="fill",
        metadata={
            "help": "Saturated registration wedges: fill them with the background and mask them, "
            "or only mask them.",
            "choices": WEDGES,
        },
    )
    axial_axis: int = field(default=0, metadata={"help": "Spatial axis along the A-scans."})

    def __post_init__(self) -> None:
        make_plain(self)
        if self.wedges not in WEDGES:
            raise ValueError(f"wedges must be one of {', '.join(WEDGES)}; got {self.wedges!r}.")


def apply_wedges(case: Case, options: WedgeOptions) -> tuple[Case, Record]:
    """Mask the registration wedges of a case, and fill them.

    Parameters
    ----------
    case : Case
        Of one or more channels; a wedge is saturated in all of them.
    options : WedgeOptions

    Returns
    -------
    Case, Record

    Raises
    ------
    ValueError
        When the case is no B-scan, or nothing is left of one.
    """
    axes = axes_of(case, options.axial_axis)
    wedge = np.ones(case.shape, np.bool_)
    for channel in case.image:
        wedge &= axes.each(find_wedges, channel)
    record = Record(
        "wedges",
        case.shape,
        case.shape,
        {"wedges": options.wedges, "pixels": int(np.count_nonzero(wedge))},
        {},
    )
    if not wedge.any():
        return case, record
    mask = ~wedge if case.mask is None else case.mask & ~wedge
    image = case.image
    if options.wedges == "fill":
        saturated = np.array([channel[wedge].max() for channel in image])
        record = replace(record, arrays={"runs": runs_of(wedge), "saturated": saturated})
        image = fill_bscans(image, wedge, axes)
    return replace(case, image=image, mask=mask), record


def restore_wedges(record: Record, array: Array, kind: Kind) -> Array:
    """Put the saturated pixels back into an image; labels and soft maps were not touched."""
    if kind != "image" or "runs" not in record.arrays:
        return array
    wedge = from_runs(record.arrays["runs"], record.shape_before)
    saturated = record.arrays["saturated"].astype(array.dtype)
    restored = array.copy()
    if len(saturated) not in (1, len(array)):
        raise ValueError(
            f"an image of {len(saturated)} channels was preprocessed; got one of {len(array)}."
        )
    restored[..., wedge] = saturated[:, None] if array.ndim > wedge.ndim else saturated[0]
    return restored


def runs_of(mask: Array) -> Array:
    """First and one-past-last flat index of every run of True, int64 (runs, 2).

    Examples
    --------
    >>> runs_of(np.array([[True, True, False], [False, True, False]])).tolist()
    [[0, 2], [4, 5]]
    """
    flat = np.concatenate([[False], mask.ravel(), [False]])
    return np.flatnonzero(flat[1:] != flat[:-1]).reshape(-1, 2)


def from_runs(runs: Array, shape: tuple[int, ...]) -> Array:
    """Truth values of :func:`runs_of`.

    Examples
    --------
    >>> from_runs(np.array([[0, 2], [4, 5]]), (2, 3)).astype(int).tolist()
    [[1, 1, 0], [0, 1, 0]]
    """
    change = np.zeros(int(np.prod(shape)) + 1, np.int8)
    change[runs[:, 0]] = 1
    change[runs[:, 1]] = -1
    return np.asarray(np.cumsum(change[:-1], dtype=np.int8).reshape(shape) > 0)
