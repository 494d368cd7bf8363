"""Names, fingerprints, types and chunks of the cache file."""

from __future__ import annotations

import hashlib
import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.cache import schema
from softlabel.cache.schema import fingerprint
from softlabel.errors import CaseError
from softlabel.ids import check_id
from softlabel.types import ClassTable

ids = st.text(max_size=60)


@given(ids)
def test_part_names_are_safe_and_tell_ids_apart(text):
    try:
        check_id(text)
    except CaseError:
        return
    assert re.fullmatch(r"[0-9a-f]{32}\.h5", schema.part_name(text))
    assert hashlib.sha256(text.encode()).hexdigest().startswith(schema.part_name(text)[:32])
    assert schema.part_name(text) != schema.part_name(text + "x")


def test_ids_that_differ_only_in_case_have_other_parts():
    assert schema.part_name("Scan") != schema.part_name("scan")


def test_a_fingerprint_covers_settings_classes_and_ignore():
    settings = '{"n_segments": 500}'
    table = ClassTable.from_mapping({0: "background", 1: "läsion"})
    one = fingerprint(settings, table, 255)
    assert len(one) == 64 and one == fingerprint(settings, table, 255)
    renamed = ClassTable.from_mapping({0: "background", 1: "lesion"})
    renumbered = ClassTable.from_mapping({0: "background", 2: "läsion"})
    others = [
        fingerprint(settings + " ", table, 255), fingerprint(settings, renamed, 255),
        fingerprint(settings, renumbered, 255), fingerprint(settings, table, None),
        fingerprint(settings, table, 0),
    ]  # fmt: skip
    assert len({one, *others}) == 6


@pytest.mark.parametrize(
    ("lowest", "highest", "dtype"),
    [(0, 65535, np.uint16), (0, 65536, np.uint32), (-1, 5, np.int32)],
)
def test_superpixel_types(lowest, highest, dtype):
    assert schema.superpixel_dtype(lowest, highest) == dtype


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 255], np.uint8), ([0, 256], np.uint16), ([70000], np.uint32), ([2**40], np.uint64),
        ([-1, 3], np.int32), ([-(2**40)], np.int64),
    ],
)  # fmt: skip
def test_label_types(values, dtype):
    assert schema.label_dtype(np.array(values)) == dtype


def test_chunks_cover_every_shape():
    shapes = [(n,) for n in (1, 4096, 5000)]
    shapes += list(product((1, 127, 128, 129, 496), (1, 768)))
    shapes += list(product((1, 33, 240), (1, 32), (1, 17, 48)))
    for shape in shapes:
        for leading in (0, 1, 3, 11, 400):
            chunks = schema.chunk_shape(leading, shape, 4)
            full = ((leading,) if leading else ()) + shape
            assert len(chunks) == len(full)
            assert all(1 <= c <= n for c, n in zip(chunks, full, strict=True))
            waste = np.prod([c * -(-n // c) / n for c, n in zip(chunks, full, strict=True)])
            assert waste < 2.2, (full, chunks)
