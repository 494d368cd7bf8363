"""Noise out of B-scans: total variation, non-local means, a bilateral filter, or a DnCNN.

The first three are scikit-image's; the strength of each is a multiple of the image's own noise, so
that one setting fits 8 bits and 16, and weak as well as strong speckle. Labels stay as they are,
and noise does not come back.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.background import as_dtype
from softlabel.preprocess.bscans import axes_of
from softlabel.preprocess.dncnn import DnCNN, apply_dncnn
from softlabel.preprocess.record import Record
from softlabel.types import Array, Case

NLM_PATCH_PX, NLM_DISTANCE_PX = 5, 6
"""Side of the patches that non-local means compares, and how far it looks for them."""

DNCNN = "dncnn"
METHODS = ("tv", "nlm", "bilateral", DNCNN)

SHIPPED_WEIGHTS = "3a6d8b4aa57767523118724da0cd40ca442c595d2d14a39e54d076f57c51da07"
"""SHA-256 of the file of weights that comes with softlabel."""


def _of(method: str, default: float | str, help: str, **further: Any) -> Any:
    """An option of one method, idle beside the others."""

    def idle(options: Any) -> str:
        return "" if options.method == method else f"denoise={options.method}"

    return field(default=default, metadata={"help": help, "idle": idle, **further})


@dataclass(frozen=True)
class DenoiseOptions:
    """Options of the step. Defaults are those of the best PSNR on phantoms of the seeds 1000 to
    1007 (``docs/methods.md``).

    Attributes
    ----------
    method : {"tv", "nlm", "bilateral", "dncnn"}
        Total variation (Chambolle 2004), non-local means (Buades et al. 2005), the bilateral
        filter (Tomasi & Manduchi 1998), or a network (Zhang et al. 2017).
    tv_weight : float
        Weight of the total variation, in standard deviations of the noise.
    nlm_h : float
        Cut-off of the distances between patches, in standard deviations of the noise.
    bilateral_range : float
        Standard deviation in intensity, in standard deviations of the noise.
    bilateral_spatial_px : float
        Standard deviation in space.
    weights : str
        SHA-256 of the file of the network's weights; empty stands for :data:`SHIPPED_WEIGHTS`.
    dncnn_device : str
        Device of torch that computes the network. Other devices give other bytes.
    axial_axis : int
        Spatial axis along the A-scans.
    """

    method: str = field(
        default="tv",
        metadata={
            "help": "Total variation, non-local means, a bilateral filter, or a DnCNN.",
            "choices": METHODS,
        },
    )
    tv_weight: float = _of("tv", 2.5, "Weight of the total variation, in units of the noise.")
    nlm_h: float = _of("nlm", 1.6, "Cut-off between patches, in units of the noise.")
    bilateral_range: float = _of(
        "bilateral", 3.5, "Width of the bilateral filter in intensity, in units of the noise."
    )
    bilateral_spatial_px: float = _of("bilateral", 2.0, "Width of the bilateral filter, in pixels.")
    weights: str = _of(
        DNCNN,
        "",
        "Weights that softlabel-train denoiser wrote, instead of those that come with softlabel.",
        file=True,
    )
    dncnn_device: str = _of(DNCNN, "cpu", "Device of torch, recorded: others give other bytes.")
    axial_axis: int = field(default=0, metadata={"help": "Spatial axis along the A-scans."})

    def __post_init__(self) -> None:
        make_plain(self)
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}.")
        if self.method == DNCNN and not self.weights:
            # written out, so that a record means the same when another version comes with others
            object.__setattr__(self, "weights", SHIPPED_WEIGHTS)
        if self.weights and not re.fullmatch("[0-9a-f]{64}", self.weights):
            raise ValueError(
                f"weights must be the SHA-256 of a file, 64 hexadecimal digits; got "
                f"{self.weights!r}. Give the file itself as --weights, or as weights= of "
                "softlabel.generate."
            )
        for name in ("tv_weight", "nlm_h", "bilateral_range", "bilateral_spatial_px"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be a positive number; got {getattr(self, name)}.")


def denoise_bscan(
    image: Array,
    options: DenoiseOptions | None = None,
    mask: Array | None = None,
    network: DnCNN | None = None,
) -> Array:
    """Take noise out of one B-scan.

    Parameters
    ----------
    image : ndarray of any numeric type, shape (rows, columns)
    options : DenoiseOptions, optional
    mask : ndarray of bool, shape (rows, columns), optional
        Where the image means something; the noise is measured there. Everything is filtered.
    network : DnCNN, optional
        For the method dncnn.

    Returns
    -------
    ndarray of the same dtype and shape, within the range of the image

    Raises
    ------
    ValueError
        When the method dncnn has no network, or torch cannot use its device.
    MissingExtraError
        When the method dncnn has no torch.
    """
    options = options or DenoiseOptions()
    sigma = noise_sigma(image, mask)
    if sigma == 0:
        return image
    low, high = float(image.min()), float(image.max())
    if options.method != DNCNN:
        unit = sigma
        clean = DENOISERS[options.method]((image.astype(np.float32) - low) / unit, options)
    else:
        if network is None:
            raise ValueError("the method dncnn needs a network; give one as network.")
        unit = sigma if network.settings.scaling == "noise" else high - low
        scaled = ((image.astype(np.float32) - low) / unit).astype(np.float32)
        clean = apply_dncnn(scaled, network, options.dncnn_device)
    return as_dtype((clean.astype(np.float64) * unit + low).clip(low, high), image.dtype)


def noise_sigma(image: Array, mask: Array | None = None) -> float:
    """Standard deviation of the noise of an image (Immerkær 1996).

    σ = √(π/2) · mean of |I ∗ N| / 6 with N the difference of two Laplacians, which edges and slopes
    leave near 0.

    Parameters
    ----------
    image : ndarray, shape (rows, columns)
    mask : ndarray of bool, shape (rows, columns), optional

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(0, 7, (200, 200))
    >>> round(noise_sigma(noise + np.arange(200)), 1)
    7.1
    """
    from scipy import ndimage

    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float64)
    rough = np.abs(ndimage.convolve(image.astype(np.float64), kernel, mode="nearest"))
    inside = np.ones(image.shape, np.bool_) if mask is None else mask
    inside = ndimage.binary_erosion(inside, np.ones((3, 3)), border_value=0)
    if not inside.any():
        return 0.0
    return float(np.sqrt(np.pi / 2) / 6 * rough[inside].mean())


def _tv(image: Array, options: DenoiseOptions) -> Array:
    from skimage.restoration import denoise_tv_chambolle

    return np.asarray(denoise_tv_chambolle(image, weight=options.tv_weight))


def _nlm(image: Array, options: DenoiseOptions) -> Array:
    from skimage.restoration import denoise_nl_means

    return np.asarray(
        denoise_nl_means(
            image, NLM_PATCH_PX, NLM_DISTANCE_PX, h=options.nlm_h, sigma=1.0, fast_mode=True
        )
    )


def _bilateral(image: Array, options: DenoiseOptions) -> Array:
    from skimage.restoration import denoise_bilateral

    window = 2 * int(np.ceil(2 * options.bilateral_spatial_px)) + 1
    return np.asarray(
        denoise_bilateral(
            image, window, options.bilateral_range, options.bilateral_spatial_px, mode="edge"
        )
    )


DENOISERS: dict[str, Callable[[Array, DenoiseOptions], Array]] = {
    "tv": _tv,
    "nlm": _nlm,
    "bilateral": _bilateral,
}
"""Functions of an image (float32, from 0, in units of its noise); the network is none of them."""


def weights_of(options: DenoiseOptions) -> str:
    """SHA-256 of the weights that the options need; empty for none."""
    return options.weights if options.method == DNCNN else ""


def apply_denoise(
    case: Case, options: DenoiseOptions, network: DnCNN | None = None
) -> tuple[Case, Record]:
    """Take noise out of every B-scan and channel of a case; labels stay as they are.

    Parameters
    ----------
    case : Case
    options : DenoiseOptions
    network : DnCNN, optional
        Of the weights that the options name.

    Returns
    -------
    Case, Record

    Raises
    ------
    ValueError
        When the case is no B-scan, or as :func:`denoise_bscan`.
    """
    axes = axes_of(case, options.axial_axis)
    known = np.ones(case.shape, np.bool_) if case.mask is None else case.mask

    def clean(bscan: Array, inside: Array) -> Array:
        return denoise_bscan(bscan, options, inside, network)

    image = np.stack([axes.each(clean, channel, known) for channel in case.image])
    settings = {"method": options.method, **_strength(options)}
    return replace(case, image=image), Record("denoise", case.shape, case.shape, settings)


def _strength(options: DenoiseOptions) -> dict[str, Any]:
    """The options of the method that was chosen."""
    own = f"{options.method}_"
    weights = {"weights": options.weights} if weights_of(options) else {}
    return weights | {name: value for name, value in vars(options).items() if name.startswith(own)}
