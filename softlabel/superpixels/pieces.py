"""Superpixels in one piece each: scattered pieces become superpixels, tiny ones join a neighbour.

Masked SLIC of scikit-image leaves superpixels in pieces. A boundary in one piece then softens
another one far away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from softlabel.types import Array

if TYPE_CHECKING:
    from scipy import sparse

LEAST_SHARE = 0.25
"""Pieces smaller than this share of the mean superpixel join a neighbour."""


def whole_pieces(ids: Array) -> Array:
    """Superpixels that hang together over faces.

    Every piece of a superpixel becomes one of its own. A piece smaller than :data:`LEAST_SHARE` of
    the mean superpixel, other than the largest of its superpixel, joins the neighbour with which
    it shares most faces; without a neighbour it stays.

    Parameters
    ----------
    ids : ndarray of int, shape (*spatial)
        −1 where there is no superpixel.

    Returns
    -------
    ndarray of int32, shape (*spatial)
        Ids 0..M−1, −1 where there was none.

    Examples
    --------
    >>> whole_pieces(np.array([0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 1, 1, -1, 2])).tolist()
    [0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, -1, 3]
    """
    from skimage.measure import label

    pieces = np.asarray(label(ids + 1, background=0, connectivity=1), np.int64) - 1
    count = int(pieces.max()) + 1
    if count == 0:
        return pieces.astype(np.int32)
    inside = pieces >= 0
    sizes = np.bincount(pieces[inside], minlength=count)
    owner = np.zeros(count, np.int64)
    owner[pieces[inside]] = ids[inside]
    target = _joined(_faces(pieces, count), _kept(sizes, owner))
    _, number = np.unique(target, return_inverse=True)
    return np.where(inside, number[pieces], -1).astype(np.int32)


def _kept(sizes: Array, owner: Array) -> Array:
    """Pieces that stay: the largest of each superpixel, and those that are not tiny."""
    least = LEAST_SHARE * sizes.sum() / len(np.unique(owner))
    order = np.lexsort((np.arange(len(sizes)), -sizes, owner))
    first = np.ones(len(order), np.bool_)
    first[1:] = owner[order][1:] != owner[order][:-1]
    kept: Array = sizes >= least
    kept[order[first]] = True
    return kept


def _faces(pieces: Array, count: int) -> sparse.csr_array:
    """How many faces two pieces share, shape (count, count)."""
    from scipy import sparse

    faces = sparse.csr_array((count, count), dtype=np.int64)
    for axis in range(pieces.ndim):
        line = np.moveaxis(pieces, axis, 0)
        one, two = line[:-1].ravel(), line[1:].ravel()
        touch = (one != two) & (one >= 0) & (two >= 0)
        pairs = (np.concatenate([one[touch], two[touch]]), np.concatenate([two[touch], one[touch]]))
        ones = np.ones(len(pairs[0]), np.int64)
        faces = faces + sparse.coo_array((ones, pairs), (count, count)).tocsr()
    return faces


def _joined(faces: sparse.csr_array, kept: Array) -> Array:
    """The kept piece that each piece becomes; tiny ones among tiny ones wait for their turn."""
    target = np.where(kept, np.arange(len(kept)), -1)
    while True:
        waiting = np.flatnonzero(target < 0)
        chosen = np.full(len(waiting), -1)
        for position, piece in enumerate(waiting):
            row = slice(faces.indptr[piece], faces.indptr[piece + 1])
            near, shared = target[faces.indices[row]], faces.data[row]
            if (near >= 0).any():
                totals = np.bincount(near[near >= 0], shared[near >= 0])
                chosen[position] = int(totals.argmax())
        if not (chosen >= 0).any():
            target[waiting] = waiting  # islands of the mask
            return target
        target[waiting] = chosen
