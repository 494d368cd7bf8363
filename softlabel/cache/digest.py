"""The digest of a case: one number for all that its part holds, wherever its bytes lie.

It follows from the digests that every dataset carries and from the attributes, without reading an
array, and stays the same when chunks are copied into another file.
"""

from __future__ import annotations

import hashlib
import json

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.files import get_text
from softlabel.cache.structure import datasets_below


def case_digest(case: h5py.Group) -> str:
    """SHA-256 over the attributes and the datasets of a case, hexadecimal.

    Parameters
    ----------
    case : h5py.Group

    Raises
    ------
    KeyError
        When a dataset is not sealed.
    """
    attributes = [
        [name, _plain(case.attrs[name])] for name in sorted(case.attrs) if name != schema.DIGEST
    ]
    datasets = [
        [name, dataset.dtype.str, list(dataset.shape), get_text(dataset, "sha256")]
        for name, dataset in datasets_below(case).items()
    ]
    text = json.dumps([attributes, datasets], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    """Text as it is, numbers as little-endian bytes, so that none is rounded."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").hex()
    array = np.asarray(value)
    little = array.astype(array.dtype.newbyteorder("<"))
    return [little.dtype.str, list(little.shape), little.tobytes().hex()]
