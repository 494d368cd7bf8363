"""Whether the bytes of a part are those that were written: digests only, no value is decoded.

That costs a fraction of verifying, and finds what a disk or a hand did to the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py

from softlabel.cache import schema
from softlabel.cache.digest import case_digest, index_digest
from softlabel.cache.files import (
    FIX_PART,
    check_header,
    damage_as_error,
    get_attribute,
    get_text,
    open_for_reading,
    root_problems,
    stored_digest,
)
from softlabel.cache.structure import datasets_below, layout_problem, own
from softlabel.errors import CacheError


def damage(path: Path) -> str | None:
    """What is wrong with the stored bytes of a part; None when nothing is.

    Every dataset is hashed as it lies in the file, attributes through the digest of the case. HDF5
    itself checks the rest (names, shapes, where chunks lie).
    """
    try:
        with open_for_reading(path) as file:
            check_header(file, path, (schema.PART,))
            with damage_as_error(path, FIX_PART):
                for name, dataset in datasets_below(file).items():
                    problem = layout_problem(dataset) or stored_problem(dataset)
                    if problem is not None:
                        return f"{name} {problem}"
                case = own(file, "case")
                told = get_text(case, schema.DIGEST, "")
                if told and told != case_digest(case):
                    return "its digest is not that of the attributes and arrays"
    except CacheError as error:
        return str(error)
    return None


def index_problem(file: h5py.File) -> str | None:
    """What is wrong with the content of an index; None when nothing is.

    Every dataset is hashed as it lies in the file; which they are, the attributes and the ids of
    the cases are bound by the index's digest, which those of earlier versions lack, and classes
    and settings by the fingerprint.

    Raises
    ------
    OSError, KeyError, ValueError or RuntimeError
        When HDF5 cannot read it, or something is missing.
    """
    datasets = datasets_below(file, leave_out="cases")
    for name, dataset in datasets.items():
        problem = layout_problem(dataset) or stored_problem(dataset)
        if problem is not None:
            return f"{name} {problem}"
    return next(root_problems(file), None) or index_digest_problem(file, datasets)


def index_digest_problem(
    file: h5py.File, datasets: Mapping[str, h5py.Dataset] | None = None
) -> str | None:
    """Whether an index, or a packed cache, is not what its digest was made of."""
    told = get_text(own(file, "cases"), schema.DIGEST, "")
    if told and told != index_digest(file, datasets):
        return "has another digest than its attributes, tables and cases"
    return None


def stored_problem(dataset: h5py.Dataset) -> str | None:
    """What is wrong with the stored chunks of a dataset: one is lost, or has other bytes.

    Raises
    ------
    OSError or RuntimeError
        When HDF5 cannot read them.
    """
    expected = int(get_attribute(dataset, "chunks_allocated"))
    count, digest = stored_digest(dataset)
    if count != expected:
        return f"has {count} chunks, expected {expected}"
    if digest != get_text(dataset, "sha256"):
        return "has other bytes than were written (SHA-256 differs)"
    return None
