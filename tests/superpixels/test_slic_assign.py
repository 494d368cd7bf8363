"""The nearest centre of every pixel, against all distances written out in NumPy's float32."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from softlabel.superpixels.slic_assign import Centres, Metric, assign
from softlabel.superpixels.slic_tiles import choose_tiling, cut, uncut


def all_distances(volume, features, alive, metric, reach):
    """Distance of every pixel (last three axes) from every centre, in scikit-image's order."""
    places = np.indices(volume.shape[1:]).astype(np.float32)
    found = np.full((len(features), *volume.shape[1:]), np.inf, np.float32)
    for k in np.flatnonzero(alive):
        offsets = [s * (c - p) for s, c, p in zip(metric, features[k], places, strict=False)]
        colour = np.zeros(volume.shape[1:], np.float32)
        for c, channel in enumerate(volume):
            colour += np.square(channel - features[k, 3 + c])
        space = np.square(offsets[0]) + np.square(offsets[1]) + np.square(offsets[2])
        low = np.maximum(np.trunc(features[k, :3] - reach), 0)
        past = np.trunc(features[k, :3] + reach + np.float32(1))
        seen = [(p >= lo) & (p < hi) for p, lo, hi in zip(places, low, past, strict=True)]
        found[k] = np.where(np.all(seen, axis=0), space * metric.weight + colour, np.inf)
    return found


@st.composite
def states(draw):
    """A volume and centres as some round of k-means may find them, with many equal distances."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(1, 19, 26), (1, 1, 70), (9, 10, 7), (5, 17, 4), (1, 8, 8)]))
    n, n_channels = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    volume = rng.integers(0, draw(st.sampled_from([1, 3, 100])), (n_channels, *shape))
    features = np.column_stack([
        rng.uniform(0, np.array(shape) - 1, (n, 3)), rng.uniform(0, 3, (n, n_channels))
    ])  # fmt: skip
    if draw(st.booleans()):
        features = np.round(features)
    alive = rng.random(n) < draw(st.sampled_from([1.0, 0.6]))
    spacing = np.array([draw(st.sampled_from([1.0, 0.3, 2.5])) for _ in shape], np.float32)
    return volume.astype(np.float32), features.astype(np.float32), alive, spacing, rng


@given(states(), st.sampled_from([2.0, 8.0, 200.0]), st.sampled_from([0.01, 1.0]))
def test_every_pixel_takes_its_nearest_centre(state, reach, weight):
    volume, features, alive, spacing, rng = state
    shape, n = volume.shape[1:], len(features)
    tiling = choose_tiling(shape, spacing, (4, 4, 4))
    seeds = (*(np.zeros(size, np.int32) for size in shape[:2]), rng.integers(0, n, shape[2]))
    tiles = cut(volume, np.float32(1), tuple(s.astype(np.int32) for s in seeds), tiling)
    before = uncut(tiles.owners, tiling)
    metric = Metric(*spacing, np.float32(weight))
    centres = Centres(features, alive, np.zeros((n, 6), np.float32))
    sums = np.zeros((n, 4), np.int64)
    assign(tiles, centres, metric, (np.float32(reach),) * 3, tiling, sums)

    distances = all_distances(volume, features, alive, metric, np.float32(reach))
    nearest = np.where(np.isfinite(distances.min(axis=0)), distances.argmin(axis=0), before)
    np.testing.assert_array_equal(uncut(tiles.owners, tiling), nearest)
    expected = [np.bincount(nearest.ravel(), minlength=n)] + [
        np.bincount(nearest.ravel(), place.ravel(), minlength=n) for place in np.indices(shape)
    ]
    np.testing.assert_array_equal(sums, np.transpose(expected))
