"""The band of a batch on a device is that of each of its images on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import blobs

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel.softening.mixed import mixed_superpixels  # noqa: E402
from softlabel.softening.tensor.band import find_band  # noqa: E402

IGNORED, N_CLASSES = 255, 4


def image(seed):
    """Class indices and superpixels (Z, Y, X)."""
    labels, ids = blobs((6, 20, 22), edge=5, seed=seed)
    index = np.where(labels == 99, IGNORED, labels).astype(np.uint8)
    return index, ids.astype(np.int32)


@pytest.mark.parametrize("min_minority", [0.0, 0.2, 1.0])
def test_every_image_has_the_band_of_the_code_without_torch(min_minority):
    indices, ids = zip(*(image(seed) for seed in range(3)), strict=True)
    indices[1][:] = 2  # nothing is mixed in the one between
    band = find_band(
        torch.from_numpy(np.stack(indices)), IGNORED, N_CLASSES, torch.from_numpy(np.stack(ids)),
        int(np.max(ids)) + 1, min_minority,
    )  # fmt: skip
    pixels, lower, images, blocks, first = [], [], [], [], 0
    for number, (index, superpixels) in enumerate(zip(indices, ids, strict=True)):
        mixed = mixed_superpixels(index, IGNORED, N_CLASSES, superpixels, min_minority)
        pixels.extend((mixed.regions.pixels + number * index.size).tolist())
        lower.extend(mixed.regions.lower.tolist())
        images.extend([number] * len(mixed.regions))
        blocks.extend(zip(mixed.block_region + first, mixed.block_class, strict=True))
        first += len(mixed.regions)
    assert (len(blocks) > 20) == (min_minority < 1)
    assert band.pixels.tolist() == pixels and band.start[-1] == len(pixels)
    assert band.lower.tolist() == lower and band.image.tolist() == images
    assert list(zip(band.block_region, band.block_class, strict=True)) == blocks
    sizes = np.diff(band.start)[band.block_region]
    np.testing.assert_array_equal(np.diff(band.block_start), sizes)
    assert len(band.values) == sizes.sum()
