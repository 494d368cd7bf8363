"""Intensities in standard deviations from their mean, measured inside of the mask.

A window clips first: fixed Hounsfield units for CT, or percentiles of the foreground of the whole
data set. Percentiles of a single case are not offered: the same tissue would be clipped in one case
and not in the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from softlabel.coerce import make_plain
from softlabel.preprocess.background import as_dtype
from softlabel.preprocess.grid import channel_name, check_case, check_finite
from softlabel.preprocess.record import Record
from softlabel.preprocess.step import Kind
from softlabel.types import Array, Case


@dataclass(frozen=True)
class NormaliseOptions:
    """Options of the step.

    Attributes
    ----------
    window : tuple of float, or None
        LOW and HIGH for all channels, or both of each channel in order: what to clip to first.
    zero_outside : bool
        Set what lies outside of the mask to 0, the mean, as nnU-Net does. Otherwise it is scaled
        as the inside is, and comes back as it was.
    """

    window: tuple[float, ...] | None = field(
        default=None,
        metadata={
            "help": "Clip intensities to LOW,HIGH first, once or for each channel, in the units "
            "of the image (HU of CT)."
        },
    )
    zero_outside: bool = field(
        default=True, metadata={"help": "Set intensities outside of the mask to 0 at last."}
    )

    def __post_init__(self) -> None:
        make_plain(self)
        if self.window is None:
            return
        low, high = np.array(self.window[::2]), np.array(self.window[1::2])
        if len(low) != len(high) or not np.isfinite(self.window).all() or (low >= high).any():
            raise ValueError(
                "window must be LOW HIGH with LOW below HIGH, once or for each channel; got "
                f"{' '.join(f'{value:g}' for value in self.window)}."
            )


@dataclass(frozen=True, eq=False)
class Normalised:
    """An image in standard deviations.

    Attributes
    ----------
    image : ndarray of float32, shape (C, *spatial)
    mean, sd : ndarray of float64, shape (C,)
        After clipping, inside of the mask.
    """

    image: Array
    mean: Array
    sd: Array


def normalise_image(
    image: Array,
    mask: Array | None = None,
    window: Array | None = None,
    zero_outside: bool = True,
    channels: tuple[str, ...] = (),
) -> Normalised:
    """Clip an image, subtract its mean and divide by its standard deviation, channel by channel.

    Parameters
    ----------
    image : ndarray, shape (C, *spatial)
    mask : ndarray of bool, shape (*spatial), optional
        Where mean and standard deviation are measured.
    window : ndarray, shape (2,) or (C, 2), optional
        Lowest and highest intensity.
    zero_outside : bool
        Set what lies outside of the mask to 0.
    channels : tuple of str
        Names for errors.

    Returns
    -------
    Normalised

    Raises
    ------
    ValueError
        When the mask is empty or of another grid, a channel is uniform inside of it or not finite,
        or the window is for another number of channels.

    Examples
    --------
    >>> image = np.array([[0, 0, 10, 20, 900]])
    >>> done = normalise_image(image, image[0] > 0, window=np.array([0, 30]))
    >>> done.mean, done.image.round(2)
    (array([20.]), array([[ 0.  ,  0.  , -1.22,  0.  ,  1.22]], dtype=float32))
    """
    check_finite(image, channels)
    inside = np.ones(image.shape[1:], np.bool_) if mask is None else mask
    if inside.shape != image.shape[1:]:
        raise ValueError(
            f"the mask has the shape {inside.shape} and the image {image.shape[1:]}; both must lie "
            "on one grid. Resample the mask to the image first."
        )
    if not inside.any():
        raise ValueError(
            "the mask is empty, so there is nothing to measure the mean of; check the mask."
        )
    limits = None if window is None else _windows(window, len(image))
    mean, sd = np.empty(len(image)), np.empty(len(image))
    scaled = np.zeros(image.shape, np.float32)
    for c, channel in enumerate(image):
        values = channel.astype(np.float64)
        values = values if limits is None else values.clip(*limits[c])
        mean[c], sd[c] = values[inside].mean(), values[inside].std()
        if not sd[c] > 1e-9 * max(1.0, abs(mean[c])):
            raise ValueError(
                f"channel {channel_name(channels, c)} is {mean[c]:g} everywhere inside of the "
                "mask; expected intensities that differ. Check the image, the mask and the window."
            )
        scaled[c] = (values - mean[c]) / sd[c]
    if zero_outside and not inside.all():
        # Only what lies outside is exactly 0, so that the way back can tell it from the mean.
        scaled[scaled == 0] = np.finfo(np.float32).tiny
        scaled[:, ~inside] = 0
    return Normalised(scaled, mean, sd)


def _windows(window: Array, n_channels: int) -> Array:
    """Lowest and highest intensity of each channel, (C, 2)."""
    pairs = np.asarray(window, np.float64).reshape(-1, 2)
    if len(pairs) not in (1, n_channels):
        raise ValueError(
            f"the window has limits for {len(pairs)} channels and the image has {n_channels}; give "
            "LOW HIGH once, or for each channel."
        )
    return np.broadcast_to(pairs, (n_channels, 2))


def foreground_percentiles(
    images: Iterable[Array],
    masks: Iterable[Array],
    percentiles: tuple[float, float] = (0.5, 99.5),
    per_case: int = 10_000,
) -> Array:
    """Percentiles of the foreground of a data set, for :attr:`NormaliseOptions.window`.

    Every case has the same say: as many voxels of each, evenly spread over its foreground.

    Parameters
    ----------
    images : iterable of ndarray, shape (C, *spatial)
        Of the training split only, one after another.
    masks : iterable of ndarray of bool, shape (*spatial)
    percentiles : tuple of float
        The lower and the upper one.
    per_case : int
        Voxels of a case.

    Returns
    -------
    ndarray of float64, shape (C, 2)

    Raises
    ------
    ValueError
        When a mask is empty, or there is no case.

    Examples
    --------
    >>> foreground_percentiles([np.arange(101)[None]], [np.ones(101, bool)], (10, 90), 101)
    array([[10., 90.]])
    """
    samples = []
    for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
        voxels = np.flatnonzero(mask)
        if not len(voxels):
            raise ValueError(f"the mask of image {number} (from 0) is empty; check the mask.")
        ranks = np.rint(np.linspace(0, 1, per_case) * (len(voxels) - 1)).astype(np.int64)
        flat = image.reshape(len(image), -1)
        samples.append(flat[:, voxels[ranks]].astype(np.float64))
    if not samples:
        raise ValueError("no image was given; give those of the training split.")
    return np.percentile(np.concatenate(samples, axis=1), percentiles, axis=1).T


def apply_normalise(case: Case, options: NormaliseOptions) -> tuple[Case, Record]:
    """Normalise the image of a case; the result is float32.

    Parameters
    ----------
    case : Case
    options : NormaliseOptions

    Returns
    -------
    Case, Record

    Raises
    ------
    ValueError
        As :func:`normalise_image` does.
    """
    check_case(case)
    window = None if options.window is None else np.array(options.window)
    done = normalise_image(case.image, case.mask, window, options.zero_outside, case.channels)
    settings = {
        "window": None if options.window is None else list(options.window),
        "zero_outside": options.zero_outside,
    }
    arrays = {"mean": done.mean, "sd": done.sd}
    if options.zero_outside and case.mask is not None:
        arrays["outside"] = np.array([min(0.0, float(c.min())) for c in case.image])
    record = Record("normalise", case.shape, case.shape, settings, arrays)
    return replace(case, image=done.image), record


def restore_normalise(record: Record, array: Array, kind: Kind) -> Array:
    """Intensities of an image again; labels and soft maps were not touched.

    What a window clipped comes back as the limit of the window. Outside of the mask, where values
    are exactly 0, images come back as :class:`softlabel.preprocess.BrainMaskOptions` strips them:
    0, or the lowest intensity where that is below 0.
    """
    if kind != "image":
        return array
    mean, sd = record.arrays["mean"], record.arrays["sd"]
    if len(mean) not in (1, len(array)):
        raise ValueError(f"an image of {len(mean)} channels was normalised; got {len(array)}.")
    each = (-1,) + (1,) * (array.ndim - 1)
    values = array.astype(np.float64) * sd.reshape(each) + mean.reshape(each)
    if "outside" in record.arrays:
        values = np.where(array == 0, record.arrays["outside"].reshape(each), values)
    return as_dtype(values, array.dtype)
