"""Values do not depend on how the maps are cut."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import TABLE, assert_same_maps, blob_batch

import softlabel

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
from softlabel.distance.boundary import BOUNDARIES as CONVENTIONS  # noqa: E402
from softlabel.softening.superpixel import SuperpixelOptions, metric_of  # noqa: E402
from softlabel.softening.tensor import band as band_module  # noqa: E402
from softlabel.softening.tensor import images as images_module  # noqa: E402
from softlabel.softening.tensor import tiles as tiles_module  # noqa: E402
from softlabel.softening.tensor import values as values_module  # noqa: E402
from softlabel.softening.tensor.distance import costs_within  # noqa: E402


@pytest.mark.parametrize("shape", [(60, 30), (20, 14, 15)])
def test_slabs_change_nothing(shape):
    """Maps cut along the axis of the search, each with what its distances reach."""
    scenes_, indices, ids = blob_batch(shape, count=1, edge=4)
    pad = (1,) * (3 - len(shape))
    band = band_module.find_band(
        torch.from_numpy(indices[0]).view(1, *pad, *shape), 255, 4,
        torch.from_numpy(ids[0]).view(1, *pad, *shape), int(ids[0].max()) + 1,
    )  # fmt: skip
    metric = metric_of(len(shape), (1.0,) * len(shape), SuperpixelOptions())
    limit = float(metric.diagonals(band.lower, band.upper).max())
    costs = costs_within(metric, limit, (*pad, *shape))
    row = int(np.prod(shape)) // shape[0]
    axis = 0 if len(shape) == 3 else 1
    tiles = tiles_module.plan_tiles(band, costs, row * (2 * costs.reach(axis) + 6))
    assert sum(tile.core is not None for tile in tiles) > 4
    memory = 4 * values_module.MAP_BYTES[axis == 0] * row * (2 * costs.reach(axis) + 6)
    values_module.fill_values(band, CONVENTIONS["inner"], metric, 1.0, memory)
    found = images_module.soft_maps_of(band, indices, TABLE)[0]
    labels, superpixels = scenes_[0]
    assert_same_maps(found, softlabel.soften(labels, superpixels, classes=TABLE, ignore=99))
