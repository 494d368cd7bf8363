"""TIFF: one image or one stack, its axes as they are named."""

from __future__ import annotations

import lzma
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from softlabel.errors import CaseError
from softlabel.readers import tiff
from softlabel.readers.imagefiles import read_label_map, read_pixels

from .factories import label_volume, volume

RGB = volume((8, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize("compression", [None, "zlib", "tiff_lzw"])
def test_tiff_stack_is_a_volume(tmp_path, compression):
    values = volume((5, 6, 7))
    path = tmp_path / "a.tif"
    if compression == "tiff_lzw":
        pages = [Image.fromarray(page.astype(np.uint8)) for page in values]
        pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression)
    else:
        tifffile.imwrite(path, values, compression=compression, photometric="minisblack")
    found = read_pixels(path)
    assert found.channel_axis is None
    np.testing.assert_array_equal(found.values, values)


def test_tiff_axes(tmp_path):
    path = tmp_path / "a.tif"
    values = volume((5, 3, 6, 7), dtype=np.uint8)
    tifffile.imwrite(path, values, imagej=True, metadata={"axes": "ZCYX"})
    found = read_pixels(path).channels_first()
    np.testing.assert_array_equal(found, np.moveaxis(values, 1, 0))
    tifffile.imwrite(path, values[:, 0], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(CaseError, match="axes TYX"):
        read_pixels(path)
    planar = volume((3, 6, 7), dtype=np.uint8)
    tifffile.imwrite(path, planar, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_pixels(path).channels_first(), planar)


def test_tiff_palette(tmp_path):
    colormap = np.zeros((3, 256), dtype=np.uint16)
    colormap[:, 1], colormap[:, 2] = (65535, 0, 0), (0, 65535, 0)
    labels = label_volume((6, 7))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, labels, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(read_label_map(path).values, labels)
    np.testing.assert_array_equal(read_pixels(path).channels_first(), colormap[:, labels])


def test_tiff_colours_with_lzw(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(RGB).save(path, compression="tiff_lzw")
    np.testing.assert_array_equal(read_pixels(path).channels_first(), np.moveaxis(RGB, 2, 0))


def test_tiff_of_several_images_and_of_black_and_white(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(volume((5, 6)), metadata=None)
        writer.write(volume((7, 8)), metadata=None)
    with pytest.raises(CaseError, match="2 separate images"):
        read_pixels(path)
    black_and_white = label_volume((16, 16), n=2).astype(bool)
    Image.fromarray(black_and_white).save(path)
    np.testing.assert_array_equal(read_label_map(path).values, black_and_white)


def test_tiff_that_promises_too_much(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume((6, 7)), metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        tags = tif.pages[0].tags
        offsets = [tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    for offset in offsets:
        content[offset : offset + 2] = b"\xff\xff"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"a\.tif: the header promises 65535 × 65535 values"):
        read_pixels(path)


@pytest.mark.parametrize(
    ("number", "packed"),
    [(8, zlib.compress(bytes(1 << 20))), (34925, lzma.compress(bytes(1 << 20)))],
)
def test_strips_that_hold_more_than_they_promise_are_not_unpacked(
    tmp_path, monkeypatch, number, packed
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, volume((40, 40)), compression="zlib", metadata=None)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tags = tif.pages[0].tags
        tags["StripOffsets"].overwrite(path.stat().st_size)
        tags["StripByteCounts"].overwrite(len(packed))
        tags["Compression"].overwrite(number)
    with path.open("ab") as stream:
        stream.write(packed)
    monkeypatch.setattr(tiff, "HARMLESS_BYTES", 1000)
    with pytest.raises(CaseError, match="would unpack to more than 3200 bytes"):
        read_pixels(path)
