"""Boxes of pixels that the k-means of SLIC works on."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from softlabel.superpixels import slic_kmeans

SPACINGS = (1.0, 1.0, 0.3, 2.5, 3.0)


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70)),
    st.tuples(*[st.sampled_from(SPACINGS)] * 3),
)
def test_tiles_cover_the_volume(shape, spacing):
    tiling = slic_kmeans.choose_tiling(shape, np.array(spacing, np.float32), (5, 5, 5))
    assert np.prod(tiling.tile) == slic_kmeans.TILE
    assert tiling.tile[2] % 4 == 0
    assert all(
        (c - 1) * t < n <= c * t for c, t, n in zip(tiling.grid, tiling.tile, shape, strict=True)
    )
