"""What a softening method is given beside its own options."""

from __future__ import annotations

from dataclasses import dataclass

from softlabel.types import Array, ClassTable


@dataclass(frozen=True, eq=False)
class MethodInput:
    """One label map and what belongs to it.

    Attributes
    ----------
    index : ndarray of uint8 or uint16, shape (*spatial), 1 to 3 axes
        Class index of every pixel, from :func:`softlabel.softmaps.class_index.class_index_map`.
    table : ClassTable
    superpixels : ndarray of int32, shape (*spatial), or None
        Ids from 0; −1 where there is none. None for methods that need none.
    spacing : tuple of float
        Distance between pixels along each axis; 1 for pixel units.
    scale : float
        Distance at which Eq. 1 is ¾ (¼ outside).
    ignore : int or None
        Label value of ignored pixels. The class table may hold it, as a class without pixels.
    image : ndarray, shape (C, *spatial), or None
        Intensities. None for methods that need none.
    mask : ndarray of bool, shape (*spatial), or None
        Where intensities count, for methods that look at them; None is everywhere.
    """

    index: Array
    table: ClassTable
    superpixels: Array | None
    spacing: tuple[float, ...]
    scale: float
    ignore: int | None
    image: Array | None = None
    mask: Array | None = None
