"""Noise out of B-scans, by scikit-image: total variation, non-local means, or a bilateral filter.

The strength of each is a multiple of the image's own noise, so that one setting fits 8 bits and 16,
and weak as well as strong speckle. Labels stay as they are, and noise does not come back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.background import as_dtype
from softlabel.preprocess.bscans import axes_of
from softlabel.preprocess.record import Record
from softlabel.types import Array, Case

NLM_PATCH_PX, NLM_DISTANCE_PX = 5, 6
"""Side of the patches that non-local means compares, and how far it looks for them."""


def _of(method: str, default: float, help: str) -> Any:
    """An option of one method, idle beside the others."""

    def idle(options: Any) -> str:
        return "" if options.method == method else f"denoise={options.method}"

    return field(default=default, metadata={"help": help, "idle": idle})


@dataclass(frozen=True)
class DenoiseOptions:
    """Options of the step. Defaults are those of the best PSNR on phantoms of the seeds 1000 to
    1007 (``docs/methods.md``).

    Attributes
    ----------
    method : {"tv", "nlm", "bilateral"}
        Total variation (Chambolle 2004), non-local means (Buades et al. 2005), or the bilateral
        filter (Tomasi & Manduchi 1998).
    tv_weight : float
        Weight of the total variation, in standard deviations of the noise.
    nlm_h : float
        Cut-off of the distances between patches, in standard deviations of the noise.
    bilateral_range : float
        Standard deviation in intensity, in standard deviations of the noise.
    bilateral_spatial_px : float
        Standard deviation in space.
    axial_axis : int
        Spatial axis along the A-scans.
    """

    method: str = field(
        default="tv",
        metadata={
            "help": "Total variation, non-local means, or a bilateral filter.",
            "choices": ("tv", "nlm", "bilateral"),
        },
    )
    tv_weight: float = _of("tv", 2.5, "Weight of the total variation, in units of the noise.")
    nlm_h: float = _of("nlm", 1.6, "Cut-off between patches, in units of the noise.")
    bilateral_range: float = _of(
        "bilateral", 3.5, "Width of the bilateral filter in intensity, in units of the noise."
    )
    bilateral_spatial_px: float = _of("bilateral", 2.0, "Width of the bilateral filter, in pixels.")
    axial_axis: int = field(default=0, metadata={"help": "Spatial axis along the A-scans."})

    def __post_init__(self) -> None:
        make_plain(self)
        if self.method not in DENOISERS:
            raise ValueError(f"method must be one of {', '.join(DENOISERS)}; got {self.method!r}.")
        for name in ("tv_weight", "nlm_h", "bilateral_range", "bilateral_spatial_px"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be a positive number; got {getattr(self, name)}.")


def denoise_bscan(
    image: Array, options: DenoiseOptions | None = None, mask: Array | None = None
) -> Array:
    """Take noise out of one B-scan.

    Parameters
    ----------
    image : ndarray of any numeric type, shape (rows, columns)
    options : DenoiseOptions, optional
    mask : ndarray of bool, shape (rows, columns), optional
        Where the image means something; the noise is measured there. Everything is filtered.

    Returns
    -------
    ndarray of the same dtype and shape, within the range of the image
    """
    options = options or DenoiseOptions()
    sigma = noise_sigma(image, mask)
    if sigma == 0:
        return image
    low, high = float(image.min()), float(image.max())
    clean = DENOISERS[options.method]((image.astype(np.float32) - low) / sigma, options)
    return as_dtype((clean.astype(np.float64) * sigma + low).clip(low, high), image.dtype)


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
"""Functions of an image (float32, from 0, in units of its noise)."""


def apply_denoise(case: Case, options: DenoiseOptions) -> tuple[Case, Record]:
    """Take noise out of every B-scan and channel of a case; labels stay as they are.

    Parameters
    ----------
    case : Case
    options : DenoiseOptions

    Returns
    -------
    Case, Record

    Raises
    ------
    ValueError
        When the case is no B-scan.
    """
    axes = axes_of(case, options.axial_axis)
    known = np.ones(case.shape, np.bool_) if case.mask is None else case.mask

    def clean(bscan: Array, inside: Array) -> Array:
        return denoise_bscan(bscan, options, inside)

    image = np.stack([axes.each(clean, channel, known) for channel in case.image])
    settings = {"method": options.method, **_strength(options)}
    return replace(case, image=image), Record("denoise", case.shape, case.shape, settings)


def _strength(options: DenoiseOptions) -> dict[str, float]:
    """The options of the method that was chosen."""
    own = f"{options.method}_"
    return {name: value for name, value in vars(options).items() if name.startswith(own)}
