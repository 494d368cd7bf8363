"""DnCNN (Zhang et al. 2017): a chain of convolutions that predicts the noise of an image.

Convolution and ReLU, several times convolution, batch normalisation and ReLU, and a convolution to
the noise, which is subtracted (residual learning). The batch normalisations are folded into the
convolutions, so a network here is kernels and biases. torch computes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise

import numpy as np

from softlabel.coerce import make_plain
from softlabel.errors import missing_extra
from softlabel.types import Array

SCALINGS = ("noise", "range")
KERNEL_PX = 3
TILE_PX = 256
"""Side of what is computed at once, without the margin that its border needs."""

MAX_DEPTH, MAX_CHANNELS = 64, 512
"""More than any DnCNN has: 20 layers of 64 channels are the largest of the paper."""

Layer = tuple[Array, Array]
"""Kernel, float32 (channels out, channels in, 3, 3), and bias, float32 (channels out)."""


@dataclass(frozen=True)
class DnCNNSettings:
    """What a network is, and how it wants its images.

    Attributes
    ----------
    depth : int
        Convolutions, 3 or more.
    channels : int
        Channels between them.
    noise_level : float or None
        Standard deviation of the noise that it was trained for, in the units of ``scaling``; None
        for a blind network, which was trained on several levels.
    scaling : {"noise", "range"}
        Images begin at 0; their unit is the standard deviation of their own noise
        (:func:`softlabel.preprocess.noise_sigma`), or their largest value is 1.
    trained_on : str
        What the training saw, in words.

    Raises
    ------
    ValueError
        When a network cannot be so.
    """

    depth: int = 8
    channels: int = 32
    noise_level: float | None = 1.0
    scaling: str = "noise"
    trained_on: str = ""

    def __post_init__(self) -> None:
        make_plain(self)
        if not 3 <= self.depth <= MAX_DEPTH:
            raise ValueError(f"depth must be 3 to {MAX_DEPTH}; got {self.depth}.")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"channels must be 1 to {MAX_CHANNELS}; got {self.channels}.")
        if self.noise_level is not None and not 0 < self.noise_level < np.inf:
            raise ValueError(f"noise_level must be positive or None; got {self.noise_level}.")
        if self.scaling not in SCALINGS:
            raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}; got {self.scaling!r}.")

    @property
    def kernel_shapes(self) -> list[tuple[int, int, int, int]]:
        """Shapes of the kernels, in order.

        Examples
        --------
        >>> DnCNNSettings(depth=3, channels=8).kernel_shapes
        [(8, 1, 3, 3), (8, 8, 3, 3), (1, 8, 3, 3)]
        """
        widths = [1, *[self.channels] * (self.depth - 1), 1]
        return [(n, m, KERNEL_PX, KERNEL_PX) for m, n in pairwise(widths)]

    @property
    def reach_px(self) -> int:
        """How far a pixel of the result looks; the receptive field is twice that and 1."""
        return self.depth * (KERNEL_PX // 2)


@dataclass(frozen=True, eq=False)
class DnCNN:
    """A network with its weights.

    Attributes
    ----------
    settings : DnCNNSettings
    layers : tuple of (kernel, bias)
        In order, batch normalisations folded in.

    Raises
    ------
    ValueError
        When the arrays are not those of the settings, or not finite.
    """

    settings: DnCNNSettings
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        shapes = self.settings.kernel_shapes
        if len(self.layers) != len(shapes):
            raise ValueError(
                f"the network has {len(self.layers)} convolutions, its settings say {len(shapes)}."
            )
        for number, ((kernel, bias), shape) in enumerate(zip(self.layers, shapes, strict=True)):
            expected = ((kernel, shape), (bias, shape[:1]))
            if any(a.dtype != np.float32 or a.shape != s for a, s in expected):
                raise ValueError(
                    f"convolution {number} has a kernel {kernel.dtype} {kernel.shape} and a bias "
                    f"{bias.dtype} {bias.shape}, its settings say float32 {shape} and {shape[:1]}."
                )
            if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                raise ValueError(f"convolution {number} has weights that are no finite numbers.")


def require_torch() -> None:
    """Refuse, before hours are spent, what needs torch where there is none.

    Raises
    ------
    MissingExtraError
    """
    if find_spec("torch") is None:
        raise missing_extra("The denoiser dncnn", "torch", "dncnn")


def apply_dncnn(image: Array, network: DnCNN, device: str = "cpu", tile_px: int = TILE_PX) -> Array:
    """An image without the noise that a network finds in it.

    It is computed in tiles that overlap by what a pixel looks at, so that tiles do not show; on the
    CPU by one thread, so that the bytes do not depend on how many there are.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns)
        Scaled as the network's settings say.
    network : DnCNN
    device : str
        Of torch.
    tile_px : int

    Returns
    -------
    ndarray of float32, shape (rows, columns)

    Raises
    ------
    MissingExtraError
        Without torch.
    ValueError
        When torch cannot use the device.
    """
    require_torch()
    import torch

    with _one_thread(), torch.inference_mode():
        try:
            layers = [
                (torch.from_numpy(kernel).to(device), torch.from_numpy(bias).to(device))
                for kernel, bias in network.layers
            ]
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            raise ValueError(
                f"torch cannot use the device {device!r} here; use cpu, or cuda where there is one."
            ) from error
        clean = np.empty(image.shape, np.float32)
        for inside, around, middle in _tiles(image.shape, tile_px, network.settings.reach_px):
            part = torch.from_numpy(np.ascontiguousarray(image[around], np.float32)).to(device)
            noise = part[None, None]
            for number, (kernel, bias) in enumerate(layers):
                noise = torch.nn.functional.conv2d(noise, kernel, bias, padding="same")
                if number < len(layers) - 1:
                    noise = noise.relu_()
            clean[inside] = (part - noise[0, 0]).cpu().numpy()[middle]
    return clean


Box = tuple[slice, slice]


def _tiles(shape: tuple[int, ...], tile_px: int, margin_px: int) -> Iterator[tuple[Box, Box, Box]]:
    """Tiles of an image: where each lies, with its margin, and where it lies within that."""
    for row in range(0, shape[0], tile_px):
        for column in range(0, shape[1], tile_px):
            inside, around, middle = [], [], []
            for first, size in zip((row, column), shape, strict=True):
                end = min(first + tile_px, size)
                start, stop = max(first - margin_px, 0), min(end + margin_px, size)
                inside.append(slice(first, end))
                around.append(slice(start, stop))
                middle.append(slice(first - start, end - start))
            yield (inside[0], inside[1]), (around[0], around[1]), (middle[0], middle[1])


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """One thread of torch, and afterwards as many as before."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
