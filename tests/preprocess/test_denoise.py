"""Denoisers: closer to the clean phantom, and never another type, range or label."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from skimage.restoration import denoise_bilateral, denoise_nl_means, denoise_tv_chambolle

from softlabel.preprocess import (
    SHIPPED_WEIGHTS,
    STEPS,
    DenoiseOptions,
    apply_dncnn,
    denoise_bscan,
    noise_sigma,
)
from softlabel.preprocess.denoise import DENOISERS

from .cases import case_of, layered
from .networks import small_network

GAIN_DB = {"tv": 7.5, "nlm": 7.5, "bilateral": 5.5}
"""A little less than what they gained on other phantoms, by which their strength was chosen."""


@pytest.mark.parametrize("method", DENOISERS)
def test_the_clean_image_comes_nearer(bscans, method):
    bscan = bscans[0]
    part = np.s_[100:400, 200:500]
    assert not (bscan.image[part] == 255).any()
    noisy, clean = bscan.image[part], bscan.clean[part]
    done = denoise_bscan(noisy, DenoiseOptions(method))
    gain = peak_signal_noise_ratio(clean, done) - peak_signal_noise_ratio(clean, noisy)
    assert gain > GAIN_DB[method]


@pytest.mark.parametrize("method", DENOISERS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
def test_type_and_range_stay(method, dtype):
    rng = np.random.default_rng(0)
    image = (rng.normal(0, 9, (40, 50)) + 80 + 60 * (np.arange(50) > 25)).clip(0, 255).astype(dtype)
    before = image.copy()
    done = denoise_bscan(image, DenoiseOptions(method))
    assert done.dtype == image.dtype and done.shape == image.shape
    assert image.min() <= done.min() and done.max() <= image.max()
    assert done[:, :20].std() < 0.6 * image[:, :20].std()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("method", DENOISERS)
def test_strength_follows_the_noise_and_not_the_scale(method):
    image = np.random.default_rng(0).normal(100, 9, (40, 50))
    scaled = denoise_bscan(1000 * image - 5, DenoiseOptions(method))
    done = denoise_bscan(image, DenoiseOptions(method))
    np.testing.assert_allclose(scaled, 1000 * done - 5, rtol=1e-3)


def test_it_is_scikit_image_that_filters():
    image = np.random.default_rng(0).normal(100, 9, (40, 50)).astype(np.float32)
    sigma, low = noise_sigma(image), image.min()
    by_hand = {
        "tv": denoise_tv_chambolle(image, weight=3.0 * sigma),
        "nlm": denoise_nl_means(image, 5, 6, h=1.2 * sigma, sigma=sigma, fast_mode=True),
        "bilateral": low + denoise_bilateral(image - low, 9, 2.5 * sigma, 2.0, mode="edge"),
    }
    options = {"tv_weight": 3.0, "nlm_h": 1.2, "bilateral_range": 2.5, "bilateral_spatial_px": 2.0}
    for method, expected in by_hand.items():
        done = denoise_bscan(image, DenoiseOptions(method, **options))
        assert np.abs(done - expected.clip(low, image.max())).max() < 0.05 * sigma, method


def test_the_noise_is_measured_where_the_image_means_something():
    rng = np.random.default_rng(0)
    for sigma in (2, 8, 20):
        image = rng.normal(100, sigma, (150, 150)) + np.arange(150)
        assert noise_sigma(image) == pytest.approx(sigma, rel=0.05)
    mask = np.ones(image.shape, bool)
    mask[:40] = False
    image[:40] = rng.integers(0, 2, (40, 150)) * 255
    assert noise_sigma(image, mask) == pytest.approx(20, rel=0.05)
    assert noise_sigma(image) > 25
    assert noise_sigma(image, np.zeros_like(mask)) == 0


def test_an_image_without_noise_is_left_alone():
    image = np.full((20, 20), 7, np.uint8)
    assert denoise_bscan(image) is image


def test_a_case_keeps_its_labels_and_each_bscan_its_own_noise():
    case = layered()
    done, record = STEPS["denoise"].apply(case, DenoiseOptions())
    assert done.labels is case.labels and done.mask is case.mask and done.soft is case.soft
    expected = denoise_bscan(case.image[0], mask=case.mask)
    np.testing.assert_array_equal(done.image[0], expected)
    assert record.settings == {"method": "tv", "tv_weight": DenoiseOptions().tv_weight}
    assert STEPS["denoise"].restore(record, done.labels, "labels") is done.labels
    volume = np.random.default_rng(0).integers(0, 255, (1, 30, 20, 3)).astype(np.uint8)
    case = layered((30, 20, 3), image=volume)
    done, _ = STEPS["denoise"].apply(case, DenoiseOptions("bilateral"))
    alone = denoise_bscan(volume[0, ..., 1], DenoiseOptions("bilateral"), case.mask[..., 1])
    np.testing.assert_array_equal(done.image[0, ..., 1], alone)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bm3d"}, "method must be one of tv, nlm, bilateral, dncnn; got 'bm3d'"),
        ({"method": "dncnn", "weights": "my.safetensors"}, "weights must be the SHA-256 of a file"),
        ({"tv_weight": 0}, "tv_weight must be a positive number"),
        ({"nlm_h": float("inf")}, "nlm_h must be a positive number"),
    ],
)
def test_options(options, message):
    with pytest.raises(ValueError, match=message):
        DenoiseOptions(**options)


@pytest.mark.parametrize("scaling", ["range", "noise"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_the_network_sees_the_image_from_0_in_its_unit(scaling, dtype):
    pytest.importorskip("torch")
    network = small_network(scaling=scaling)
    image = np.random.default_rng(0).normal(100, 9, (40, 50)).astype(dtype)
    done = denoise_bscan(image, DenoiseOptions("dncnn"), network=network)
    assert done.dtype == dtype and done.shape == image.shape
    low, high = float(image.min()), float(image.max())
    unit = high - low if scaling == "range" else noise_sigma(image)
    seen = ((image.astype(np.float64) - low) / unit).astype(np.float32)
    expected = (apply_dncnn(seen, network).astype(np.float64) * unit + low).clip(low, high)
    np.testing.assert_allclose(done, expected, atol=1e-3 if dtype is np.float64 else 0.51)
    scaled = denoise_bscan(1000.0 * image - 5, DenoiseOptions("dncnn"), network=network)
    np.testing.assert_allclose(scaled, 1000 * expected - 5, atol=2)


def test_the_record_of_a_network_names_its_weights():
    pytest.importorskip("torch")
    case, options = layered(), DenoiseOptions("dncnn")
    assert options.weights == SHIPPED_WEIGHTS and DenoiseOptions().weights == ""
    done, record = STEPS["denoise"].apply(case, options, small_network())
    assert done.labels is case.labels
    assert record.settings == {
        "method": "dncnn", "weights": SHIPPED_WEIGHTS, "dncnn_device": "cpu",
    }  # fmt: skip
    with pytest.raises(ValueError, match="the method dncnn needs a network; give one"):
        STEPS["denoise"].apply(case, options)


def test_wedges_that_are_kept_do_not_count_as_noise(bscans):
    bscan = max(bscans, key=lambda b: np.count_nonzero(b.image == 255))
    done, _ = STEPS["denoise"].apply(case_of(bscan), DenoiseOptions())
    assert (done.image[0][bscan.image == 255] > 200).mean() > 0.9
