"""The work of a band is cut so that it fits into the memory, and nothing is left out."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import TABLE, blob_batch, blobs

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
from softlabel.device import DoesNotFit  # noqa: E402
from softlabel.softening.superpixel import SuperpixelOptions, metric_of  # noqa: E402
from softlabel.softening.tensor import band as band_module  # noqa: E402
from softlabel.softening.tensor import tiles as tiles_module  # noqa: E402
from softlabel.softening.tensor.distance import costs_within  # noqa: E402
from softlabel.softmaps.class_index import class_index_map  # noqa: E402


@pytest.mark.parametrize("budget", [1_500, 3_000, 9_000, 30_000, 1 << 24])
def test_tiles_stay_within_the_pixels_that_fit_and_cover_everything(budget):
    _, indices, ids = blob_batch((40, 52), edge=9)
    index, superpixels = (torch.from_numpy(np.stack(part))[:, None] for part in (indices, ids))
    band = band_module.find_band(index, 255, 4, superpixels, int(superpixels.max()) + 1)
    costs = costs_within(metric_of(2, (1.0, 1.0), SuperpixelOptions()), 12.0, (1, 40, 52))
    tiles = tiles_module.plan_tiles(band, costs, budget)
    for tile in tiles:
        images = range(len(index))[tile.images]
        assert len(tile.classes) * len(images) * np.prod(tile.shape) <= budget
    assert any(tile.core is not None for tile in tiles) == (budget == 1_500)
    assert (len(tiles) == 1) == (budget == 1 << 24)
    for region, k in zip(band.block_region, band.block_class, strict=True):
        rows = np.zeros(40, int)  # how often each row of the block is settled
        for tile in tiles:
            if k in tile.classes and band.image[region] in range(len(index))[tile.images]:
                _, first, last = tile.core or (1, tile.lower[1], tile.upper[1])
                rows[first:last] += 1
        assert (rows[band.lower[region, 1] : band.upper[region, 1]] == 1).all()


def test_a_row_that_does_not_fit_is_said():
    labels, ids = blobs()
    index = class_index_map(labels, TABLE, 99)
    band = band_module.find_band(
        torch.from_numpy(index)[None, None], 255, 4, torch.from_numpy(ids)[None, None],
        int(ids.max()) + 1,
    )  # fmt: skip
    costs = costs_within(metric_of(2, (1.0, 1.0), SuperpixelOptions()), 9.0, (1, 40, 52))
    with pytest.raises(DoesNotFit, match=r"one row of the maps .* has .* pixels"):
        tiles_module.plan_tiles(band, costs, 60)
