"""Random changes of training images: drawn in the loader, applied where they are cheap.

Crops and flips happen in the loader, on compact labels. Warps and intensities need dense maps and
happen on the training device, after expansion, from the few numbers that the loader drew.
Everything is drawn from (seed, epoch, index), so neither the number of loader processes nor an
interruption changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from softlabel_train.config import AugmentConfig


@dataclass(frozen=True, eq=False)
class Change:
    """What happens to one image.

    Attributes
    ----------
    flip : tuple of bool
        Mirrored spatial axes.
    warp : ndarray of float32, shape (dims, dims + 1), or None
        Output pixel to input pixel, in pixels from the centre of the patch, axes in array order.
    contrast, brightness, noise : float
        image · contrast + brightness + noise · N(0, 1), on normalised intensities.
    noise_seed : int
    """

    flip: tuple[bool, ...]
    warp: npt.NDArray[np.float32] | None = None
    contrast: float = 1.0
    brightness: float = 0.0
    noise: float = 0.0
    noise_seed: int = 0


def draw_change(
    config: AugmentConfig,
    shape: Sequence[int],
    rng: np.random.Generator,
    slice_axis: int | None = None,
) -> Change:
    """Draw the change of one patch.

    Parameters
    ----------
    config : AugmentConfig
    shape : sequence of int
        Spatial shape of the patch.
    rng : Generator
    slice_axis : int, optional
        Axis across the slices of a volume, around which it is turned; by default the last.
    """
    dims = len(shape)
    flip = tuple(axis in config.flip and bool(rng.random() < 0.5) for axis in range(dims))
    warp = _draw_warp(config, shape, rng, slice_axis) if config.warps else None
    contrast = 1 + config.contrast * rng.uniform(-1, 1)
    brightness = config.brightness * rng.uniform(-1, 1)
    noise = config.noise * rng.uniform(0, 1)
    return Change(flip, warp, contrast, brightness, noise, int(rng.integers(2**62)))


def _draw_warp(
    config: AugmentConfig, shape: Sequence[int], rng: np.random.Generator, slice_axis: int | None
) -> npt.NDArray[np.float32]:
    """Rotation in the plane of the slices, zoom of all axes, shift."""
    dims = len(shape)
    matrix = np.eye(dims, dims + 1)
    angle = np.deg2rad(config.rotate_degrees * rng.uniform(-1, 1))
    zoom = 1 + config.scale * rng.uniform(-1, 1)
    if dims > 1:
        across = dims - 1 if slice_axis is None else slice_axis
        plane = [axis for axis in range(dims) if dims == 2 or axis != across]
        matrix[np.ix_(plane, plane)] = [
            [np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]
        ]  # fmt: skip
    matrix[:, :dims] /= zoom
    matrix[:, dims] = config.shift * rng.uniform(-1, 1, dims) * shape
    return matrix.astype(np.float32)


def apply_warp(
    image: Tensor, labels: Tensor, soft: Tensor, warp: Tensor, ignore: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Resample a batch: images and soft labels linearly, hard labels to the nearest pixel.

    What comes from outside the patch is ignored, with soft labels of 0 and border intensities.

    Parameters
    ----------
    image : Tensor of float, shape (B, C, *spatial)
    labels : Tensor of an integer type, shape (B, *spatial)
    soft : Tensor of float, shape (B, K, *spatial)
    warp : Tensor of float, shape (B, dims, dims + 1)
        See :class:`Change`.
    ignore : int
        Value of ignored pixels in ``labels``.
    """
    shape = image.shape[2:]
    grid = functional.affine_grid(_normalised(warp, shape), list(image.shape), align_corners=True)
    moved = functional.grid_sample(image, grid, "bilinear", "border", align_corners=True)
    # 0 is both outside and ignored
    shifted = torch.where(labels == ignore, 0, labels.to(torch.float32) + 1).unsqueeze(1)
    nearest = functional.grid_sample(shifted, grid, "nearest", "zeros", align_corners=True)
    index = nearest.squeeze(1).round().long() - 1
    known = index >= 0
    new_labels = torch.where(known, index, ignore).to(labels.dtype)
    blended = functional.grid_sample(soft, grid, "bilinear", "zeros", align_corners=True)
    return moved, new_labels, blended * known.unsqueeze(1)


def _normalised(warp: Tensor, shape: Sequence[int]) -> Tensor:
    """From pixels and array order to torch's −1..1 between pixel centres and reversed order."""
    half = torch.tensor([max(n - 1, 1) / 2 for n in shape], dtype=warp.dtype, device=warp.device)
    linear = warp[:, :, :-1] * half / half.unsqueeze(1)
    shift = warp[:, :, -1:] / half.unsqueeze(1)
    return torch.cat([linear.flip(1, 2), shift.flip(1)], dim=2)


def apply_intensity(image: Tensor, changes: Sequence[Change]) -> Tensor:
    """Contrast, brightness and noise of normalised images (B, C, *spatial)."""
    if all(c.contrast == 1 and c.brightness == 0 and c.noise == 0 for c in changes):
        return image
    view = (-1, *[1] * (image.ndim - 1))
    contrast = torch.tensor([c.contrast for c in changes], dtype=image.dtype).to(image.device)
    brightness = torch.tensor([c.brightness for c in changes], dtype=image.dtype).to(image.device)
    image = image * contrast.view(view) + brightness.view(view)
    for i, change in enumerate(changes):
        if change.noise:
            generator = torch.Generator(image.device).manual_seed(change.noise_seed)
            noise = torch.randn(
                image[i].shape, generator=generator, device=image.device, dtype=image.dtype
            )
            image[i] += change.noise * noise
    return image
