"""The digest of a case, or of an index: one number for all that it holds, wherever its bytes lie.

It follows from the digests that every dataset carries and from the attributes, without reading an
array, and stays the same when chunks are copied into another file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from softlabel.cache import schema
from softlabel.cache.files import get_text
from softlabel.cache.structure import datasets_below, own


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
    return _sha256_of([_attributes(case), _datasets(datasets_below(case))])


def index_digest(file: h5py.File, datasets: Mapping[str, h5py.Dataset] | None = None) -> str:
    """SHA-256 over the attributes, the datasets and the ids of the cases of an index, hexadecimal.

    It is kept at the group of the cases: with a ninth attribute at the root, HDF5 would keep all of
    them in another structure, in which a changed byte can make them look as if they were not there.

    Parameters
    ----------
    file : h5py.File
    datasets : mapping of str to h5py.Dataset, optional
        Its datasets by their path, sorted, where they are known already.

    Raises
    ------
    KeyError
        When a dataset is not sealed.
    """
    ids = sorted(_plain(case_id) for case_id in own(file, "cases"))
    if datasets is None:
        datasets = datasets_below(file, leave_out="cases")
    return _sha256_of([_attributes(file), _datasets(datasets), ids])


def _sha256_of(content: list[Any]) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()


def _attributes(node: h5py.Group) -> list[Any]:
    """Names and values, in order, without the digest itself."""
    names = sorted(name for name in node.attrs if name != schema.DIGEST)
    return [[name, _plain(node.attrs[name])] for name in names]


def _datasets(datasets: Mapping[str, h5py.Dataset]) -> list[Any]:
    return [
        [name, dataset.dtype.str, list(dataset.shape), get_text(dataset, "sha256")]
        for name, dataset in datasets.items()
    ]


def _plain(value: object) -> Any:
    """Text as it is, numbers as little-endian bytes, so that none is rounded."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").hex()
    array = np.asarray(value)
    little = array.astype(array.dtype.newbyteorder("<"))
    return [little.dtype.str, list(little.shape), little.tobytes().hex()]
