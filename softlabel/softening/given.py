"""Soft labels that the data set holds itself: cached as they are.

Probabilities of annotators, of another program or of a network need no softening. They become soft
maps whose hard labels are the most probable classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from softlabel.softening.normalize import normalized
from softlabel.softmaps.class_index import class_index_map
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps
from softlabel.types import Array, ClassTable


@dataclass(frozen=True)
class GivenOptions:
    """Options of the method: none."""


def given_maps(
    soft: Array, labels: Array, table: ClassTable, ignore: int | None, normalize: str = "none"
) -> SoftMaps:
    """Soft maps of dense soft labels.

    Parameters
    ----------
    soft : ndarray of float32, shape (K, *spatial)
        Values 0 to 1 of each class of the table.
    labels : ndarray of an integer type, shape (*spatial)
        The hard labels.
    table : ClassTable
    ignore : int or None
        Label value of pixels that were not annotated.
    normalize : {"none", "sum"}

    Raises
    ------
    ValueError
        When the shapes do not fit, values are none between 0 and 1, or are to be divided by a sum
        of 0.

    Examples
    --------
    >>> soft = np.float32([[1, 0.75, 0.25], [0, 0.25, 0.75]])
    >>> given_maps(soft, np.array([0, 0, 1]), ClassTable.from_values([0, 1]), None).dense()[1]
    array([0.  , 0.25, 0.75], dtype=float32)
    """
    if soft.shape != (len(table), *labels.shape):
        raise ValueError(
            f"soft labels must have the shape {(len(table), *labels.shape)}, one map for each "
            f"class; got {soft.shape}."
        )
    if not (soft.min(initial=0) >= 0 and soft.max(initial=0) <= 1):
        raise ValueError("soft labels must be numbers from 0 to 1.")
    if normalize == "sum" and not soft.any(axis=0).all():
        empty = int(np.count_nonzero(~soft.any(axis=0)))
        raise ValueError(
            f"{empty} pixels have no probability of any class, so that their sum cannot become 1; "
            "leave --normalize out, or give a map of the background."
        )
    whole = tuple(slice(0, n) for n in labels.shape)
    index = class_index_map(labels, table, ignore)
    maps = from_class_maps(index, table, ((k, whole, soft[k]) for k in range(len(table))))
    return normalized(maps) if normalize == "sum" else maps


def refuse_hard_labels() -> NoReturn:
    """There is nothing to take as it is in a hard label map."""
    raise ValueError(
        "The method given takes soft labels that a data set holds; hard labels are softened by "
        "another method."
    )
