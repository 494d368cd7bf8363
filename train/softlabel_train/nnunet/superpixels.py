"""Superpixel ids as further channels of the segmentations that nnU-Net loads.

nnU-Net hands segmentations on as int16, with −1 outside of the image, and later makes every −1 a 0
in all channels. So ids travel as id + 1, with 0 where there is none; where 15 bits do not hold
them, the higher bits are a channel of their own. Each channel takes the nearest value wherever the
other does, so that both still belong together afterwards.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from softlabel.bridges import Prepared

BITS = 15
"""Of an id in one channel: int16 has a sign."""

IdArray = Any
"""Something with ``shape`` whose slices are arrays of ids: an array in memory or in a file."""


def channels_for(highest_id: int) -> int:
    """Channels that ids up to this one need.

    Examples
    --------
    >>> channels_for(32_766), channels_for(32_767)
    (1, 2)
    """
    if highest_id + 1 >= 1 << 2 * BITS:
        raise ValueError(f"superpixel ids must be below 2^30 - 1; got {highest_id}.")
    return 1 if highest_id + 1 < 1 << BITS else 2


def split_ids(ids: npt.NDArray[np.integer], channels: int) -> npt.NDArray[np.int16]:
    """Ids (*spatial) as channels (channels, *spatial).

    Examples
    --------
    >>> split_ids(np.array([-1, 0, 32_766, 32_767]), 2)
    array([[    0,     1, 32767,     0],
           [    0,     0,     0,     1]], dtype=int16)
    """
    numbers = ids.astype(np.int32) + 1
    parts = [(numbers >> BITS * channel) & ((1 << BITS) - 1) for channel in range(channels)]
    return np.stack(parts).astype(np.int16)


def joined_ids(channels: Tensor) -> Tensor:
    """Inverse of :func:`split_ids` for a batch: (B, channels, *spatial) → int32 (B, *spatial).

    Examples
    --------
    >>> joined_ids(torch.from_numpy(split_ids(np.array([[-1, 70_000]]), 2))[None]).tolist()
    [[[-1, 70000]]]
    """
    wide = channels.to(torch.int32)
    numbers = wide[:, 0]
    for channel in range(1, wide.shape[1]):
        numbers = numbers + (wide[:, channel] << BITS * channel)
    return numbers - 1


class ChannelsOfCase:
    """Labels, labels of the previous stage of a cascade, and superpixels of one case.

    nnU-Net crops it as it crops the array of a segmentation: it has a shape, and slices read only
    what they ask for.

    Parameters
    ----------
    labels : array, shape (1, *spatial)
    previous : array, shape (*spatial), or None
    ids : array, shape (*spatial)
    id_channels : int
    """

    dtype = np.dtype(np.int16)

    def __init__(
        self, labels: IdArray, previous: IdArray | None, ids: IdArray, id_channels: int
    ) -> None:
        self.labels, self.previous, self.ids = labels, previous, ids
        self.id_channels = id_channels
        n_channels = 1 + (previous is not None) + id_channels
        self.shape = (n_channels, *labels.shape[1:])
        self.ndim = len(self.shape)

    def __getitem__(self, where: tuple[slice, ...]) -> npt.NDArray[np.int16]:
        """All channels of a box: ``[:, a:b, c:d, e:f]``."""
        _, *box = where
        parts = [np.asarray(self.labels[(slice(None), *box)]).astype(np.int16)]
        if self.previous is not None:
            parts.append(np.asarray(self.previous[tuple(box)]).astype(np.int16)[None])
        parts.append(split_ids(np.asarray(self.ids[tuple(box)]), self.id_channels))
        return np.concatenate(parts)


class DatasetWithSuperpixels:
    """A data set of nnU-Net whose segmentations have superpixels as further channels.

    Parameters
    ----------
    dataset : nnUNetBaseDataset
    prepared : Prepared
    """

    def __init__(self, dataset: Any, prepared: Prepared) -> None:
        self.dataset, self.prepared = dataset, prepared
        self.identifiers = dataset.identifiers
        self.id_channels = channels_for(prepared.highest_id)

    def __getitem__(self, identifier: str) -> tuple[Any, ChannelsOfCase, None, dict[str, Any]]:
        return self.load_case(identifier)

    def load_case(self, identifier: str) -> tuple[Any, ChannelsOfCase, None, dict[str, Any]]:
        """Image, segmentation with further channels, None, and properties.

        The segmentation of the previous stage, which nnU-Net loads beside it, is its second channel
        already, where nnU-Net's transforms expect it.
        """
        image, labels, previous, properties = self.dataset.load_case(identifier)
        ids = open_ids(self.prepared.path(identifier))
        return image, ChannelsOfCase(labels, previous, ids, self.id_channels), None, properties


def open_ids(path: Path) -> IdArray:
    """The superpixel ids of a case, of which slices are read from the file."""
    import blosc2

    return blosc2.open(str(path), mode="r", mmap_mode="r", dparams={"nthreads": 1})
