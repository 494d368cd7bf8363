"""The script that everybody writes: scikit-image, SciPy, a dense array, gzip.

One thread, one case; the same formula (boundary ``symmetric``, the usual difference of two
distance transforms) and the same SLIC settings as softlabel's defaults.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import slic

from softlabel.types import Array


def superpixels(image: Array, spacing: tuple[float, ...], n_segments: int = 2000) -> Array:
    """SLIC of a float32 image (C, *spatial)."""
    return slic(
        image, n_segments=n_segments, compactness=0.1, sigma=1.0, spacing=spacing,
        convert2lab=False, start_label=0, channel_axis=0,
    )  # fmt: skip


def soften(labels: Array, ids: Array, n_classes: int) -> Array:
    """Dense soft maps, float32 (K, *spatial)."""
    counts = np.bincount(
        (ids.astype(np.int64) * n_classes + labels).ravel(),
        minlength=(int(ids.max()) + 1) * n_classes,
    ).reshape(-1, n_classes)
    mixed = (counts > 0).sum(axis=1) > 1
    soft = np.zeros((n_classes, *labels.shape), np.float32)
    for c in range(n_classes):
        inside = labels == c
        soft[c] = inside
        if not inside.any() or inside.all():
            continue
        distance = distance_transform_edt(inside) - distance_transform_edt(~inside)
        band = (mixed & (counts[:, c] > 0))[ids]
        soft[c][band] = 0.5 * (distance[band] / (1 + np.abs(distance[band])) + 1)
    return soft


def write(path: Path, image: Array, labels: Array, ids: Array, soft: Array) -> None:
    """One HDF5 file with gzip level 4 and the library's own chunks."""
    with h5py.File(path, "w") as file:
        for name, values in (
            ("image", image), ("labels", labels), ("superpixels", ids), ("soft", soft)
        ):  # fmt: skip
            file.create_dataset(name, data=values, compression="gzip", compression_opts=4)


def scaled(image: Array) -> Array:
    """Every channel mapped to 0..1."""
    flat = image.reshape(len(image), -1).astype(np.float32)
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    return ((flat - low) / (high - low)).reshape(image.shape)
