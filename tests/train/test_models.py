"""Networks by name, any image size, weights from files."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import save_file
from softlabel_train import models
from softlabel_train.config import ModelConfig
from softlabel_train.models import (
    AnySize,
    ModelError,
    build_model,
    check_network,
    read_weights,
)

from softlabel.errors import UsageError

SMALL = {"encoder": "mobilenet_v2", "in_channels": 1, "n_classes": 4}


def test_the_default_is_a_unet_with_xception():
    model = build_model(in_channels=1, n_classes=10)
    assert type(model.net).__name__ == "Unet"
    assert type(model.net.encoder).__name__ == "XceptionEncoder"
    assert model.multiple == (32, 32)
    with torch.no_grad():
        assert model.eval()(torch.zeros(1, 1, 33, 50)).shape == (1, 10, 33, 50)


@pytest.mark.parametrize("architecture", ["unetplusplus", "fpn", "deeplabv3plus", "linknet"])
def test_any_architecture_takes_any_size(architecture):
    model = build_model(architecture, **SMALL).eval()
    for size in [(64, 64), (70, 45)]:
        with torch.no_grad():
            assert model(torch.zeros(1, 1, *size)).shape == (1, 4, *size)


@pytest.mark.parametrize("architecture", list(models.MONAI_NETWORKS))
@pytest.mark.parametrize("size", [(40, 33), (16, 20, 18)])
def test_monai_networks_in_two_and_three_dimensions(architecture, size):
    small = {
        "dynunet": {"filters": (4, 8, 8, 8, 8)},
        "monai_unet": {"channels": (4, 8, 8, 8, 8)},
        "monai_basic_unet": {"features": (4, 4, 8, 8, 8, 4)},
    }[architecture]
    model = build_model(
        architecture, in_channels=2, n_classes=3, dims=len(size), options=small
    ).eval()
    with torch.no_grad():
        assert model(torch.zeros(1, 2, *size)).shape == (1, 3, *size)


def test_padding_repeats_the_border_and_is_cropped_back():
    seen = []

    class Identity(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return x

    image = torch.arange(2 * 5 * 6.0).view(1, 2, 5, 6)
    model = AnySize(Identity(), (4, 4))
    assert torch.equal(model(image), image)
    assert seen[0].shape == (1, 2, 8, 8)
    assert torch.equal(seen[0][0, :, 0, 1:7], image[0, :, 0]) and torch.equal(
        seen[0][0, :, 1:6, 7], image[0, :, :, 5]
    )
    with pytest.raises(ValueError, match="2D images"):
        model(image[0])


def test_an_image_that_fits_is_not_padded():
    model = build_model(**SMALL).eval()
    image = torch.randn(1, 1, 64, 96)
    with torch.no_grad():
        assert torch.equal(model(image), model.net(image))


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("prefix", ["", "encoder."])
def test_encoder_weights_from_a_file(tmp_path, suffix, prefix):
    torch.manual_seed(1)
    source = build_model(**SMALL).net.encoder.state_dict()
    path = tmp_path / f"weights{suffix}"
    state = {prefix + name: tensor for name, tensor in source.items()}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    loaded = build_model(**SMALL, encoder_weights=path).net.encoder.state_dict()
    assert all(torch.equal(loaded[name], source[name]) for name in source)


def test_weights_for_rgb_are_adapted_to_the_channels(tmp_path):
    rgb = build_model(**SMALL | {"in_channels": 3}).net.encoder.state_dict()
    first = next(name for name, t in rgb.items() if t.ndim == 4)
    torch.save(rgb, tmp_path / "rgb.pt")
    grey = build_model(**SMALL, encoder_weights=tmp_path / "rgb.pt").net.encoder.state_dict()
    torch.testing.assert_close(grey[first], rgb[first].sum(1, keepdim=True))
    last = list(rgb)[-10]
    assert torch.equal(grey[last], rgb[last])


def test_weights_of_a_whole_network(tmp_path):
    source = build_model(**SMALL)
    torch.save({"state_dict": source.state_dict()}, tmp_path / "whole.pt")
    loaded = build_model(**SMALL, encoder_weights=tmp_path / "whole.pt")
    for a, b in zip(source.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(ModelError, match=r"shape \(4, .*expected \(5, "):
        build_model(**SMALL | {"n_classes": 5}, encoder_weights=tmp_path / "whole.pt")


def test_weights_of_another_encoder_are_refused(tmp_path):
    other = build_model(**SMALL | {"encoder": "resnet18"}).net.encoder.state_dict()
    torch.save(other, tmp_path / "other.pt")
    with pytest.raises(ModelError, match=r"other\.pt do not fit the encoder: .* is missing, and"):
        build_model(**SMALL, encoder_weights=tmp_path / "other.pt")


def test_nothing_is_unpickled(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(tmp_path / "evil.pt")
    assert not (tmp_path / "written").exists()


def test_damaged_missing_and_foreign_files_are_named(tmp_path):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:500])
    with pytest.raises(ModelError, match=r"cut\.pt cannot be read .*truncated"):
        read_weights(tmp_path / "cut.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(ModelError, match=r"cut\.safetensors cannot be read"):
        read_weights(tmp_path / "cut.safetensors")
    with pytest.raises(ModelError, match="do not exist"):
        read_weights(tmp_path / "none.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ModelError, match="expected a state dict"):
        read_weights(tmp_path / "list.pt")


@pytest.mark.parametrize("change, what", [
    ({"architecture": "vnet"}, "no architecture 'vnet'; there are unet"),
    ({"encoder": "vgg99"}, "no encoder 'vgg99'"),
    ({"encoder": "tu-hf-hub:someone/something"}, "is of a hub, which is not asked"),
    ({"dims": 3}, "2D images .* 3 spatial axes; choose .*monai_unet"),
    ({"options": {"depth": 3}}, "'depth', which Unet does not know; it knows encoder_depth"),
    ({"options": {"activation": "softmax"}}, "'activation', which Unet does not know"),
    ({"options": {"decoder_channels": [8, 8]}}, r"model.options \{'decoder_channels': \[8, 8\]\}"),
    ({"architecture": "monai_unet", "encoder_weights": "imagenet"}, "no ImageNet weights"),
])  # fmt: skip
def test_names_what_cannot_be_made(change, what):
    with pytest.raises(UsageError, match=what):
        build_model(**{**SMALL, **change})


def test_an_impossible_download_says_what_to_do(monkeypatch):
    import segmentation_models_pytorch as smp

    def offline(*_args, **_options):
        raise OSError("no network\nlong story")

    monkeypatch.setattr(smp, "create_model", offline)
    with pytest.raises(ModelError, match=r"\(no network\)\. Set model\.encoder_weights to none"):
        build_model(**SMALL, encoder_weights="imagenet")


@pytest.mark.parametrize("wrong, what", [
    ({"architecture": "unett"}, "no architecture 'unett'"),
    ({"encoder": "xceptoin"}, "no encoder 'xceptoin'"),
    ({"options": {"decoder_chanels": [8]}}, "decoder_chanels"),
])  # fmt: skip
def test_names_are_checked_before_anything_is_computed(wrong, what):
    with pytest.raises(UsageError, match=what):
        check_network(ModelConfig(**wrong))


def test_sound_networks_pass_the_check():
    check_network(ModelConfig())
    check_network(ModelConfig(architecture="monai_unet"))
    # made of real weights only
    check_network(ModelConfig(architecture="segformer", encoder="mit_b0"))
    # for volumes only
    check_network(ModelConfig(architecture="monai_unet", options={"kernel_size": [3, 3, 3]}))


@pytest.mark.parametrize("strides, size", [((2,) * 5, (80, 70)), ((4, 2), (33, 21))])
def test_monai_networks_pad_by_their_strides(strides, size):
    options = {"channels": [2] * (len(strides) + 1), "strides": strides}
    model = build_model("monai_unet", in_channels=1, n_classes=2, options=options)
    assert model.multiple == (math.prod(strides),) * 2
    assert model(torch.zeros(1, 1, *size)).shape == (1, 2, *size)


def test_thin_volumes_are_not_padded_along_axes_that_are_not_halved():
    options = {"channels": (2, 2, 2), "strides": ((2, 2, 1), (2, 2, 2))}
    model = build_model("monai_unet", in_channels=1, n_classes=2, dims=3, options=options)
    assert model.multiple == (4, 4, 2)
    seen = []
    model.net.register_forward_pre_hook(lambda net, given: seen.append(given[0].shape[2:]))
    assert model(torch.zeros(1, 1, 10, 8, 4)).shape == (1, 2, 10, 8, 4)
    assert seen == [(12, 8, 4)]


def test_a_patch_tells_how_many_axes_the_images_have():
    check_network(ModelConfig(architecture="dynunet", options={"patch": [64, 64, 32]}))
    for options, reason in (
        ({"patch": [8, 8]}, "8×8 is too small"),
        ({"patch": [8, 8, 8]}, "8×8×8 is too small"),
        ({"patch": [64]}, "patch must be 3 numbers"),
        ({"patch": 64}, "patch must be 3 numbers"),
        ({"patch": [-4, 64]}, "patch must be positive whole numbers"),
        ({"patch": [64, 64], "spacing_mm": [1, 1, 1]}, "spacing_mm must be 2 numbers"),
        ({"patch": [64, 64], "spacing_mm": [0, 1]}, "spacing_mm must be positive numbers"),
    ):
        with pytest.raises(UsageError, match=reason):
            check_network(ModelConfig(architecture="dynunet", options=options))
