"""Superpixels: SLIC, a regular grid, or a label file, in 2D and 3D."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from skimage import segmentation

from softlabel.device import AUTO, TORCH_CPU, DeviceUnusable, torch_device
from softlabel.superpixels.slic_cpu import slic_labels
from softlabel.types import Array, spacing_in_order


def slic(
    image: Array,
    n_segments: int = 2000,
    compactness: float = 0.1,
    sigma: float = 1.0,
    *,
    spacing: tuple[float, ...] | None = None,
    channel_axis: int | None = None,
    mask: Array | None = None,
    max_num_iter: int = 10,
    device: str = "cpu",
    memory: int | None = None,
) -> npt.NDArray[np.int32]:
    """Over-segment an image into superpixels of similar intensity (SLIC, Achanta et al. 2012).

    For float32 input the labels are those of ``skimage.segmentation.slic(…, convert2lab=False,
    start_label=0)``. The image as a whole is mapped to 0..1, channels are not scaled one by one.

    Parameters
    ----------
    image : ndarray, shape (*spatial) or with channels along ``channel_axis``; 2D or 3D
        Finite; computed in float32.
    n_segments : int
        Superpixels asked for; the count returned differs.
    compactness : float
        Weight of space against intensity. Below about 0.3 boundaries follow the image; above it
        superpixels approach a regular grid.
    sigma : float
        Standard deviation of the Gaussian smoothing before, in pixels; with ``spacing`` in its
        unit, so that smoothing is isotropic in space.
    spacing : tuple of float, optional
        Distance between pixels along each axis. Divide it by its smallest value to make
        ``compactness`` and ``sigma`` mean the same for every data set (as the pipeline does).
    channel_axis : int, optional
        Axis of the channels; None for an image without channels.
    mask : ndarray of bool, shape (*spatial), optional
        Superpixels cover True pixels only (scikit-image's masked SLIC, slow); −1 elsewhere. With
        one seed, which is all that ``n_segments=1`` or a mask of one pixel allow, scikit-image
        searches no pixel around it, and all of the image is −1.
    max_num_iter : int
        Iterations of k-means.
    device : {"cpu", "cuda", "cuda:1", …}
        Other devices run the tensor code of :mod:`softlabel.superpixels.slic_tensor`: its labels
        are the same on all of them and on every run, and nearly those of ``cpu``. What does not
        fit into a device's memory runs on torch's CPU device. Not with ``mask``.
    memory : int, optional
        Bytes of a device's memory that it may take; default: half of what is free.

    Returns
    -------
    ndarray of int32, shape (*spatial)
        Ids 0..M−1, −1 outside of the mask (and inside where it allows one seed only).

    Raises
    ------
    ValueError
        For shapes, values or options that cannot be used.

    Examples
    --------
    >>> import numpy as np, softlabel
    >>> step = np.repeat([0.0, 1.0], 8)[None].repeat(4, axis=0)
    >>> softlabel.slic(step, n_segments=2, sigma=0)[0].tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    if device == AUTO:
        raise ValueError("device must be named for slic, whose labels depend on it; got 'auto'.")
    target = torch_device(device)
    if target is not None and mask is not None:
        raise ValueError(
            f"Masked SLIC runs on the CPU only; leave mask= out, or device={device!r}."
        )
    channels = _channels_first(np.asarray(image), channel_axis)
    shape = channels.shape[1:]
    step = None if spacing is None else spacing_in_order(spacing, len(shape))
    _check_slic_options(n_segments, compactness, sigma, max_num_iter)
    if mask is not None and np.shape(mask) != shape:
        raise ValueError(f"mask must have the image's shape {shape}; got {np.shape(mask)}.")
    if mask is not None and not np.any(mask):
        return np.full(shape, -1, np.int32)
    if target is not None:
        return _by_tensor_code(
            channels, n_segments, compactness, sigma, step or (1.0,) * len(shape), max_num_iter,
            target, memory,
        )  # fmt: skip
    if mask is None:
        return slic_labels(
            channels, n_segments, compactness, sigma, step or (1.0,) * len(shape), max_num_iter
        )
    labels = segmentation.slic(
        channels,
        n_segments=n_segments,
        compactness=compactness,
        sigma=sigma,
        spacing=step,
        mask=mask,
        max_num_iter=max_num_iter,
        convert2lab=False,
        start_label=0,
        channel_axis=0,
    )
    return labels.astype(np.int32)


def _by_tensor_code(
    channels: Array,
    n_segments: int,
    compactness: float,
    sigma: float,
    spacing: tuple[float, ...],
    max_num_iter: int,
    device: Any,
    memory: int | None,
) -> npt.NDArray[np.int32]:
    """SLIC on a torch device, or with the same labels on torch's CPU device if it is too small."""
    from softlabel.superpixels.slic_tensor import slic_on_device

    arguments = (channels, n_segments, compactness, sigma, spacing, max_num_iter)
    try:
        return slic_on_device(*arguments, device, memory=memory)
    except DeviceUnusable:
        cpu: Any = torch_device(TORCH_CPU)
        return slic_on_device(*arguments, cpu, memory=sys.maxsize)


def grid(
    shape: tuple[int, ...], n_segments: int, spacing: tuple[float, ...] | None = None
) -> npt.NDArray[np.int32]:
    """Regular grid of about ``n_segments`` equal boxes: the control that ignores the image.

    Boxes are as near to cubes, in the unit of ``spacing``, as whole counts along the axes allow.

    Parameters
    ----------
    shape : tuple of int
    n_segments : int
    spacing : tuple of float, optional

    Returns
    -------
    ndarray of int32, shape ``shape``
        Ids 0..M−1.

    Examples
    --------
    >>> grid((2, 6), 3).tolist()
    [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2]]
    """
    if n_segments < 1:
        raise ValueError(f"n_segments must be at least 1; got {n_segments}.")
    step = spacing_in_order(spacing, len(shape))
    extent = np.multiply(shape, step)
    counts = np.ones(len(shape), np.int64)
    # short axes first: what their whole counts miss of n_segments, the longer ones make up for
    left = float(n_segments)
    remaining = sorted(range(len(shape)), key=lambda axis: float(extent[axis]))
    while remaining:
        edge = (np.prod(extent[remaining]) / left) ** (1 / len(remaining))
        axis = remaining.pop(0)
        counts[axis] = np.clip(round(extent[axis] / edge), 1, shape[axis])
        left = max(1.0, left / counts[axis])
    ids = np.zeros(shape, np.int32)
    for axis, (length, count) in enumerate(zip(shape, counts.tolist(), strict=True)):
        along = np.arange(length, dtype=np.int64) * count // length
        ids = ids * count + along.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return ids.astype(np.int32)


def scale_channels(
    image: Array,
    mask: Array | None = None,
    percentiles: tuple[float, float] = (0.0, 100.0),
) -> npt.NDArray[np.float32]:
    """Map every channel to 0..1 by two of its own percentiles, inside the mask.

    Parameters
    ----------
    image : ndarray, shape (C, *spatial)
    mask : ndarray of bool, shape (*spatial), optional
        Where the percentiles are taken; the rest of the image is mapped alike and clipped.
    percentiles : (low, high)
        (0, 100) is min–max. Values beyond are clipped.

    Returns
    -------
    ndarray of float32, shape (C, *spatial)
        A constant channel becomes 0.
    """
    scaled = np.empty(image.shape, np.float32)
    for source, target in zip(image, scaled, strict=True):
        seen = source if mask is None or not mask.any() else source[mask]
        if percentiles == (0.0, 100.0):
            low, high = float(seen.min()), float(seen.max())
        else:
            low, high = (float(v) for v in np.percentile(seen, percentiles))
        span = high - low if high > low else 1.0
        np.divide(np.subtract(source, low, dtype=np.float64), span, out=target, casting="same_kind")
        np.clip(target, 0.0, 1.0, out=target)
    return scaled


def by_slice(
    make: Callable[[Array, tuple[float, ...], Array | None], Array],
    image: Array,
    spacing: tuple[float, ...],
    axis: int,
    mask: Array | None = None,
) -> npt.NDArray[np.int32]:
    """Superpixels of every slice on its own, numbered through.

    Parameters
    ----------
    make : callable (image (C, *plane), spacing of the plane, mask (*plane) or None) -> ids (*plane)
    image : ndarray, shape (C, *spatial)
    spacing : tuple of float
    axis : int
        Spatial axis across the slices.
    mask : ndarray of bool, shape (*spatial), optional
        Handed on to ``make`` slice by slice.

    Returns
    -------
    ndarray of int32, shape (*spatial)
        Negative ids of ``make`` become −1.
    """
    plane = tuple(s for a, s in enumerate(spacing) if a != axis)
    ids = np.empty(image.shape[1:], np.int32)
    first = 0
    for number in range(ids.shape[axis]):
        inside = None if mask is None else np.take(mask, number, axis=axis)
        part = make(np.take(image, number, axis=axis + 1), plane, inside)
        target = ids[(slice(None),) * axis + (number,)]
        target[...] = np.where(part < 0, -1, part + first)
        first = max(first, int(target.max()) + 1)
    return ids


def _channels_first(image: Array, channel_axis: int | None) -> npt.NDArray[np.float32]:
    channels = image[None] if channel_axis is None else np.moveaxis(image, channel_axis, 0)
    if channels.ndim not in (3, 4):
        raise ValueError(
            f"image must be 2D or 3D, with or without a channel axis; got shape {image.shape} "
            f"and channel_axis={channel_axis}."
        )
    if 0 in channels.shape:
        raise ValueError(f"image holds no pixel; got shape {image.shape}.")
    channels = np.ascontiguousarray(channels, dtype=np.float32)
    if not np.isfinite(channels).all():
        raise ValueError("image must be finite; it holds NaN or infinite values.")
    return channels


def _check_slic_options(
    n_segments: int, compactness: float, sigma: float, max_num_iter: int
) -> None:
    if n_segments < 1:
        raise ValueError(f"n_segments must be at least 1; got {n_segments}.")
    if not 0 < compactness < np.inf:
        raise ValueError(f"compactness must be a positive number; got {compactness}.")
    if not 0 <= sigma < np.inf:
        raise ValueError(f"sigma must not be negative; got {sigma}.")
    if max_num_iter < 1:
        raise ValueError(f"max_num_iter must be at least 1; got {max_num_iter}.")
