"""Means of the centres' pixels, against float32 sums that NumPy adds one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.superpixels.slic_assign import Centres
from softlabel.superpixels.slic_means import move_centres
from softlabel.superpixels.slic_tiles import choose_tiling, cut


def in_order(labels, values, n):
    """Float32 sums of values by label, in raster order."""
    sums = np.zeros(n, np.float32)
    np.add.at(sums, labels.ravel(), values.ravel().astype(np.float32))
    return sums


@pytest.mark.parametrize("shape", [(1, 19, 26), (6, 9, 11), (1, 3, 9000)])
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9), n_channels=st.integers(1, 3))
def test_centres_become_the_means_of_their_pixels(shape, seed, n, n_channels):
    rng = np.random.default_rng(seed)
    volume = rng.normal(size=(n_channels, *shape)).astype(np.float32)
    tiling = choose_tiling(shape, np.ones(3, np.float32), (4, 4, 4))
    seeds = [np.zeros(size, np.int32) for size in shape]
    seeds[2][:] = rng.integers(0, n, shape[2])
    tiles = cut(volume, np.float32(1), tuple(seeds), tiling)
    labels = np.broadcast_to(seeds[2], shape)
    centres = Centres(
        rng.random((n, 3 + n_channels), np.float32), np.ones(n, bool), np.zeros((n, 6), np.float32)
    )
    before = centres.features.copy()
    values = [np.ones(shape), *np.indices(shape)]
    sums = np.transpose([np.bincount(labels.ravel(), v.ravel(), minlength=n) for v in values])

    assert move_centres(tiles, centres, tiling, sums.astype(np.int64))
    count = in_order(labels, values[0], n)
    np.testing.assert_array_equal(centres.alive, count > 0)
    for f, value in enumerate([*values[1:], *volume]):
        with np.errstate(invalid="ignore"):
            mean = in_order(labels, value, n) / count
        np.testing.assert_array_equal(
            centres.features[:, f], np.where(count > 0, mean, before[:, f])
        )
    assert not move_centres(tiles, centres, tiling, sums.astype(np.int64))
