"""Files of a volume: its thickness maps as ``.npz``, its surfaces as Duke OCT-DME has them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from softlabel.files.matfile import mat_bytes
from softlabel.measurements.scans import Layers
from softlabel.measurements.volumes import Volume
from softlabel.surfaces import as_duke_layers
from softlabel.types import Array

_MAT_HEADER = b"MATLAB 5.0 MAT-file, surfaces written by softlabel"


def thickness_bytes(volume: Volume, layers: Layers) -> bytes:
    """Thickness maps as NumPy's archive.

    ``thickness_um`` float32 (layers, columns, B-scans), NaN where unknown; ``layers``, their names;
    ``bscans``, the numbers of the B-scans that are known; ``spacing_mm``, distance of A-scans and
    of B-scans, NaN where that is unknown.
    """
    maps = volume.thickness(layers)
    between = np.nan if volume.between_um is None else volume.between_um / 1000
    arrays: dict[str, Any] = {
        "thickness_um": np.stack(list(maps.values())).astype(np.float32),
        "layers": np.array(list(maps)),
        "bscans": np.array(volume.places),
        "spacing_mm": np.array([volume.lateral_um / 1000, between]),
    }
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def duke_bytes(volume: Volume) -> bytes:
    """A ``Subject_*.mat`` with ``manualLayers1``, ``manualFluid1``, and ``images`` if there are."""
    return mat_bytes(_duke_variables(volume), _MAT_HEADER)


def _duke_variables(volume: Volume) -> Iterator[tuple[str, Array]]:
    """One at a time, since fluid of a whole volume takes 186 MB."""
    images = [scan.image for scan in volume.scans if scan.image is not None]
    if len(images) == len(volume.scans):
        yield "images", volume.spread(np.concatenate(images, axis=2), fill=0)
    fluid = np.concatenate([scan.fluid for scan in volume.scans], axis=2)
    yield "manualFluid1", volume.spread(fluid.astype(np.float64))
    yield "manualLayers1", volume.spread(as_duke_layers(volume.rows))
