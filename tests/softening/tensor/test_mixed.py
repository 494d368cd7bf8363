"""Mixed superpixels and their boxes in tensor code, against a few lines of NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from scenes import scenes

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel.softening.tensor.mixed import boxes, number_mixed  # noqa: E402

IGNORED = 255


def batch_of(scene):
    """Class indices and ids of an image and its mirror image, as volumes."""
    index = np.searchsorted(scene.classes, scene.labels).astype(np.uint8)
    if scene.ignore is not None:
        index[scene.labels == scene.ignore] = IGNORED
    shape = (2, *(1,) * (3 - index.ndim), *index.shape)
    return tuple(
        np.stack([array, np.flip(array)]).reshape(shape) for array in (index, scene.superpixels)
    )


def expected(index, ids):
    """The number of every pixel's superpixel, counted where it is mixed; boxes and images."""
    numbers, found = np.full(ids.shape, -1), []
    for image, (classes, superpixels) in enumerate(zip(index, ids, strict=True)):
        for s in np.unique(superpixels[superpixels >= 0]):
            here = superpixels == s
            if len(set(classes[here].tolist()) - {IGNORED}) > 1:
                numbers[image][here] = len(found)
                corners = np.argwhere(here)
                found.append((corners.min(0).tolist(), (corners.max(0) + 1).tolist(), image))
    return numbers, found


@given(scene=scenes())
def test_superpixels_with_two_known_classes_are_numbered_and_boxed(scene):
    index, ids = batch_of(scene)
    wanted, wanted_boxes = expected(index, ids)
    found = number_mixed(
        torch.from_numpy(index), IGNORED, torch.from_numpy(ids), int(ids.max(initial=0)) + 1
    )
    assert found.dtype == torch.int32
    np.testing.assert_array_equal(found, wanted)
    pixels = torch.nonzero(found.view(-1) >= 0).squeeze(1)
    region = found.view(-1)[pixels]
    lower, upper, image = boxes(pixels, region, len(wanted_boxes), torch.Size(index.shape))
    assert list(zip(lower.tolist(), upper.tolist(), image.tolist(), strict=True)) == wanted_boxes
