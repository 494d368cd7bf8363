"""The network is what SciPy computes of its weights, whatever the tiles and the threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from softlabel.errors import MissingExtraError
from softlabel.preprocess import DnCNN, DnCNNSettings, apply_dncnn
from softlabel.preprocess import dncnn as module

from .networks import small_network

torch = pytest.importorskip("torch")

IMAGE = np.random.default_rng(1).random((53, 71), dtype=np.float32)


def by_scipy(image, network):
    """x − the convolutions of x, in float64."""
    maps = [image.astype(np.float64)]
    for number, (kernel, bias) in enumerate(network.layers):
        maps = [
            sum(ndimage.correlate(m, k.astype(np.float64), mode="constant") for m, k in
                zip(maps, kernels, strict=True)) + shift
            for kernels, shift in zip(kernel, bias, strict=True)
        ]  # fmt: skip
        if number < len(network.layers) - 1:
            maps = [np.maximum(m, 0) for m in maps]
    return image - maps[0]


def test_it_is_the_image_without_what_the_convolutions_find():
    network = small_network()
    found = apply_dncnn(IMAGE, network)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_scipy(IMAGE, network), atol=1e-5)
    assert np.abs(found - IMAGE).max() > 0.1


@pytest.mark.parametrize("tile_px", [7, 16, 50])
def test_tiles_do_not_show(tile_px):
    network = small_network(depth=6)
    whole = apply_dncnn(IMAGE, network, tile_px=100)
    np.testing.assert_allclose(apply_dncnn(IMAGE, network, tile_px=tile_px), whole, atol=2e-6)


def test_a_pixel_looks_as_far_as_the_settings_say():
    network = small_network(depth=5)
    changed = IMAGE.copy()
    changed[25, 35] += 1
    rows, columns = np.nonzero(apply_dncnn(changed, network) != apply_dncnn(IMAGE, network))
    reach = network.settings.reach_px
    assert reach == 5 == max(np.abs(rows - 25).max(), np.abs(columns - 35).max())


@pytest.mark.parametrize("threads", [1, 2])
def test_the_bytes_do_not_depend_on_the_threads(threads):
    network = small_network(depth=8, channels=16)
    image = np.random.default_rng(2).random((300, 280), dtype=np.float32)
    before = torch.get_num_threads()
    seen = []
    conv2d = torch.nn.functional.conv2d

    def watched(*arguments, **options):
        seen.append(torch.get_num_threads())
        return conv2d(*arguments, **options)

    try:
        torch.set_num_threads(1)
        expected = apply_dncnn(image, network)
        torch.set_num_threads(threads)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.nn.functional, "conv2d", watched)
            found = apply_dncnn(image, network)
        assert torch.get_num_threads() == threads
        with pytest.raises(ValueError, match="torch cannot use the device 'nowhere'"):
            apply_dncnn(image, network, "nowhere")
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}
    assert found.tobytes() == expected.tobytes()


def test_without_torch_a_sentence_names_the_extra(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"dncnn needs torch, .*pip install '\.\[dncnn\]'"):
        apply_dncnn(IMAGE, small_network())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 2}, "depth must be 3 to 64; got 2"),
        ({"depth": 65}, "depth must be 3 to 64; got 65"),
        ({"channels": 0}, "channels must be 1 to 512; got 0"),
        ({"noise_level": 0.0}, "noise_level must be positive or None; got 0.0"),
        ({"noise_level": float("nan")}, "noise_level must be positive or None; got nan"),
        ({"scaling": "grey"}, "scaling must be one of noise, range; got 'grey'"),
        ({"depth": "8"}, "depth must be an integer; got '8'"),
    ],
)
def test_networks_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        DnCNNSettings(**options)


def test_weights_of_another_network():
    network = small_network()
    settings, layers = network.settings, network.layers
    with pytest.raises(ValueError, match="has 3 convolutions, its settings say 4"):
        DnCNN(settings, layers[:3])
    with pytest.raises(ValueError, match=r"convolution 0 .* settings say float32 \(6, 1, 3, 3\)"):
        DnCNN(replace(settings, channels=6), layers)
    kernel, bias = layers[1]
    with pytest.raises(ValueError, match="convolution 1 has a kernel float64"):
        DnCNN(settings, (layers[0], (kernel.astype(np.float64), bias), *layers[2:]))
    with pytest.raises(ValueError, match="convolution 1 has weights that are no finite numbers"):
        DnCNN(settings, (layers[0], (kernel, bias * np.inf), *layers[2:]))
