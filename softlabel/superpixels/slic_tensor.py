"""SLIC superpixels on a torch device: the same steps as on the CPU, with sums in integers.

Seeds, smoothing, distances and windows are those of :mod:`softlabel.superpixels.slic_cpu`. A
centre's new colour is summed in fixed point instead of float32 in raster order, so that the order
in which a device adds does not matter: the same input gives the same labels on every run, and on
every device that follows IEEE 754, but not quite those of the CPU. Connected pieces are made on the
CPU.

No operation here multiplies and adds in one: a compiler would fuse that on some devices, and round
once where others round twice.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from skimage.util import regular_grid
from torch import Tensor

from softlabel.device import DoesNotFit, failing_makes_unusable, memory_budget
from softlabel.superpixels.slic_connectivity import connect
from softlabel.types import Array

FIXED_POINT = 1 << 30
"""Steps between 0 and 1 in sums of colours: sums of 2³³ pixels stay within an int64."""

CANDIDATE_BYTES = 96
"""Bytes of working memory a (centre, pixel of its window) pair."""

PIXEL_BYTES = 64
"""Bytes of working memory a pixel and channel."""

NOBODY = torch.iinfo(torch.int64).max
SMALLEST_PIECE, LARGEST_PIECE = 0.5, 3
"""Of a mean superpixel, as in scikit-image."""


def slic_on_device(
    image: Array,
    n_segments: int,
    compactness: float,
    sigma: float,
    spacing: tuple[float, ...],
    max_num_iter: int,
    device: torch.device,
    *,
    memory: int | None = None,
) -> npt.NDArray[np.int32]:
    """Superpixels of a 2D or 3D image.

    Parameters
    ----------
    image : ndarray of float32, shape (C, *spatial)
    n_segments, compactness, sigma, spacing, max_num_iter
        As for :func:`softlabel.slic`.
    device : torch.device
    memory : int, optional
        Bytes that it may take; default: :func:`softlabel.device.memory_budget`.

    Returns
    -------
    ndarray of int32, shape (*spatial)

    Raises
    ------
    DoesNotFit
        When the device's memory is too small for the image.
    """
    spatial = image.shape[1:]
    pad = (1,) * (3 - len(spatial))
    shape = (*pad, *spatial)
    budget = memory_budget(device) if memory is None else memory
    if PIXEL_BYTES * image.size > budget:
        raise DoesNotFit(
            f"superpixels of an image of {image.size} values need "
            f"{PIXEL_BYTES * image.size / 2**20:.0f} MiB of the device's memory, "
            f"{budget / 2**20:.0f} MiB may be taken"
        )
    grid = regular_grid(shape, n_segments)
    axes = [np.arange(n)[along] for n, along in zip(shape, grid, strict=True)]
    voxel = np.array((*pad, *spacing), np.float32)
    with failing_makes_unusable(device):
        volume = torch.from_numpy(np.ascontiguousarray(image)).to(device)
        volume = smoothed(_rescaled(volume.reshape(-1, *shape)), sigma / voxel)
        step = max(along.step or 1 for along in grid)
        labels = k_means(
            volume, axes, step, compactness, voxel, max_num_iter, max(1, budget // CANDIDATE_BYTES)
        )
        found = labels.to(torch.int32).cpu().numpy()
    mean_size = math.prod(shape) / math.prod(len(at) for at in axes)
    pieces = connect(found, int(SMALLEST_PIECE * mean_size), int(LARGEST_PIECE * mean_size))
    return np.asarray(pieces.reshape(spatial))


def _rescaled(volume: Tensor) -> Tensor:
    """Values of all channels together mapped to 0..1."""
    low, high = volume.amin(), volume.amax()
    span = high - low
    return (volume - low) / torch.where(span > 0, span, torch.ones_like(span))


def smoothed(volume: Tensor, sigma: Array) -> Tensor:
    """Gaussian smoothing of every channel, with reflecting borders, summed in float64.

    Parameters
    ----------
    volume : tensor of float32, shape (C, Z, Y, X)
    sigma : ndarray of float, shape (3,)
        In pixels, along z, y and x.
    """
    for axis in range(3):
        weights = _half_kernel(float(np.float32(sigma[axis])))
        length = volume.shape[axis + 1]
        if len(weights) == 1 or length == 1:
            continue
        radius = len(weights) - 1
        at = np.arange(-radius, length + radius) % (2 * length)
        at = np.where(at < length, at, 2 * length - 1 - at)
        wide = volume.index_select(axis + 1, torch.from_numpy(at).to(volume.device))
        wide = wide.to(torch.float64)
        total = wide.narrow(axis + 1, radius, length) * weights[0]
        for r in range(radius, 0, -1):
            pair = wide.narrow(axis + 1, radius - r, length) + wide.narrow(
                axis + 1, radius + r, length
            )
            total = total + pair * weights[r]
        volume = total.to(torch.float32)
    return volume


def _half_kernel(sigma: float) -> list[float]:
    """Weights of the centre and of one side, in double precision."""
    if not sigma > 1e-15:
        return [1.0]
    radius = int(4.0 * sigma + 0.5)
    weights = np.exp(-0.5 / (sigma * sigma) * np.arange(radius + 1, dtype=np.float64) ** 2)
    return [float(w) for w in weights / (weights[0] + 2 * weights[1:].sum())]


def k_means(
    volume: Tensor,
    axes: list[Array],
    step: int,
    compactness: float,
    voxel: Array,
    rounds: int,
    candidates_at_once: int,
) -> Tensor:
    """Number of the nearest centre of every pixel, after some rounds: int64 (Z, Y, X).

    Parameters
    ----------
    volume : tensor of float32, shape (C, Z, Y, X)
        Colours 0..1.
    axes : list of ndarray
        Positions of the seeds along each axis.
    step : int
        Largest distance between seeds along an axis: the unit of distances in space.
    compactness : float
    voxel : ndarray of float32, shape (3,)
        Spacing.
    rounds : int
    candidates_at_once : int
        (Centre, pixel) pairs in memory at once.
    """
    device, shape = volume.device, volume.shape[1:]
    seeds = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    windows = regular_grid(tuple(shape), len(seeds))
    reach = [2 * int(along.step or 1) for along in windows]
    ratio = np.float32(1.0 / compactness)
    colours = (volume * float(ratio)).view(len(volume), -1)
    fixed = torch.round(volume.to(torch.float64) * FIXED_POINT).to(torch.int64)
    fixed = fixed.view(len(volume), -1)
    position = torch.from_numpy(seeds.astype(np.float32)).to(device)
    colour = torch.zeros((len(seeds), len(volume)), dtype=torch.float32, device=device)
    alive = torch.ones(len(seeds), dtype=torch.bool, device=device)
    weight = float(np.float32(1.0 / float(step * step)))
    labels = _nearest_seed(tuple(shape), axes).to(device)
    for number in range(rounds):
        before = labels
        labels = _assigned(
            colours, position, colour, alive, voxel, weight, reach, tuple(shape), labels,
            candidates_at_once,
        )  # fmt: skip
        position, colour, alive = _moved(labels, fixed, len(seeds), float(ratio), tuple(shape))
        if number and torch.equal(labels, before):
            break
    return labels.view(shape)


def _assigned(
    colours: Tensor,
    position: Tensor,
    colour: Tensor,
    alive: Tensor,
    voxel: Array,
    weight: float,
    reach: list[int],
    shape: tuple[int, ...],
    labels: Tensor,
    at_once: int,
) -> Tensor:
    """The nearest centre of every pixel among those whose window it lies in, flat.

    Of equally near centres the lowest number wins: distance and number are compared as one
    integer. Where there is none, the pixel stays with the centre it had.
    """
    best = torch.full_like(labels, NOBODY)
    extent = [min(n, 2 * r + 2) for n, r in zip(shape, reach, strict=True)]
    size = math.prod(extent)
    within = torch.arange(size, device=labels.device)
    offsets = (within // (extent[1] * extent[2]), within // extent[2] % extent[1],
               within % extent[2])  # fmt: skip
    centres = torch.nonzero(alive).squeeze(1)
    for share in torch.split(centres, max(1, at_once // size)):
        at = position[share]
        inside = torch.ones((len(share), size), dtype=torch.bool, device=labels.device)
        pixel = torch.zeros((len(share), size), dtype=torch.int64, device=labels.device)
        space = torch.zeros((len(share), size), dtype=torch.float32, device=labels.device)
        for axis in range(3):
            first = (at[:, axis] - reach[axis]).clamp(min=0).to(torch.int64)
            past = (at[:, axis] + reach[axis] + 1.0).to(torch.int64).clamp(max=shape[axis])
            here = first[:, None] + offsets[axis]
            inside &= here < past[:, None]
            here = here.clamp(max=shape[axis] - 1)
            pixel = pixel * shape[axis] + here
            along = (at[:, axis, None] - here.to(torch.float32)) * float(voxel[axis])
            space = space + along * along
        distance = torch.zeros_like(space)
        for channel, value in enumerate(colours):
            apart = value[pixel] - colour[share, channel, None]
            distance = distance + apart * apart
        distance = space * weight + distance
        inside &= torch.isfinite(distance)
        key = (distance.view(torch.int32).to(torch.int64) << 32) | share[:, None]
        key = torch.where(inside, key, NOBODY)
        best.scatter_reduce_(0, pixel.view(-1), key.view(-1), "amin")
    return torch.where(best == NOBODY, labels, best & 0xFFFFFFFF)


def _moved(
    labels: Tensor, fixed: Tensor, count: int, ratio: float, shape: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Mean position and colour of every centre's pixels, and whether it has any."""
    pixels = torch.bincount(labels, minlength=count)
    alive = pixels > 0
    divisor = pixels.clamp(min=1).to(torch.float64)
    place = torch.arange(len(labels), device=labels.device)
    position = []
    for at in (place // (shape[1] * shape[2]), place // shape[2] % shape[1], place % shape[2]):
        total = torch.zeros(count, dtype=torch.int64, device=labels.device)
        total.index_add_(0, labels, at)
        position.append((total.to(torch.float64) / divisor).to(torch.float32))
    colour = []
    for values in fixed:
        total = torch.zeros(count, dtype=torch.int64, device=labels.device)
        total.index_add_(0, labels, values)
        mean = total.to(torch.float64) / divisor / FIXED_POINT
        colour.append((mean * ratio).to(torch.float32))
    return torch.stack(position, 1), torch.stack(colour, 1), alive


def _nearest_seed(shape: tuple[int, ...], axes: list[Array]) -> Tensor:
    """Number of the seed nearest to every pixel, flat."""
    number = np.zeros((1, 1, 1), np.int64)
    for axis, (length, at) in enumerate(zip(shape, axes, strict=True)):
        nearest = np.searchsorted((at[1:] + at[:-1]) / 2, np.arange(length))
        number = number * len(at) + nearest.reshape([-1 if a == axis else 1 for a in range(3)])
    return torch.from_numpy(np.broadcast_to(number, shape).flatten())
