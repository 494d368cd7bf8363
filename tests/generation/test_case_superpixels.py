"""Superpixels of one case, by its settings."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest

from softlabel.generation.case_superpixels import make_superpixels
from softlabel.generation.settings import Settings


def test_slices_have_superpixels_of_their_own():
    case = factories.full_case()
    settings = Settings(n_segments=6, slic_dims="slice")
    ids, asked = make_superpixels(case, settings)
    assert asked == 6 * 5  # across the axis of the coarsest spacing
    slices = [set(np.unique(ids[..., k])) - {-1} for k in range(5)]
    assert all(not slices[i] & slices[j] for i in range(5) for j in range(i))
    assert set.union(*slices) == set(range(ids.max() + 1))
    ids, asked = make_superpixels(case, replace(settings, slice_axis=0))
    assert asked == 6 * 18


def test_superpixel_size_scales_with_the_image():
    case = factories.small_case()
    assert make_superpixels(case, Settings(superpixel_size=44))[1] == 40
    assert make_superpixels(case, Settings(superpixel_size=1e9))[1] == 1


def test_the_grid_is_the_same_for_every_image():
    one, _ = make_superpixels(factories.small_case(), Settings(superpixels="grid", n_segments=24))
    noise = np.random.default_rng(0).random((1, 40, 44), np.float32)
    two, _ = make_superpixels(
        factories.small_case(image=noise), Settings(superpixels="grid", n_segments=24)
    )
    np.testing.assert_array_equal(one, two)


def test_given_superpixels_are_numbered_afresh():
    given = np.full((40, 44), 10**12)
    given[:20] = 5
    given[30:] = -7
    case = factories.small_case()
    ids, asked = make_superpixels(case, Settings(superpixels="file"), given)
    assert np.unique(ids).tolist() == [-1, 0, 1] and asked == 0 and ids.dtype == np.int32
    assert (ids[:20] == 0).all() and (ids[20:30] == 1).all() and (ids[30:] == -1).all()


@pytest.mark.parametrize("block", [5, 1 << 20])
@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_ids_of_a_file_are_renumbered_in_their_order(block, dtype, monkeypatch):
    monkeypatch.setattr("softlabel.generation.case_superpixels.BLOCK", block)
    ids = np.random.default_rng(0).choice([-7, -1, 0, 3, 4, 90], (16, 20)).astype(dtype)
    mask = np.arange(320).reshape(16, 20) % 3 > 0
    wanted = np.searchsorted([0, 3, 4, 90], ids)
    wanted[(ids < 0) | ~mask] = -1
    labels = np.zeros(ids.shape, np.uint8)
    case = replace(factories.small_case(), image=labels[None], labels=labels, mask=mask)
    found, asked = make_superpixels(case, Settings(superpixels="file"), given=ids)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == np.int32 and asked == 0
