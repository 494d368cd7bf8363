"""PNG, BMP and JPEG: values as they were stored, or a refusal."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import read_label_map, read_pixels

from .factories import label_volume, volume, write_png

GREY = volume((8, 9), dtype=np.uint8)


RGB = volume((8, 9, 3), dtype=np.uint8)


def change_png_header(path, bits, colour):
    """Change bit depth and colour type of a PNG, with the checksum that belongs to them."""
    content = path.read_bytes()
    body = b"IHDR" + content[16:24] + bytes([bits, colour]) + content[26:29]
    path.write_bytes(content[:12] + body + struct.pack(">I", zlib.crc32(body)) + content[33:])


def test_palette_is_indices_for_labels_and_colours_for_images(tmp_path):
    indices = label_volume((8, 9), n=3)
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.reshape(-1).tolist())
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    path = tmp_path / "a.png"
    image.save(path)
    np.testing.assert_array_equal(read_label_map(path).values, indices)
    colours = np.array([[0, 0, 0], [200, 10, 10], [10, 200, 10]])[indices]
    np.testing.assert_array_equal(read_pixels(path).channels_first(), np.moveaxis(colours, 2, 0))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_labels_of_few_bits_come_back_as_stored(tmp_path, bits):
    """Pillow writes no grey PNG of 2 or 4 bits, so the header of a palette's is changed."""
    stored = label_volume((8, 8), n=2**bits)
    image = Image.fromarray(stored).convert("P")
    image.putdata(stored.reshape(-1).tolist())
    path = tmp_path / "a.png"
    image.save(path, bits=bits)
    change_png_header(path, bits, colour=0)
    np.testing.assert_array_equal(read_label_map(path).values, stored)


def test_16_bit_colour_png_is_refused_rather_than_cut_to_8_bits(tmp_path):
    path = write_png(tmp_path / "a.png", RGB)
    change_png_header(path, bits=16, colour=2)
    with pytest.raises(CaseError, match="several channels of 16 bits"):
        read_pixels(path)


def test_jpeg_is_an_image_but_no_label_map(tmp_path):
    path = write_png(tmp_path / "a.jpg", GREY)
    assert read_pixels(path).channels_first().shape == (1, 8, 9)
    with pytest.raises(CaseError, match="lossless"):
        read_label_map(path)
    renamed = path.rename(tmp_path / "a.png")
    with pytest.raises(CaseError, match="lossless"):
        read_label_map(renamed)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_photographs_that_viewers_turn_are_refused(tmp_path, ending):
    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(6, 8))
    for orientation, kept in ((1, True), (6, False), (0, True), (9, True)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{ending}"
        image.save(path, exif=exif)
        if kept:
            assert read_pixels(path).values.shape == (6, 8)
        else:
            with pytest.raises(CaseError, match=rf"{path} is stored turned .*EXIF orientation 6"):
                read_pixels(path)
    broken = tmp_path / f"broken.{ending}"
    image.save(broken, exif=b"Exif\0\0 no TIFF at all")
    assert read_pixels(broken).values.shape == (6, 8)


def test_print_colours_are_refused(tmp_path):
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(CaseError, match="mode CMYK; expected grey, RGB or a palette"):
        read_pixels(tmp_path / "a.jpg")


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(CaseError, match="exceeds limit of 50 pixels"):
        read_pixels(write_png(tmp_path / "warned.png", GREY))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(CaseError, match="exceeds limit of 20 pixels"):
        read_pixels(tmp_path / "warned.png")
