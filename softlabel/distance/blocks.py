"""What distances are asked for, and what is found: blocks and their squared distances.

A *block* is a superpixel and a class that it holds; each of its pixels wants its squared distance
to the boundary of the class, on its own side (:data:`softlabel.distance.boundary.BOUNDARIES`).
"""

from __future__ import annotations

from dataclasses import dataclass

from softlabel.types import Array


@dataclass(frozen=True, eq=False)
class Blocks:
    """Superpixels of one image and the classes whose boundaries they want distances to.

    Attributes
    ----------
    index : ndarray of uint8 or uint16, shape (Z, Y, X)
        Class indices of the whole image.
    ignored : int
        Index that marks ignored pixels.
    pixels : ndarray of int32 or int64
        Flat indices of the pixels, ascending within a superpixel, none of them ignored.
    start : ndarray of int64, shape (R + 1,)
        Superpixel ``r`` has ``pixels[start[r]:start[r + 1]]``.
    lower, upper : ndarray of int32, shape (R, 3)
        Bounding boxes.
    limits : ndarray of float64, shape (R,)
        Distance up to which the pixels of a superpixel are searched.
    region, class_index : ndarray of int32, shape (B,)
        Superpixel and class of each block, superpixels in ascending order.
    """

    index: Array
    ignored: int
    pixels: Array
    start: Array
    lower: Array
    upper: Array
    limits: Array
    region: Array
    class_index: Array


@dataclass(frozen=True, eq=False)
class Measured:
    """Squared distances of some blocks.

    Attributes
    ----------
    blocks : ndarray of int64, shape (N,)
        Numbers of the blocks.
    start : ndarray of int64, shape (N + 1,)
        The pixels of ``blocks[i]`` have ``squared[start[i]:start[i + 1]]``.
    squared : ndarray of uint16, int32 or float64
        Squared distances times ``factor``; exact where they are within the superpixel's limit,
        otherwise anything beyond it.
    factor : float
        4 where distances to faces are whole numbers only then, else 1.
    """

    blocks: Array
    start: Array
    squared: Array
    factor: float
