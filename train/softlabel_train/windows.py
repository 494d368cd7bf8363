"""The most probable classes of a volume, without holding the probabilities of all of it.

MONAI's sliding window holds a float for every voxel and class: 33 GB for a CT of 512 × 512 × 300
voxels and 104 classes. Here the windows go along one axis, and what no further window reaches is
decided and forgotten: what is held is as long as a window along that axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from softlabel.softmaps import index_dtype


def most_probable(
    probabilities: Callable[[Tensor], Tensor],
    image: Tensor,
    window: Sequence[int],
    overlap: float = 0.5,
) -> Tensor:
    """Class indices of an image from windows that slide over it, blended by Gaussian weights.

    Parameters
    ----------
    probabilities : callable
        Windows (1, C, *window) → (1, K, *window), on the device of the image.
    image : Tensor, shape (1, C, *spatial)
        Axes shorter than the window are padded by their border.
    window : sequence of int
    overlap : float
        Share of a window that overlaps the next one.

    Returns
    -------
    Tensor of uint8 or uint16, shape (*spatial), on the CPU
        Those of the largest mean of ``monai.inferers.sliding_window_inference`` with
        ``mode="gaussian"``.
    """
    shape = tuple(image.shape[2:])
    image, before = _padded(image, window)
    sides = tuple(image.shape[2:])
    # what is held is as large as the image in all axes but one
    axis = _long_axis(sides, window)
    starts = [_starts(n, m, overlap) for n, m in zip(sides, window, strict=True)]
    weights = _gaussian(window, image)
    decided: list[Tensor] = []
    held: Tensor | None = None
    for i, first in enumerate(starts[axis]):
        others = [starts[a] if a != axis else [first] for a in range(len(sides))]
        for corner in product(*others):
            where = [slice(s, s + m) for s, m in zip(corner, window, strict=True)]
            found = probabilities(image[(slice(None), slice(None), *where)])[0]
            if held is None:
                size = [*sides[:axis], window[axis], *sides[axis + 1 :]]
                held = found.new_zeros((len(found), *size), dtype=torch.float32)
            where[axis] = slice(0, window[axis])
            held[(slice(None), *where)] += found * weights
        assert held is not None
        done = (starts[axis][i + 1] if i + 1 < len(starts[axis]) else sides[axis]) - first
        decided.append(decide(held.narrow(axis + 1, 0, done)))
        held = _shifted(held, axis + 1, done)
    index = torch.cat(decided, axis)
    return index[tuple(slice(b, b + n) for b, n in zip(before, shape, strict=True))]


def held_voxels(shape: Sequence[int], window: Sequence[int]) -> int:
    """Voxels of which :func:`most_probable` holds a float for each class."""
    sides = [max(n, m) for n, m in zip(shape, window, strict=True)]
    axis = _long_axis(sides, window)
    return math.prod(sides) // sides[axis] * window[axis]


def _long_axis(sides: Sequence[int], window: Sequence[int]) -> int:
    """Axis that takes most windows; all others are held whole."""
    return max(range(len(sides)), key=lambda axis: sides[axis] / window[axis])


def _padded(image: Tensor, window: Sequence[int]) -> tuple[Tensor, list[int]]:
    """The image, at least as large as a window, and where it begins there."""
    missing = [max(m - n, 0) for n, m in zip(image.shape[2:], window, strict=True)]
    before = [m // 2 for m in missing]
    flat = [p for m, b in reversed(list(zip(missing, before, strict=True))) for p in (b, m - b)]
    return (functional.pad(image, flat, mode="replicate") if any(flat) else image), before


def _starts(n: int, window: int, overlap: float) -> list[int]:
    """First voxels of the windows along an axis; the last window ends with the image."""
    step = max(1, int(window * (1 - overlap)))
    return [*range(0, n - window, step), n - window]


def _gaussian(window: Sequence[int], like: Tensor) -> Tensor:
    from monai.data.utils import compute_importance_map

    found = compute_importance_map(
        tuple(window), mode="gaussian", sigma_scale=0.125, device=like.device, dtype=torch.float32
    )
    assert isinstance(found, Tensor)
    return found


def decide(held: Tensor) -> Tensor:
    """Classes of the largest values (K, *spatial), as uint8 or uint16 on the CPU.

    Those of weighted sums are those of the means: a voxel has the same weights for all classes.
    """
    dtype = torch.uint8 if index_dtype(len(held)).itemsize == 1 else torch.uint16
    return held.argmax(0).to(dtype).cpu()


def _shifted(held: Tensor, axis: int, done: int) -> Tensor:
    """What is held without its first voxels along an axis, and with as many empty ones."""
    kept = held.narrow(axis, done, held.shape[axis] - done)
    empty = held.new_zeros([done if a == axis else n for a, n in enumerate(held.shape)])
    return torch.cat([kept, empty], axis)
