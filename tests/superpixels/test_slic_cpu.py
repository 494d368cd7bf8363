"""SLIC kernels: the labels of scikit-image, to the last pixel."""

import importlib
import os
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import segmentation

from softlabel.superpixels import slic_cpu
from softlabel.superpixels.slic_cpu import slic_labels

SPACINGS = (1.0, 1.0, 0.3, 2.5, 3.0)


def reference(image, n_segments, compactness, sigma, spacing, max_num_iter, connected=True):
    return segmentation.slic(
        image,
        n_segments=n_segments,
        compactness=compactness,
        max_num_iter=max_num_iter,
        sigma=sigma,
        spacing=spacing,
        convert2lab=False,
        enforce_connectivity=connected,
        start_label=0,
        channel_axis=0,
    )


def assert_identical(image, *arguments):
    expected = reference(image, *arguments)
    found = slic_labels(image, *arguments)
    assert found.dtype == np.int32
    assert found.shape == image.shape[1:]
    np.testing.assert_array_equal(found, expected)


def make_image(kind, n_channels, spatial, seed):
    rng = np.random.default_rng(seed)
    shape = (n_channels, *spatial)
    if kind == "noise":
        values = rng.standard_normal(shape) * 10.0 ** rng.integers(-6, 6)
    elif kind == "smooth":
        values = ndimage.gaussian_filter(rng.random(shape), (0, *(2.0,) * len(spatial)))
    elif kind == "speckle":
        values = rng.gamma(1.0, 1.0, shape) ** 2
    elif kind == "constant":
        values = np.full(shape, rng.normal())
    elif kind == "quantised":
        values = rng.integers(0, 3, shape)
    else:  # a staircase: every distance has its equals
        values = np.add.outer(np.arange(n_channels), np.indices(spatial).sum(axis=0) // 3)
    return np.asarray(values, np.float32)


KINDS = ("noise", "smooth", "speckle", "constant", "quantised", "staircase")

planes = st.tuples(st.integers(1, 48), st.integers(1, 48))
lines = st.one_of(
    st.tuples(st.just(1), st.integers(1, 300)), st.tuples(st.integers(1, 300), st.just(1))
)
volumes = st.tuples(st.integers(1, 18), st.integers(1, 18), st.integers(1, 18))


@settings(max_examples=3 * settings.default.max_examples)
@given(st.data())
def test_labels_are_those_of_scikit_image(data):
    spatial = data.draw(st.one_of(planes, volumes, lines), "shape")
    n_channels = data.draw(st.integers(1, 4), "channels")
    kind = data.draw(st.sampled_from(KINDS), "kind")
    image = make_image(kind, n_channels, spatial, data.draw(st.integers(0, 2**32 - 1), "seed"))
    n_pixels = int(np.prod(spatial))
    assert_identical(
        image,
        data.draw(st.one_of(st.integers(1, 30), st.integers(1, 2 * n_pixels)), "n_segments"),
        data.draw(st.sampled_from((0.01, 0.1, 0.3, 1.0, 10.0, 100.0)), "compactness"),
        data.draw(st.sampled_from((0.0, 0.7, 1.0, 2.0)), "sigma"),
        tuple(data.draw(st.sampled_from(SPACINGS), "spacing") for _ in spatial),
        data.draw(st.sampled_from((0, 1, 2, 5, 10)), "max_num_iter"),
        data.draw(st.booleans(), "connected"),
    )


def speckled_scan(height, width):
    """Layers of a retina with multiplicative noise."""
    rng = np.random.default_rng(3)
    rows, columns = np.arange(height)[:, None], np.arange(width)
    layers = np.full((height, width), 0.4)
    for i in range(9):
        border = height * (0.15 + 0.07 * i) + 9 * np.sin(columns / 80 + i)
        layers += np.where(rows > border, rng.uniform(-0.2, 0.2), 0)
    return (np.clip(layers, 0.05, 1) * rng.gamma(4.0, 0.25, layers.shape)).astype(np.float32)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
@pytest.mark.parametrize("connected", [True, False])
def test_identical_on_a_speckled_scan(sigma, connected):
    scan = speckled_scan(496, 768)[None]
    assert_identical(scan, 2000, 0.1, sigma, (1.0, 1.0), 10, connected)


@pytest.mark.parametrize("compactness", [0.01, 0.1, 3.0])
def test_identical_on_a_volume_of_three_channels(compactness):
    image = make_image("noise", 3, (60, 60, 24), 5)
    image += 40 * image.std() * make_image("smooth", 3, (60, 60, 24), 6)
    assert_identical(image, 120, compactness, 1.0, (1.0, 1.0, 3.0), 10)


def test_identical_where_sums_of_positions_are_inexact():
    """Few superpixels in a long image: positions sum to more than a float32 holds exactly."""
    image = make_image("smooth", 1, (24, 9000), 0)
    assert_identical(image, 2, 1.0, 0.0, (1.0, 1.0), 4, False)


def test_identical_when_centres_lose_all_their_pixels():
    image = make_image("speckle", 1, (40, 40), 1)
    arguments = (400, 0.01, 0.0, (1.0, 1.0), 10, False)
    assert len(np.unique(slic_labels(image, *arguments))) < 400
    assert_identical(image, *arguments)


def real_scans():
    folder = Path(
        os.environ.get("SOFTLABEL_REAL_DATA", Path(__file__).parents[2] / "shared" / "data")
    )
    return sorted(folder.rglob("*.nii.gz"))[:2] if folder.is_dir() else []


@pytest.mark.parametrize("path", real_scans(), ids=lambda p: p.name)
def test_identical_on_real_scans(path):
    import nibabel

    scan = nibabel.load(path)
    volume = np.asarray(scan.dataobj[..., :64], np.float32)
    volume = volume[tuple(slice(n // 4, n // 4 + 96) for n in volume.shape)]
    spacing = tuple(float(z) for z in scan.header.get_zooms()[: volume.ndim])
    assert_identical(volume[None], max(1, volume.size // 1000), 0.1, 1.0, spacing, 10)


def test_input_is_left_alone_and_strided_input_is_read_right():
    image = make_image("noise", 2, (30, 44), 2)
    before = image.copy()
    expected = slic_labels(image, 20, 0.1, 1.0, (1.0, 1.0), 10)
    np.testing.assert_array_equal(image, before)
    strided = np.asfortranarray(image)
    np.testing.assert_array_equal(slic_labels(strided, 20, 0.1, 1.0, (1.0, 1.0), 10), expected)
    image.flags.writeable = False
    np.testing.assert_array_equal(slic_labels(image, 20, 0.1, 1.0, (1.0, 1.0), 10), expected)


def test_overflowing_distances_leave_pixels_with_their_seed():
    image = make_image("noise", 1, (12, 12), 0)
    labels = slic_labels(image, 4, 1e-30, 0.0, (1.0, 1.0), 3, False)
    assert set(np.unique(labels)) <= {0, 1, 2, 3}


def test_more_centres_than_float32_numbers_go_to_scikit_image(monkeypatch):
    monkeypatch.setattr(slic_cpu, "MAX_CENTRES", 3)
    assert_identical(make_image("smooth", 2, (20, 30), 0), 12, 0.1, 1.0, (1.0, 2.0), 5)


@pytest.fixture
def interpreted(monkeypatch):
    """The kernels as plain Python, so that coverage sees what is otherwise compiled."""
    monkeypatch.setattr(numba.config, "DISABLE_JIT", True)
    names = ["slic_cpu", "slic_kmeans", "slic_smoothing", "slic_connectivity"]
    room = sys.modules["softlabel.superpixels"]
    for name in names:
        # Both places that hold a module, so that the compiled ones come back afterwards.
        monkeypatch.setattr(room, name, sys.modules[f"{room.__name__}.{name}"])
        monkeypatch.delitem(sys.modules, f"{room.__name__}.{name}")
    return importlib.import_module("softlabel.superpixels.slic_cpu").slic_labels


@pytest.mark.parametrize(
    ("kind", "n_channels", "spatial", "n_segments", "compactness", "sigma"),
    [
        ("noise", 1, (17, 21), 12, 0.1, 0.0),
        ("smooth", 1, (16, 24), 9, 0.1, 1.0),
        ("quantised", 2, (6, 9, 10), 8, 0.3, 0.7),
        ("speckle", 3, (4, 8, 9), 20, 0.01, 0.0),
        ("constant", 1, (3, 40), 200, 1.0, 0.0),
    ],
)
def test_identical_without_compilation(
    interpreted, kind, n_channels, spatial, n_segments, compactness, sigma
):
    image = make_image(kind, n_channels, spatial, 0)
    spacing = (1.0, 1.0, 3.0)[-len(spatial) :]
    arguments = (image, n_segments, compactness, sigma, spacing, 4)
    np.testing.assert_array_equal(interpreted(*arguments), reference(*arguments))


def test_inexact_sums_without_compilation(interpreted, monkeypatch):
    """The slow path for large sums, entered by calling nearly every sum inexact."""
    monkeypatch.setattr(sys.modules["softlabel.superpixels.slic_kmeans"], "_EXACT", 30)
    image = make_image("smooth", 1, (9, 14), 0)
    arguments = (image, 4, 0.1, 0.0, (1.0, 1.0), 3)
    np.testing.assert_array_equal(interpreted(*arguments), reference(*arguments))
