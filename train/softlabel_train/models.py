"""Segmentation networks by name: any of segmentation-models-pytorch, and MONAI's U-Nets in 3D.

A network made here takes images of any size: it pads them to what the encoder can halve, and
crops its output back. Weights come from nowhere, from ImageNet (a download), or from a file.
"""

from __future__ import annotations

import contextlib
import inspect
import math
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from softlabel.errors import SoftlabelError, UsageError
from softlabel_train.config import ModelConfig
from softlabel_train.dynunet import DeepSupervision, dynunet


class ModelError(SoftlabelError):
    """A network that cannot be made, or weights that do not fit it."""


class AnySize(nn.Module):
    """A network that pads its input to multiples of ``multiple`` and crops its output back.

    Padding repeats the border pixels and is shared between both ends of each axis, so that a
    centred image stays centred.

    Parameters
    ----------
    net : Module
        (B, C, *spatial) → (B, K, *spatial), for spatial sizes that ``multiple`` divides.
    multiple : sequence of int
        One for each spatial axis.
    """

    def __init__(self, net: nn.Module, multiple: Sequence[int]) -> None:
        super().__init__()
        self.net, self.multiple, self.dims = net, tuple(multiple), len(multiple)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, *spatial) of images (B, C, *spatial)."""
        if image.ndim != self.dims + 2:
            raise ValueError(
                f"The network takes {self.dims}D images, (B, C, {'*' * self.dims}); got the shape "
                f"{tuple(image.shape)}."
            )
        spatial = image.shape[2:]
        # at least two pixels are left where the encoder is deepest: one has no variance
        missing = [
            max(-n % m, 2 * m - n) if m > 1 else 0
            for n, m in zip(spatial, self.multiple, strict=True)
        ]
        if not any(missing):
            return self.net(image)
        if self.training and isinstance(self.net, DeepSupervision):
            raise UsageError(
                f"Deep supervision takes patches that the network's strides divide, multiples of "
                f"{list(self.multiple)}; got {list(spatial)}. Set data.crop to such a size."
            )
        before = [m // 2 for m in missing]
        pads = [(b, m - b) for b, m in zip(before, missing, strict=True)]
        # torch wants the last axis first
        flat = [p for pair in reversed(pads) for p in pair]
        logits = self.net(nn.functional.pad(image, flat, mode="replicate"))
        crop = tuple(slice(b, b + n) for b, n in zip(before, spatial, strict=True))
        return logits[(slice(None), slice(None), *crop)]


def build_model(
    architecture: str = "unet",
    encoder: str = "xception",
    *,
    in_channels: int,
    n_classes: int,
    dims: int = 2,
    encoder_weights: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> AnySize:
    """Make a network with ``n_classes`` output channels.

    Parameters
    ----------
    architecture : str
        An architecture of segmentation-models-pytorch (``unet``, ``unetplusplus``, ``fpn``,
        ``deeplabv3plus``, …; 2D) or one of :data:`MONAI_NETWORKS` (2D and 3D).
    encoder : str
        An encoder of segmentation-models-pytorch; MONAI's networks have none of their own.
    in_channels, n_classes, dims : int
        Image channels, classes, and spatial axes of the images.
    encoder_weights : str, path or None
        None or ``"none"``: random. ``"imagenet"``: downloaded by segmentation-models-pytorch.
        Else a file, ``.safetensors`` or a PyTorch state dict, with weights of the encoder or of
        the whole network. Encoder weights for three channels are adapted to any other number.
    options : mapping, optional
        Further keyword arguments of the architecture, such as ``decoder_channels``.

    Returns
    -------
    AnySize

    Raises
    ------
    UsageError
        For a name, option or dimension that the library does not have.
    ModelError
        For weights that cannot be loaded or do not fit.
    """
    weights = None if encoder_weights in (None, "none") else str(encoder_weights)
    if architecture in MONAI_NETWORKS:
        if weights == "imagenet":
            raise UsageError(
                f"The architecture {architecture} has no ImageNet weights; set "
                "model.encoder_weights to none or to a file."
            )
        net = _call(
            architecture, MONAI_NETWORKS[architecture], dims, in_channels, n_classes, options
        )
        if weights is not None:
            _load_whole(net, read_weights(weights), weights)
        return AnySize(net, _divisors(net, dims))

    if dims != 2:
        raise UsageError(
            f"The architecture {architecture} is for 2D images and these have {dims} spatial "
            f"axes; choose model.architecture from {', '.join(MONAI_NETWORKS)}."
        )
    net = _smp_network(architecture, encoder, in_channels, n_classes, weights, options or {})
    # Some decoders resize to odd feature maps instead of refusing them; padding keeps every
    # pixel of the output above the same pixel of the input.
    return AnySize(net, (net.encoder.output_stride,) * 2)


def check_network(config: ModelConfig) -> None:
    """Refuse names and options that the libraries do not have, before anything is computed.

    The network is made without memory for its weights, which takes a fraction of a second. One
    that can be made for images of two or of three axes passes.

    Raises
    ------
    UsageError
    """

    def make(dims: int) -> None:
        # a few networks need real weights to be made; those are judged when they are
        with torch.device("meta"), contextlib.suppress(RuntimeError):
            build_model(
                config.architecture, config.encoder, in_channels=1, n_classes=2, dims=dims,
                options=config.options,
            )  # fmt: skip

    patch = config.options.get("patch")
    if isinstance(patch, list | tuple):  # it tells how many axes there are
        make(2 if len(patch) == 2 else 3)
        return
    try:
        make(2)
    except UsageError:
        if config.architecture not in MONAI_NETWORKS:
            raise
        make(3)


def _monai_unet(dims: int, in_channels: int, n_classes: int, **options: Any) -> nn.Module:
    from monai.networks.nets import UNet

    settings = {"channels": (32, 64, 128, 256, 320), "strides": (2, 2, 2, 2), "num_res_units": 2}
    return UNet(
        spatial_dims=dims,
        in_channels=in_channels,
        out_channels=n_classes,
        **(settings | options),
    )


def _monai_basic_unet(dims: int, in_channels: int, n_classes: int, **options: Any) -> nn.Module:
    from monai.networks.nets import BasicUNet

    return BasicUNet(spatial_dims=dims, in_channels=in_channels, out_channels=n_classes, **options)


MONAI_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "dynunet": dynunet,
    "monai_unet": _monai_unet,
    "monai_basic_unet": _monai_basic_unet,
}
"""Networks for images of 2 or 3 spatial axes; with instance normalisation, so that a prediction
does not depend on what else is in the batch."""


def _divisors(net: nn.Module, dims: int) -> tuple[int, ...]:
    """What the size along each axis is divided by on the way down."""
    strides = getattr(net, "strides", None)
    if strides is None:  # MONAI's BasicUNet has four levels of pooling
        return (16,) * dims
    each = [(s,) * dims if isinstance(s, int) else tuple(s) for s in strides]
    return tuple(math.prod(axis) for axis in zip(*each, strict=True))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a ``.safetensors`` file or from one that ``torch.save`` wrote.

    Nothing but tensors is ever unpickled. A dict that holds one under ``state_dict`` or
    ``model`` is unwrapped.

    Raises
    ------
    ModelError
        When the file is missing, damaged, or holds anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(
            f"The weights {path} do not exist; set model.encoder_weights to none, imagenet, or "
            "the path of a .safetensors file or a PyTorch state dict."
        )
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path, device="cpu")
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every library has exceptions of its own for a damaged file
        if isinstance(error, MemoryError | KeyboardInterrupt):
            raise
        damaged = path.suffix != ".safetensors" and not zipfile.is_zipfile(path)
        raise ModelError(
            f"The weights {path} cannot be read ({_first_line(error)}); expected a .safetensors "
            "file or a PyTorch state dict of tensors only"
            + (" (this file is no zip archive; is it truncated?)." if damaged else ".")
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise ModelError(
            f"The weights {path} hold {type(found).__name__} with other things than tensors; "
            "expected a state dict."
        )
    return {str(name): tensor for name, tensor in found.items()}


def _smp_network(
    architecture: str,
    encoder: str,
    in_channels: int,
    n_classes: int,
    weights: str | None,
    options: Mapping[str, Any],
) -> Any:
    import segmentation_models_pytorch as smp

    if architecture.lower() not in smp.MODEL_ARCHITECTURES_MAPPING:
        known = ", ".join([*smp.MODEL_ARCHITECTURES_MAPPING, *MONAI_NETWORKS])
        raise UsageError(f"There is no architecture {architecture!r}; there are {known}.")
    if encoder not in smp.encoders.encoders and not encoder.startswith("tu-"):
        known = ", ".join(sorted(smp.encoders.encoders))
        raise UsageError(
            f"There is no encoder {encoder!r}; there are {known}, and tu-NAME for those of timm."
        )

    if not encoder.startswith(("tu-", "timm-")):  # those of timm have options of their own
        _refuse_unknown_options(smp.MODEL_ARCHITECTURES_MAPPING[architecture.lower()], options)

    if ":" in encoder:
        raise UsageError(
            f"The encoder {encoder!r} is of a hub, which is not asked; give a name of timm, and "
            "weights as a file in model.encoder_weights."
        )

    def make(channels: int, downloaded: str | None = None) -> Any:
        def create(_dims: int, c: int, k: int, **rest: Any) -> nn.Module:
            return smp.create_model(
                architecture, encoder, encoder_weights=downloaded, in_channels=c, classes=k, **rest
            )

        return _call(f"{architecture} with {encoder}", create, 2, channels, n_classes, options)

    if weights is None:
        return make(in_channels)
    if weights == "imagenet":
        return _downloaded(lambda: make(in_channels, "imagenet"), encoder)
    state = read_weights(weights)
    whole = _without_prefix(state, "net.")  # of a network that build_model made
    if any(name.startswith("segmentation_head.") for name in whole):
        net = make(in_channels)
        _load_whole(net, whole, weights)
        return net
    return _with_encoder_weights(make, in_channels, _without_prefix(whole, "encoder."), weights)


def _refuse_unknown_options(network: type[nn.Module], options: Mapping[str, Any]) -> None:
    """The library ignores what it does not know; a misspelt option must not pass."""
    taken = {"encoder_name", "encoder_weights", "in_channels", "classes"}
    taken |= {"activation", "aux_params"}  # the loss wants logits, and nothing besides
    parameters = inspect.signature(network).parameters.values()
    known = [p.name for p in parameters if p.kind != p.VAR_KEYWORD and p.name not in taken]
    for name in options:
        if name not in known:
            raise UsageError(
                f"model.options has {name!r}, which {network.__name__} does not know; it knows "
                f"{', '.join(known)}."
            )


def _with_encoder_weights(
    make: Callable[[int], Any], in_channels: int, state: dict[str, Tensor], source: str
) -> Any:
    """A network whose encoder holds ``state``; weights for RGB are adapted to other channels."""
    net = make(in_channels)
    state = {name: t for name, t in state.items() if name in net.encoder.state_dict()}
    if _mismatches(net.encoder, state) and in_channels != 3:
        net = make(3)
    if problems := _mismatches(net.encoder, state):
        raise ModelError(
            f"The weights {source} do not fit the encoder: {problems[0]}"
            + (f", and {len(problems) - 1} more" if len(problems) > 1 else "")
            + ". Give weights of the encoder that model.encoder names."
        )
    net.encoder.load_state_dict(dict(state))
    if net.encoder._in_channels != in_channels:
        net.encoder.set_in_channels(in_channels, pretrained=True)
    return net


def _load_whole(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    state = _without_prefix(state, "net.")
    if problems := _mismatches(net, state):
        raise ModelError(
            f"The weights {source} do not fit the network: {problems[0]}"
            + (f", and {len(problems) - 1} more" if len(problems) > 1 else "")
            + ". They are of another architecture, or of other numbers of channels or classes."
        )
    net.load_state_dict(dict(state))


def _mismatches(net: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """What keeps ``state`` from being loaded, one phrase a tensor."""
    own = net.state_dict()
    problems = [f"{name} is missing" for name in own if name not in state]
    problems += [f"{name} is not part of it" for name in state if name not in own]
    problems += [
        f"{name} has the shape {tuple(t.shape)}, expected {tuple(own[name].shape)}"
        for name, t in state.items()
        if name in own and own[name].shape != t.shape
    ]
    return problems


def _without_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    if not any(name.startswith(prefix) for name in state):
        return dict(state)
    return {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}


def _downloaded(make: Callable[[], nn.Module], encoder: str) -> nn.Module:
    try:
        return make()
    except UsageError:
        raise
    except Exception as error:  # the hub's client and timm raise errors of many kinds
        raise ModelError(
            f"The ImageNet weights of {encoder} could not be had ({_first_line(error)}). Set "
            "model.encoder_weights to none, or to a file of weights fetched elsewhere."
        ) from error


def _call(
    what: str,
    function: Callable[..., nn.Module],
    dims: int,
    in_channels: int,
    n_classes: int,
    options: Mapping[str, Any] | None,
) -> nn.Module:
    """Make a network; turn its complaint about an option into a sentence."""
    try:
        return function(dims, in_channels, n_classes, **dict(options or {}))
    except (TypeError, ValueError, AssertionError) as error:
        raise UsageError(
            f"The network {what} cannot be made with model.options {dict(options or {})}: "
            f"{_first_line(error)}."
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
