"""Spacing of TIFF files, as tifffile and Pillow write it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from softlabel.readers.imagefiles import read_pixels

from .factories import volume

VOLUME = volume((4, 5, 6), dtype=np.uint8)


def spacing(path):
    return read_pixels(path).spacing_mm


@pytest.mark.parametrize(
    ("unit", "expected"),
    [("µm", (3e-3, 0.5e-3, 0.25e-3)), ("mm", (3.0, 0.5, 0.25)), ("nm", (3e-6, 0.5e-6, 0.25e-6)),
     ("lightyear", None)],
)  # fmt: skip
def test_ome(tmp_path, unit, expected):
    metadata = {"axes": "ZYX"}
    for axis, size in zip("ZYX", (3.0, 0.5, 0.25), strict=True):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", VOLUME, ome=True, metadata=metadata)
    found = spacing(tmp_path / "a.ome.tif")
    assert found == (None if expected is None else pytest.approx(expected))


def test_ome_is_in_micrometres_when_no_unit_is_stated(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 3.0}
    tifffile.imwrite(tmp_path / "a.ome.tif", VOLUME, ome=True, metadata=metadata)
    assert spacing(tmp_path / "a.ome.tif") == pytest.approx((3e-3, 0.5e-3, 0.5e-3))


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("mm", 1.0), ("um", 1e-3), ("\\u00B5m", 1e-3), ("cm", 10.0), ("inch", 25.4)],
)
def test_imagej(tmp_path, unit, factor):
    metadata = {"axes": "ZYX", "spacing": 3.0, "unit": unit}
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, resolution=(4, 2), metadata=metadata)
    found = spacing(tmp_path / "a.tif")
    assert found == pytest.approx(np.array([3.0, 0.5, 0.25]) * factor)


@pytest.mark.parametrize("metadata", [{"axes": "ZYX", "unit": "pixel"}, {"axes": "ZYX"}])
def test_imagej_that_tells_nothing(tmp_path, metadata):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME, imagej=True, metadata=metadata)
    assert spacing(tmp_path / "a.tif") is None


@pytest.mark.parametrize(
    ("dots", "unit", "expected"),
    [
        (72, "INCH", None),  # what programs fill in
        (300, "INCH", None),
        (39370, "CENTIMETER", 10 / 39370),  # a slide scanner's quarter of a micrometre
        (1234, "INCH", 25.4 / 1234),
    ],
)
def test_resolution_tags(tmp_path, dots, unit, expected):
    tifffile.imwrite(tmp_path / "a.tif", VOLUME[0], resolution=(dots, dots), resolutionunit=unit,
                     metadata=None)  # fmt: skip
    found = spacing(tmp_path / "a.tif")
    assert found == (None if expected is None else pytest.approx((expected, expected)))


def test_a_photograph_has_no_spacing(tmp_path):
    Image.fromarray(VOLUME[0]).save(tmp_path / "a.tif", dpi=(96, 96))
    assert spacing(tmp_path / "a.tif") is None
