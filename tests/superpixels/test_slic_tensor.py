"""SLIC as tensor code: beside the CPU's labels, repeatable, and as good."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel.device import DoesNotFit  # noqa: E402
from softlabel.superpixels import slic_tensor  # noqa: E402
from softlabel.superpixels.front import slic  # noqa: E402
from softlabel.superpixels.quality import (  # noqa: E402
    achievable_accuracy,
    boundary_recall,
    undersegmentation_error,
)
from softlabel.superpixels.slic_tensor import k_means, slic_on_device, smoothed  # noqa: E402

CPU = torch.device("cpu")


def scene(shape, channels=1, seed=0):
    """A noisy image (C, *shape) of smooth blobs, and their label map."""
    rng = np.random.default_rng(seed)
    labels = (ndimage.gaussian_filter(rng.normal(size=shape), 5) * 60).round().clip(-1, 1) + 1
    image = labels + rng.normal(0, 0.35, (channels, *shape))
    return image.astype(np.float32), labels.astype(int)


def on_device(image, n_segments=60, compactness=0.1, sigma=1.0, spacing=None, rounds=10, **kwargs):
    spacing = spacing or (1.0,) * (image.ndim - 1)
    return slic_on_device(image, n_segments, compactness, sigma, spacing, rounds, CPU, **kwargs)


CASES = {
    "plane": (((60, 72), 1), {}),
    "two channels": (((40, 48), 2), {"n_segments": 25}),
    "volume": (((10, 24, 28), 1), {"n_segments": 40}),
    "thick slices": (((24, 28, 6), 1), {"n_segments": 40, "spacing": (1.0, 1.0, 3.0)}),
    "one round": (((40, 48), 1), {"rounds": 1}),
    "no smoothing": (((40, 48), 1), {"sigma": 0.0}),
    "compact": (((40, 48), 1), {"compactness": 1.0}),
}


@pytest.mark.parametrize("name", CASES)
def test_nearly_the_labels_of_the_cpu(name):
    """Centres differ in the last bits only, so that few pixels change their superpixel."""
    shape, kwargs = CASES[name]
    image, _ = scene(*shape)
    kwargs = {"n_segments": 60, "compactness": 0.1, "sigma": 1.0, "rounds": 10, **kwargs}
    spacing = kwargs.pop("spacing", None)
    found = on_device(image, spacing=spacing, **kwargs)
    expected = slic(
        image, kwargs["n_segments"], kwargs["compactness"], kwargs["sigma"], spacing=spacing,
        channel_axis=0, max_num_iter=kwargs["rounds"],
    )  # fmt: skip
    assert found.dtype == np.int32 and found.shape == expected.shape
    np.testing.assert_array_equal(np.unique(found), np.arange(found.max() + 1))
    assert abs(int(found.max()) - int(expected.max())) <= 2
    # the same partition apart from few pixels: each superpixel has one partner
    matched = achievable_accuracy(expected, found).overall
    assert matched > 0.97


def test_as_good_as_the_cpus():
    image, labels = scene((96, 112))
    quality = []
    for ids in (on_device(image, 150), slic(image, 150, channel_axis=0)):
        accuracy = achievable_accuracy(labels, ids)
        quality.append([
            boundary_recall(labels, ids).over_chance, undersegmentation_error(labels, ids),
            accuracy.overall, *accuracy.recall.values(),
        ])  # fmt: skip
    np.testing.assert_allclose(*quality, atol=0.02)


def test_the_same_on_every_run_and_in_pieces(monkeypatch):
    image, _ = scene((48, 56))
    first = on_device(image)
    np.testing.assert_array_equal(on_device(image), first)
    memory = slic_tensor.PIXEL_BYTES * image.size  # few centres at a time
    np.testing.assert_array_equal(on_device(image, memory=memory), first)


def test_sums_do_not_depend_on_their_order():
    """Fixed point: pixels of one superpixel may be added in any order."""
    values = torch.rand(5000, dtype=torch.float64)
    fixed = torch.round(values * slic_tensor.FIXED_POINT).to(torch.int64)
    labels = torch.zeros(5000, dtype=torch.int64)
    order = torch.randperm(5000)
    one = slic_tensor._moved(labels, fixed[None], 1, 10.0, (1, 1, 5000))[1]
    other = slic_tensor._moved(labels, fixed[None, order], 1, 10.0, (1, 1, 5000))[1]
    assert torch.equal(one, other)
    assert one.item() == pytest.approx(10 * values.mean().item(), rel=1e-6)


@pytest.mark.parametrize("sigma", [(0.0, 1.0, 2.0), (0.7, 0.0, 3.1), (2.0, 2.0, 0.2)])
def test_smoothing_is_scipys(sigma):
    volume = np.random.default_rng(0).normal(size=(2, 5, 9, 14)).astype(np.float32)
    found = smoothed(torch.from_numpy(volume), np.array(sigma)).numpy()
    expected = [ndimage.gaussian_filter(channel, sigma, mode="reflect") for channel in volume]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_pixel_that_no_centre_reaches_stays_with_the_seed():
    """Distances that overflow are no distances."""
    volume = torch.tensor([[[[0.0, 0.0, 1.0, 1.0]]]])
    axes = [np.array([0]), np.array([0]), np.array([0, 3])]
    voxel = np.ones(3, np.float32)
    with np.errstate(over="ignore"):
        labels = k_means(volume, axes, 2, 1e-30, voxel, 1, 1000)
    assert labels.tolist() == [[[0, 0, 1, 1]]]


def test_the_front_chooses_by_device(monkeypatch):
    image, _ = scene((40, 48))
    found = slic(image, 60, channel_axis=0, device="torch-cpu")
    np.testing.assert_array_equal(found, on_device(image))
    monkeypatch.setattr(slic_tensor, "memory_budget", lambda device: 1000)  # falls back
    np.testing.assert_array_equal(slic(image, 60, channel_axis=0, device="torch-cpu"), found)
    with pytest.raises(ValueError, match=r"Masked SLIC runs on the CPU only.*device='torch-cpu'"):
        slic(image[0], mask=image[0] > 0, device="torch-cpu")
    with pytest.raises(ValueError, match=r"device must be named for slic.*got 'auto'"):
        slic(image[0], device="auto")


def test_a_constant_image():
    found = on_device(np.full((1, 20, 20), 7, np.float32), 4)
    assert len(np.unique(found)) == 4


def test_an_image_that_does_not_fit():
    image, _ = scene((40, 48))
    with pytest.raises(DoesNotFit, match="superpixels of an image of 1920 values need"):
        on_device(image, memory=1000)
