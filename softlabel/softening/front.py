"""From hard labels to soft maps, by any method: the front of the room."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np

from softlabel.device import AUTO, CPU, DeviceUnusable, torch_device
from softlabel.softening.fusions import FUSIONS
from softlabel.softening.inputs import MethodInput
from softlabel.softening.methods import Backend, Method
from softlabel.softening.normalize import normalized
from softlabel.softening.request import SoftenRequest
from softlabel.softmaps.class_index import class_index_map
from softlabel.softmaps.maps import SoftMaps
from softlabel.superpixels.front import scale_channels, slic
from softlabel.types import Array, ClassTable


def soften(
    labels: Array,
    superpixels: Array | None = None,
    *,
    image: Array | None = None,
    mask: Array | None = None,
    method: str = "superpixel",
    classes: ClassTable | Mapping[int, str] | Iterable[int] | None = None,
    spacing: tuple[float, ...] | None = None,
    boundary: str = "inner",
    scale: float | None = None,
    normalize: str = "none",
    ignore: int | None = None,
    rater_axis: int | None = None,
    fuse: str = "mean",
    device: str = "cpu",
    **method_options: Any,
) -> SoftMaps:
    """Turn a hard label map into soft maps.

    Parameters
    ----------
    labels : ndarray of an integer or bool type, shape (*spatial), 1 to 3 spatial axes
        Label values; with ``rater_axis`` one map for each rater.
    superpixels : ndarray of an integer type, shape (*spatial), optional
        Ids from 0; negative where there is none (those pixels stay hard). Needed by the method
        ``superpixel`` unless ``image`` is given.
    image : ndarray, shape (*spatial) or (C, *spatial), optional
        What the methods ``geols`` and ``posterior`` look at. For ``superpixel`` without
        superpixels they are made from it by :func:`softlabel.slic` with its defaults, each channel
        mapped to 0..1 and ``spacing`` divided by its smallest value first.
    mask : ndarray of bool, shape (*spatial), optional
        Where intensities count, for ``posterior``; pixels outside stay hard. Default: everywhere.
    method : str
        A name in :data:`METHODS`, or of a method that another package registers
        (:mod:`softlabel.softening.plugins`).
    classes : ClassTable, {value: name}, or values, optional
        Classes along axis 0 of the result. Default: the values found in ``labels``.
    spacing : tuple of float, optional
        Distance between pixels along each axis; distances and ``scale`` are then in its unit.
        Default: pixels.
    boundary : {"inner", "outer", "edge", "symmetric"}
        What the boundary of a class is (methods ``superpixel`` and ``distance``).
    scale : float, optional
        Distance at which the label is ¾ or ¼ (the same methods). Default: one pixel, with
        ``spacing`` the smallest spacing.
    normalize : {"none", "sum"}
        ``sum`` divides by Σ_c q_c.
    ignore : int, optional
        Label value of pixels that were not annotated: 0 in every class.
    rater_axis : int, optional
        Axis of ``labels`` that counts the raters.
    fuse : {"mean", "staple", "soft-staple"}
        How the soft maps of the raters become one (:mod:`softlabel.softening.fusions`); ``staple``
        takes the method ``hard`` only.
    device : {"cpu", "auto", "cuda", "cuda:1", …}
        Where it is computed; the result is the same, byte for byte. ``auto`` takes the first CUDA
        device if there is one. What does not fit into a device's memory is computed on the CPU,
        with a RuntimeWarning.
    **method_options
        ``min_minority`` (superpixel); ``in_plane``, ``slice_axis`` (superpixel, distance);
        ``width`` (distance); ``blur`` (gaussian); ``epsilon`` (smoothing); ``dilations``, ``ring``
        (dilation); ``alpha`` (geols); ``boundary_sd``, ``temper``, ``window``,
        ``image_sigma``, ``allow_flips``, ``in_plane``, ``slice_axis`` (posterior);
        ``surface_sigma``, ``over``, ``depth_axis`` (surface-cdf).

    Returns
    -------
    SoftMaps

    Raises
    ------
    ValueError
        For shapes that differ, labels outside the classes, unknown options or values.
    SourceError
        For values that cannot be a class table: negative ones, too large or too many of them.
    UsageError
        When the machine has no such device.
    MissingExtraError
        When a device needs torch and it is not installed.

    Notes
    -----
    The formulas of the superpixel method are in :mod:`softlabel.softening.superpixel`.

    Examples
    --------
    One row, one superpixel over all of it, class 1 on the left, the four boundary conventions:

    >>> import numpy as np, softlabel
    >>> labels = np.array([1, 1, 1, 1, 1, 0, 0, 0])
    >>> one = np.zeros(8, int)
    >>> def q(**options):
    ...     return softlabel.soften(labels, one, **options).dense()[1].round(3)
    >>> print(q())
    [0.9   0.875 0.833 0.75  0.5   0.25  0.167 0.125]
    >>> print(q(boundary="outer"))
    [0.917 0.9   0.875 0.833 0.75  0.5   0.25  0.167]
    >>> print(q(boundary="edge"))
    [0.909 0.889 0.857 0.8   0.667 0.333 0.2   0.143]
    >>> print(q(boundary="symmetric"))
    [0.917 0.9   0.875 0.833 0.75  0.25  0.167 0.125]

    A superpixel that no boundary crosses stays hard:

    >>> softlabel.soften(labels, np.array([0, 0, 0, 0, 1, 1, 1, 1])).dense()[1].round(3)
    array([1.   , 1.   , 1.   , 1.   , 0.5  , 0.25 , 0.167, 0.125], dtype=float32)
    """
    request = SoftenRequest(
        method, classes, spacing, boundary, scale, normalize, ignore, rater_axis, fuse,
        method_options,
    )  # fmt: skip
    if device == AUTO and not request.entry.on_device:
        device = CPU
    backend = _local_backend(device)
    try:
        return soften_by(request, labels, superpixels, image=image, mask=mask, backend=backend)
    except DeviceUnusable as error:
        warnings.warn(
            f"Softened on the CPU instead of {device}: {error}.", RuntimeWarning, stacklevel=2
        )
        return soften_by(request, labels, superpixels, image=image, mask=mask)


def soften_by(
    request: SoftenRequest,
    labels: Array,
    superpixels: Array | None = None,
    *,
    image: Array | None = None,
    mask: Array | None = None,
    backend: Backend | None = None,
) -> SoftMaps:
    """As :func:`soften`, by a request; with a backend the superpixel method runs on its device.

    Raises
    ------
    DeviceUnusable
        When the backend's device cannot do it.
    """
    method = request.entry
    if backend is not None and not method.on_device:
        raise ValueError(
            f"The method {request.method} is computed on the CPU only; leave the device out."
        )
    maps = _rater_maps(labels, request.rater_axis)
    ndim = maps[0].ndim
    step, width = request.step(ndim), request.width(ndim)
    table = request.table(maps)
    ids = _superpixel_ids(method, superpixels, image, maps[0].shape, step)
    channels = _channels_for(request.method, method, image, maps[0].shape)
    counts = _mask_for(request.method, method, mask, maps[0].shape)
    indices = [class_index_map(m, table, request.ignore) for m in maps]
    if backend is not None:
        assert ids is not None  # every method with tensor code needs superpixels
        softened = backend(indices, table, [ids] * len(maps), step, width, request.options)
    else:
        softened = [
            method.run(
                MethodInput(i, table, ids, step, width, request.ignore, channels, counts),
                request.options,
            )
            for i in indices
        ]
    result = softened[0] if len(softened) == 1 else FUSIONS[request.fuse].run(softened)
    return normalized(result) if request.normalize == "sum" else result


def _local_backend(device: str) -> Backend | None:
    """The tensor code on a device of this process; None for the code without torch."""
    target = torch_device(device)
    if target is None:
        return None
    from softlabel.softening.tensor.images import soften_images

    return partial(soften_images, device=target)


def _rater_maps(labels: Array, rater_axis: int | None) -> list[Array]:
    labels = np.asarray(labels)
    if labels.dtype == np.bool_:
        labels = labels.astype(np.uint8)
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers; got {labels.dtype}.")
    maps = [labels] if rater_axis is None else list(np.moveaxis(labels, rater_axis, 0))
    if not maps or not 1 <= maps[0].ndim <= 3:
        raise ValueError(f"labels must have 1 to 3 spatial axes; got shape {labels.shape}.")
    if maps[0].size == 0:
        raise ValueError(f"labels hold no pixel; got shape {labels.shape}.")
    return maps


def _superpixel_ids(
    method: Method,
    superpixels: Array | None,
    image: Array | None,
    shape: tuple[int, ...],
    spacing: tuple[float, ...],
) -> Array | None:
    if not method.needs_superpixels:
        return None
    if superpixels is None:
        if image is None:
            raise ValueError("This method needs superpixels; give superpixels= or image=.")
        return _slic_of(np.asarray(image), shape, spacing)
    ids = np.asarray(superpixels)
    if not np.issubdtype(ids.dtype, np.integer):
        raise ValueError(f"superpixels must be integers; got {ids.dtype}.")
    if ids.shape != shape:
        raise ValueError(
            f"superpixels and labels must have one shape; got {ids.shape} and {shape}."
        )
    none = ids < 0
    if int(ids.max()) >= min(2 * ids.size, 2**31):  # ids of a file may be anything: number afresh
        ids = np.unique(ids, return_inverse=True)[1].reshape(shape)
    ids = ids.astype(np.int32, order="C")
    ids[none] = -1
    return ids


def _channels_for(
    name: str, method: Method, image: Array | None, shape: tuple[int, ...]
) -> Array | None:
    """The image for a method that looks at it; None for the others."""
    if not method.needs_image:
        return None
    if image is None:
        raise ValueError(f"The method {name} looks at the image; give image=.")
    channels = _channels(np.asarray(image), shape)
    if not np.isfinite(channels).all():
        raise ValueError("image holds NaN or infinite values; replace them.")
    return channels


def _mask_for(
    name: str, method: Method, mask: Array | None, shape: tuple[int, ...]
) -> Array | None:
    """The mask for a method that uses one."""
    if mask is None:
        return None
    if not method.uses_mask:
        raise ValueError(f"The method {name} uses no mask; leave mask out.")
    if np.shape(mask) != shape:
        raise ValueError(f"mask and labels must have one shape; got {np.shape(mask)} and {shape}.")
    return np.asarray(mask, dtype=np.bool_)


def _channels(image: Array, shape: tuple[int, ...]) -> Array:
    """The image with its axis of channels."""
    channels = image[None] if image.shape == shape else image
    if channels.shape[1:] != shape:
        with_channels = ", ".join(("C", *map(str, shape)))
        last = image.shape[:-1] == shape
        hint = "; np.moveaxis(image, -1, 0) puts its channels first" if last else ""
        raise ValueError(
            f"image must have shape {shape} or ({with_channels}) like the labels; "
            f"got {image.shape}{hint}."
        )
    return channels


def _slic_of(image: Array, shape: tuple[int, ...], spacing: tuple[float, ...]) -> Array:
    channels = _channels(image, shape)
    # in units of the smallest spacing, so that compactness and sigma mean the same in mm and µm
    step = tuple(s / min(spacing) for s in spacing)
    return slic(scale_channels(channels), spacing=step, channel_axis=0)
