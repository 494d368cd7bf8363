"""PNG, BMP, JPEG, TIFF, NRRD and MetaImage, and the choice between them by ending."""

from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from softlabel.errors import CaseError, MissingExtraError
from softlabel.readers.imagefiles import ending_of, read_label_map, read_pixels, stem_of

from .factories import label_volume, truncate, volume, write_nifti, write_npy, write_png

GREY = volume((8, 9), dtype=np.uint8)
RGB = volume((8, 9, 3), dtype=np.uint8)


def change_png_header(path, bits, colour):
    """Change bit depth and colour type of a PNG, with the checksum that belongs to them."""
    content = path.read_bytes()
    body = b"IHDR" + content[16:24] + bytes([bits, colour]) + content[26:29]
    path.write_bytes(content[:12] + body + struct.pack(">I", zlib.crc32(body)) + content[33:])


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif", ".tiff", ".PNG"])
@pytest.mark.parametrize("values", [GREY, RGB], ids=["grey", "rgb"])
def test_grey_and_colour(tmp_path, ending, values):
    found = read_pixels(write_png(tmp_path / f"a{ending}", values))
    expected = values[np.newaxis] if values.ndim == 2 else np.moveaxis(values, 2, 0)
    np.testing.assert_array_equal(found.channels_first(), expected)
    assert found.spacing_mm is None and found.affine is None and found.axes_known


@pytest.mark.parametrize(
    ("ending", "dtype"), [(".png", "u2"), (".tif", "u2"), (".tif", "i4"), (".tif", "f4")]
)
def test_wide_grey(tmp_path, ending, dtype):
    values = (GREY.astype("u2") * 655).astype(dtype)
    found = read_pixels(write_png(tmp_path / f"a{ending}", values))
    np.testing.assert_array_equal(found.values, values)


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


def test_transparency_is_left_out(tmp_path):
    rgba = np.concatenate([RGB, GREY[..., np.newaxis]], axis=2)
    expected = np.moveaxis(RGB, 2, 0)
    for ending in (".png", ".tif"):
        found = read_pixels(write_png(tmp_path / f"a{ending}", rgba))
        np.testing.assert_array_equal(found.channels_first(), expected)
    Image.fromarray(np.stack([GREY, GREY], axis=2), mode="LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_pixels(tmp_path / "la.png").channels_first(), GREY[None])


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


def palette_image(indices):
    image = Image.fromarray(indices).convert("P")
    image.putdata(indices.reshape(-1).tolist())
    image.putpalette([0, 0, 0, 200, 10, 10, 10, 200, 10])
    return image


@pytest.mark.parametrize("options", [{}, {"interlace": False}, {"transparency": 0}])
@pytest.mark.parametrize("name", ["a.gif", "a.GIF", "a.tif"])
def test_gif_palettes_are_indices_for_labels_and_colours_for_images(tmp_path, name, options):
    indices = label_volume((8, 9), n=3)
    path = tmp_path / name
    # with optimize, Pillow would renumber the palette
    palette_image(indices).save(path, "GIF", optimize=False, **options)
    found = read_label_map(path)
    np.testing.assert_array_equal(found.values, indices)
    assert [note.code for note in found.notes] == (["ending"] if name == "a.tif" else [])
    colours = np.array([[0, 0, 0], [200, 10, 10], [10, 200, 10]])[indices]
    np.testing.assert_array_equal(read_pixels(path).channels_first(), np.moveaxis(colours, 2, 0))


def test_grey_gif(tmp_path):
    path = write_png(tmp_path / "a.gif", GREY)
    np.testing.assert_array_equal(read_label_map(path).values, GREY)
    np.testing.assert_array_equal(read_pixels(path).channels_first()[0], GREY)


def test_gif_of_several_frames_is_refused(tmp_path):
    first, second = (palette_image(label_volume((8, 9), seed=seed)) for seed in (1, 2))
    path = tmp_path / "a.gif"
    first.save(path, save_all=True, append_images=[second], loop=0)
    with pytest.raises(CaseError, match=r"a\.gif is a GIF of several frames; expected a still"):
        read_label_map(path)


@pytest.mark.parametrize("keep", [0.0, 0.005, 0.3, 0.9])
def test_truncated_gif(tmp_path, keep):
    path = truncate(write_png(tmp_path / "a.gif", volume((40, 50), dtype=np.uint8)), keep)
    with pytest.raises(CaseError, match=r"a\.gif cannot.*download it again"):
        read_pixels(path)


def test_gif_that_promises_too_much(tmp_path):
    path = write_png(tmp_path / "a.gif", GREY)
    content = bytearray(path.read_bytes())
    content[6:10] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"a\.gif cannot"):
        read_pixels(path)


def test_label_maps_saved_as_equal_colours(tmp_path):
    labels = label_volume((8, 9))
    path = write_png(tmp_path / "a.png", np.stack([labels] * 3, axis=2))
    np.testing.assert_array_equal(read_label_map(path).values, labels)
    with pytest.raises(CaseError, match="3 channels that differ"):
        read_label_map(write_png(tmp_path / "b.png", RGB))


def test_print_colours_are_refused(tmp_path):
    Image.fromarray(RGB).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(CaseError, match="mode CMYK; expected grey, RGB or a palette"):
        read_pixels(tmp_path / "a.jpg")


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9])
def test_truncated(tmp_path, ending, keep):
    path = truncate(write_png(tmp_path / f"a{ending}", volume((40, 50), dtype=np.uint8)), keep)
    with pytest.raises(
        CaseError, match=r"a\.(png|bmp|tif)( cannot|: the header).*(download it again)"
    ):
        read_pixels(path)


def test_decompression_bombs_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    with pytest.raises(CaseError, match="exceeds limit of 50 pixels"):
        read_pixels(write_png(tmp_path / "warned.png", GREY))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(CaseError, match="exceeds limit of 20 pixels"):
        read_pixels(tmp_path / "warned.png")


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
        content[offset : offset + 4] = (2**30 if len(content) else 0).to_bytes(4, "little")[:2] * 2
        content[offset : offset + 2] = b"\xff\xff"
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"a\.tif"):
        read_pixels(path)


def write_itk(path, values, spacing=(0.5, 0.75, 3.0), origin=(10.0, -20.0, 5.0)):
    sitk = pytest.importorskip("SimpleITK")
    image = sitk.GetImageFromArray(values, isVector=values.ndim == 4)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_files_lie_where_their_nifti_twins_lie(tmp_path, ending):
    sitk = pytest.importorskip("SimpleITK")
    values = volume((4, 5, 6))
    path = write_itk(tmp_path / f"a{ending}", values)
    sitk.WriteImage(sitk.ReadImage(str(path)), str(tmp_path / "a.nii.gz"))
    found, twin = read_pixels(path), read_pixels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(found.values, twin.values)
    np.testing.assert_array_equal(found.values, values.T)
    np.testing.assert_allclose(found.affine, twin.affine, atol=1e-5)
    assert found.spacing_mm == twin.spacing_mm == (0.5, 0.75, 3.0)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
def test_itk_channels_and_truncation(tmp_path, ending):
    values = volume((4, 5, 6, 2), dtype=np.float32)
    path = write_itk(tmp_path / f"a{ending}", values)
    np.testing.assert_array_equal(read_pixels(path).channels_first(), values.transpose(3, 2, 1, 0))
    with pytest.raises(CaseError, match=rf"a\{ending} "):
        read_pixels(truncate(path, 0.7))


def test_itk_headers_that_point_to_other_files_are_refused(tmp_path):
    pytest.importorskip("SimpleITK")
    (tmp_path / "voxels.raw").write_bytes(bytes(27))
    mha = tmp_path / "a.mha"
    mha.write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 3 3 3\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {tmp_path / 'voxels.raw'}\n"
    )
    nrrd = tmp_path / "a.nrrd"
    nrrd.write_text(
        "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 3 3\nencoding: raw\n"
        f"data file: {tmp_path / 'voxels.raw'}\n\n"
    )
    for path in (mha, nrrd):
        with pytest.raises(CaseError, match="takes its voxels from another file"):
            read_pixels(path)


def test_itk_headers_that_promise_too_much(tmp_path):
    pytest.importorskip("SimpleITK")
    path = tmp_path / "a.mha"
    path.write_bytes(
        b"ObjectType = Image\nNDims = 3\nDimSize = 9000 9000 9000\nElementType = MET_DOUBLE\n"
        b"ElementDataFile = LOCAL\n" + bytes(100)
    )
    with pytest.raises(CaseError, match="promises 9000 × 9000 × 9000 values"):
        read_pixels(path)


def test_itk_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    (tmp_path / "a.nrrd").write_bytes(b"NRRD0005\n")
    with pytest.raises(MissingExtraError, match=r"\.nrrd.* SimpleITK.*'\.\[itk\]' in the clone"):
        read_pixels(tmp_path / "a.nrrd")


def test_endings():
    assert ending_of(".nii.gz") is None and ending_of("a.gz") is None
    assert stem_of("a.b.nii") == "a.b" and stem_of("README") == "README"


def test_unknown_endings_and_empty_files(tmp_path):
    (tmp_path / "a.xyz").write_bytes(b"")
    with pytest.raises(CaseError, match=r"does not read; expected one of \.nii\.gz"):
        read_pixels(tmp_path / "a.xyz")
    for ending in (".nii", ".nii.gz", ".png", ".tif", ".npy", ".npz", ".bmp"):
        path = tmp_path / f"empty{ending}"
        path.write_bytes(b"")
        with pytest.raises(CaseError, match="empty"):
            read_pixels(path)


def test_label_maps_of_other_dimensions(tmp_path):
    with pytest.raises(CaseError, match="1 axes"):
        read_label_map(write_npy(tmp_path / "a.npy", np.zeros(4, dtype=np.uint8)))
    path = write_nifti(tmp_path / "a.nii.gz", label_volume((6, 5, 4, 1)))
    assert read_label_map(path).values.shape == (6, 5, 4)
