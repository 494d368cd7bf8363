"""Compact soft labels are the dense ones, whole and in any patch."""

from __future__ import annotations

from types import SimpleNamespace

import factories
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from softlabel_train import compact
from softlabel_train.compact import CompactCase, nth_position, read_compact, window

from softlabel.cache import open_cache
from softlabel.errors import CacheError
from softlabel.generation.settings import Settings
from softlabel.softmaps.class_index import class_index_map
from softlabel.types import ClassTable


@pytest.mark.parametrize("slab_bytes", [1 << 30, 1 << 12])
@pytest.mark.parametrize("name", ["oct_cache", "mri_cache", "pairs_cache"])
def test_whole_cases_and_patches_equal_the_cache(name, slab_bytes, request, monkeypatch):
    monkeypatch.setattr(compact, "SLAB_BYTES", slab_bytes)
    with open_cache(request.getfixturevalue(name)) as cache:
        for case in list(cache.values())[:3]:
            whole = read_compact(case, cache.classes, cache.ignore)
            np.testing.assert_array_equal(whole.dense(), case.soft[...])
            np.testing.assert_array_equal(whole.image, case.image[...])
            where = tuple(slice(n // 4, n // 4 + n // 2) for n in case.shape)
            patch = read_compact(case, cache.classes, cache.ignore, where)
            np.testing.assert_array_equal(patch.dense(), case.soft[(slice(None), *where)])
            assert whole.nbytes < case.soft[...].nbytes


@pytest.mark.parametrize("method", ["smoothing", "svls", "dilation", "distance", "hard"])
def test_caches_of_methods_without_superpixels(method, tmp_path):
    cache = factories.full_cache(tmp_path, settings=Settings(method=method))
    with open_cache(cache) as opened:
        for case in opened.values():
            found = read_compact(case, opened.classes, opened.ignore)
            np.testing.assert_array_equal(found.dense(), case.soft[...])
            if method in ("smoothing", "hard"):
                assert found.values.size == 0


@st.composite
def compact_cases(draw):
    ndim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 70 if ndim < 3 else 9)) for _ in range(ndim))
    k = draw(st.integers(1, 4))
    on, off = draw(st.sampled_from([(1.0, 0.0), (0.925, 0.025)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    index = rng.integers(0, k, shape).astype(np.uint8)
    if draw(st.booleans()):
        index = np.sort(index, axis=-1)  # long runs of one class
    index[rng.random(shape) < draw(st.sampled_from([0.0, 0.2]))] = 255
    soft = np.full((k, *shape), off, np.float32)
    for c in range(k):
        soft[c][index == c] = on
    soft[rng.random(soft.shape) < draw(st.sampled_from([0.0, 0.1, 0.9]))] = 0.5
    soft[:, index == 255] = 0
    return soft, index, np.float32(on), np.float32(off)


class InMemory:
    """Stands where an array of a cache stands, and remembers which rows were read at once."""

    def __init__(self, array, fillvalue=0.0, chunks=None):
        self.array, self.fillvalue, self.chunks, self.read = array, float(fillvalue), chunks, []
        self.shape, self.ndim = array.shape, array.ndim

    def __getitem__(self, key):
        return self.array[key]

    def read_into(self, out, key):
        self.read.append((key[1].start, key[1].stop))
        out[...] = self.array[key]


def compacted(
    soft, index, off, where=None, chunks=None
) -> tuple[CompactCase, list[tuple[int, int]]]:
    """Soft maps of the classes 0, 1, 2 … as if they were read from a cache; 255 is ignored."""
    stored = InMemory(soft, off, chunks)
    case = SimpleNamespace(
        path="c.h5", labels=InMemory(index), image=InMemory(index[None]), soft=stored
    )
    return read_compact(case, ClassTable.from_values(range(len(soft))), 255, where), stored.read


@given(compact_cases(), st.data())
@settings(max_examples=80, deadline=None)
def test_any_patch_mirrored_in_any_way(arrays, data):
    soft, index, on, off = arrays
    case, _ = compacted(soft, index, off)
    on = case.on
    np.testing.assert_array_equal(case.dense(), soft)
    own = index == np.arange(len(soft), dtype=np.uint8).reshape(-1, *[1] * index.ndim)
    hard = np.where(own, on, off)
    assert len(case.values) == ((soft != hard) & (index != 255)).sum(), "nothing is sent twice"
    start = [data.draw(st.integers(-3, n)) for n in index.shape]
    shape = [data.draw(st.integers(1, n + 4)) for n in index.shape]
    flip = [data.draw(st.booleans()) for _ in shape]
    flat, values = case.entries(start, shape, flip)
    labels = window(index, start, shape, 255, flip)
    found = np.full((len(soft), *shape), off, np.float32)
    for c in range(len(soft)):
        found[c][labels == c] = on
    found[:, labels == 255] = 0
    found.reshape(-1)[flat] = values
    np.testing.assert_array_equal(found, window(soft, start, shape, 0, flip))


def test_a_hard_map_has_no_entries():
    index = np.zeros((5, 200), np.uint8)
    index[:, 100:] = 1
    soft = np.stack([index == 0, index == 1]).astype(np.float32)
    assert len(compacted(soft, index, 0)[0].values) == 0


def test_the_value_of_a_hard_pixel_is_found_under_label_smoothing():
    index = np.array([[0, 0, 0, 1, 255]], np.uint8)
    soft = np.full((2, 1, 5), 0.05, np.float32)
    soft[0, 0, :2] = soft[1, 0, 3] = 0.95
    soft[0, 0, 2] = 0.7
    found, _ = compacted(soft, index, 0.05)
    assert np.float32(found.on) == np.float32(0.95)
    np.testing.assert_array_equal(found.dense(), soft * (index != 255))


def test_windows_over_the_border():
    image = np.arange(6).reshape(1, 2, 3)
    np.testing.assert_array_equal(
        window(image, (-1, 1), (2, 3), "edge", (False, False)), [[[1, 2, 2], [1, 2, 2]]]
    )
    np.testing.assert_array_equal(
        window(image, (0, 0), (2, 4), -9, (True, False)), [[[3, 4, 5, -9], [0, 1, 2, -9]]]
    )


@pytest.mark.parametrize("slab_bytes", [1, 5000, 1 << 30])
@pytest.mark.parametrize("rows", [(0, 40), (5, 33), (16, 32), (7, 7), (9, 10)])
def test_slabs_tile_the_rows_and_cut_no_chunk(rows, slab_bytes, monkeypatch):
    monkeypatch.setattr(compact, "SLAB_BYTES", slab_bytes)
    soft = np.random.default_rng(0).random((3, 40, 10), np.float32)
    where = (slice(*rows), slice(None))
    found, slabs = compacted(soft, np.zeros((40, 10), np.uint8), 0, where, chunks=(3, 8, 10))
    np.testing.assert_array_equal(found.dense(), soft[:, rows[0] : rows[1]])
    assert [row for low, high in slabs for row in range(low, high)] == list(range(*rows))
    assert all(low % 8 == 0 for low, _ in slabs[1:])
    if slab_bytes == 1 and rows == (5, 33):
        assert slabs == [(5, 8), (8, 16), (16, 24), (24, 32), (32, 33)]


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 1, 9), (3, 4, 300)])
@pytest.mark.parametrize("ignore", [None, 255, 7])
def test_class_indices_are_those_of_the_slow_way(values, ignore):
    classes = ClassTable(values, tuple(f"class {v}" for v in values))
    known = [v for v in values if v < 256] + ([] if ignore is None else [ignore])
    labels = np.random.default_rng(0).choice(known, (7, 9)).astype(np.uint8)
    expected = class_index_map(labels, classes, ignore)
    soft = InMemory(np.zeros((len(values), *labels.shape), np.float32))
    case = SimpleNamespace(
        path="c.h5", labels=InMemory(labels), image=InMemory(labels[None]), soft=soft
    )
    found = read_compact(case, classes, ignore).index
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    labels[3, 4] = 200
    with pytest.raises(CacheError, match=r"c\.h5: .*200"):
        read_compact(case, classes, ignore)


@given(
    values=st.lists(st.integers(0, 3), max_size=9000).map(lambda v: np.array(v, np.uint8)),
    value=st.integers(0, 3),
)
@settings(max_examples=50, deadline=None)
def test_the_nth_pixel_of_a_class_is_that_of_flatnonzero(values, value):
    found = np.flatnonzero(values == value)
    picked = [nth_position(values, value, n) for n in range(0, len(found), 97)]
    np.testing.assert_array_equal(picked, found[::97])
    with pytest.raises(IndexError, match="Fewer than"):
        nth_position(values, value, len(found))


def test_the_nth_pixel_of_a_class_is_found_behind_a_block_of_as_many():
    values = np.zeros(9000, np.uint8)
    values[[3, 4000, 5000, 8999]] = 1
    assert [nth_position(values, 1, n) for n in range(4)] == [3, 4000, 5000, 8999]
