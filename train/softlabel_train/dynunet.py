"""MONAI's DynUNet in the shape that nnU-Net gives it, with deep supervision by option.

Isensee et al., *nnU-Net*, Nature Methods 18, 2021, supplement: an axis is halved as long as four
voxels of it are left and no axis has voxels less than half as large; kernels are 1 voxel wide along
an axis until its voxels are less than twice as large as the smallest ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_SIDE = 4
"""Voxels along an axis that are left where the network is deepest."""

DEFAULT_SIDE = 64
"""Voxels along each axis of a patch that is not known."""


class Shape(NamedTuple):
    """Levels of the network, the finest first: kernel and stride along each axis."""

    kernels: tuple[tuple[int, ...], ...]
    strides: tuple[tuple[int, ...], ...]


def network_shape(patch: Sequence[int], spacing_mm: Sequence[float]) -> Shape:
    """Kernels and strides for patches of a size and voxels of a spacing.

    Parameters
    ----------
    patch : sequence of int
        Voxels along each axis.
    spacing_mm : sequence of float
        Of the voxels along each axis; only their ratios matter.

    Raises
    ------
    ValueError
        For patches too small to be halved twice.

    Examples
    --------
    Slices three times as thick as their pixels join one level later:

    >>> shape = network_shape((64, 64, 16), (1.0, 1.0, 3.0))
    >>> shape.kernels
    ((3, 3, 1), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
    >>> shape.strides
    ((1, 1, 1), (2, 2, 1), (2, 2, 2), (2, 2, 2), (2, 2, 1))
    """
    side, spacing = list(patch), list(spacing_mm)
    kernel = [1] * len(side)
    kernels, strides = [], [(1,) * len(side)]
    while halved := _halved_axes(side, spacing):
        kernel = [3 if s < 2 * min(spacing) else k for s, k in zip(spacing, kernel, strict=True)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in range(len(side))))
        for axis in halved:
            side[axis], spacing[axis] = math.ceil(side[axis] / 2), 2 * spacing[axis]
    kernels.append((3,) * len(side))
    if len(strides) < 3:
        raise ValueError(
            f"a patch of {'×'.join(map(str, patch))} is too small to be halved twice down to "
            f"{LEAST_SIDE} voxels"
        )
    return Shape(tuple(kernels), tuple(strides))


def _halved_axes(side: Sequence[int], spacing: Sequence[float]) -> list[int]:
    """Axes that the next level halves; none when the network is deep enough."""
    large = [axis for axis, n in enumerate(side) if n >= 2 * LEAST_SIDE]
    if not large:
        return []
    finest = min(spacing[axis] for axis in large)
    axes = [axis for axis in large if spacing[axis] < 2 * finest]
    # nnU-Net halves a single axis only while it is long
    return axes if len(axes) > 1 or side[axes[0]] >= 3 * LEAST_SIDE else []


def dynunet(
    dims: int,
    in_channels: int,
    n_classes: int,
    *,
    patch: Sequence[int] | None = None,
    spacing_mm: Sequence[float] | None = None,
    deep_supervision: bool = False,
    **options: Any,
) -> nn.Module:
    """MONAI's DynUNet for patches of a size.

    Parameters
    ----------
    dims, in_channels, n_classes : int
    patch, spacing_mm : sequence, optional
        See :func:`network_shape`; isotropic voxels and patches of 64 along each axis.
    deep_supervision : bool
        Whether coarser levels have outputs of their own while it is trained.
    **options
        Of ``monai.networks.nets.DynUNet``, such as ``filters`` or ``res_block``.
    """
    from monai.networks.nets import DynUNet

    patch, spacing_mm = patch or (DEFAULT_SIDE,) * dims, spacing_mm or (1.0,) * dims
    _require_numbers("patch", patch, dims, int)
    _require_numbers("spacing_mm", spacing_mm, dims, int, float)
    shape = network_shape(patch, spacing_mm)
    if deep_supervision:
        # as nnU-Net has it, the coarsest of the decoder's outputs is not judged
        heads = max(1, len(shape.strides) - 3)
        options |= {"deep_supervision": True, "deep_supr_num": heads}
    net = DynUNet(
        dims, in_channels, n_classes, shape.kernels, shape.strides, shape.strides[1:], **options
    )
    return DeepSupervision(net) if deep_supervision else net


def _require_numbers(name: str, numbers: Any, dims: int, *kinds: type) -> None:
    """Refuse what a recipe may hold instead of positive numbers, one for each axis."""
    if not isinstance(numbers, list | tuple) or len(numbers) != dims:
        raise ValueError(f"{name} must be {dims} numbers, one for each axis; got {numbers!r}")
    if not all(type(n) in kinds and 0 < n < math.inf for n in numbers):
        kind = "positive numbers" if float in kinds else "positive whole numbers"
        raise ValueError(f"{name} must be {kind}; got {numbers!r}")


class DeepSupervision(nn.Module):
    """A DynUNet that returns the logits of several levels, each at its size, while it is trained.

    MONAI's own ``forward`` enlarges all of them to the size of the image.
    """

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net, self.strides = net, net.strides

    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits (B, K, *spatial); in training a list, from the finest level on."""
        finest: Tensor = self.net.output_block(self.net.skip_layers(image))
        return [finest, *self.net.heads] if self.training else finest


Loss = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, dict[str, Tensor]]]
"""Total and terms from logits, hard labels and soft labels, as ``SoftLabelLoss`` has it."""


def supervised(
    loss: Loss,
    logits: Tensor | Sequence[Tensor],
    labels: Tensor,
    soft: Tensor,
    ignore: int | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of a network's output, or of its outputs at several levels.

    Each coarser level weighs half as much as the one before, and the weights sum to 1. Hard labels
    of a coarser level are those of the nearest voxel, soft ones the mean over the annotated voxels.

    Returns
    -------
    total : Tensor, scalar
    terms : dict of Tensor
        Those of the finest level.
    """
    if isinstance(logits, Tensor):
        return loss(logits, labels, soft)
    weights = [0.5**level for level in range(len(logits))]
    total, terms = loss(logits[0], labels, soft)
    total = total * weights[0]
    for weight, level in zip(weights[1:], logits[1:], strict=True):
        coarse = pooled(labels, soft, level.shape[2:], ignore)
        total = total + weight * loss(level, *coarse)[0]
    return total / sum(weights), terms


def pooled(
    labels: Tensor, soft: Tensor, shape: Sequence[int], ignore: int | None
) -> tuple[Tensor, Tensor]:
    """Targets on a coarser grid whose shape divides that of the labels.

    Parameters
    ----------
    labels : Tensor of an integer type, shape (B, *spatial)
    soft : Tensor of float, shape (B, K, *spatial)
        0 where ignored.
    shape : sequence of int
    ignore : int or None
        Value of ignored voxels in ``labels``.
    """
    steps = [n // m for n, m in zip(labels.shape[1:], shape, strict=True)]
    hard = labels[(slice(None), *(slice(step // 2, None, step) for step in steps))]
    pool = {1: functional.avg_pool1d, 2: functional.avg_pool2d, 3: functional.avg_pool3d}
    mean = pool[len(steps)](soft, steps)
    if ignore is None:
        return hard, mean
    known = pool[len(steps)]((labels != ignore).unsqueeze(1).to(soft.dtype), steps)
    mean = torch.where(known > 0, mean / known.clamp(min=1e-6), 0)
    return hard, torch.where((hard == ignore).unsqueeze(1), 0, mean)
