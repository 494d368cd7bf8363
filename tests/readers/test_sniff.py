"""Files whose names say something else than their first bytes."""

from __future__ import annotations

import gzip
import io
import os
import zipfile

import h5py
import nibabel as nib
import numpy as np
import pytest
import scipy.io
import tifffile
from PIL import Image

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import read_label_map, read_pixels
from softlabel.readers.sniff import NAMES, kind_of, sniff

from .factories import label_volume, read_one, volume, write_nifti, write_png

GREY = label_volume((8, 9))
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"


def pillow(format):
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, format)
    return buffer.getvalue()


def numpy_file(save):
    buffer = io.BytesIO()
    save(buffer, GREY)
    return buffer.getvalue()


def nifti(image_class):
    return image_class(label_volume(), np.eye(4)).to_bytes()


def zipped(name):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    return buffer.getvalue()


def hdf5(userblock):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w", userblock_size=userblock) as h5:
        h5["a"] = GREY
    return buffer.getvalue()


def matlab():
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, {"a": GREY})
    return buffer.getvalue()


def big_tiff():
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, GREY, bigtiff=True, byteorder=">")
    return buffer.getvalue()


CONTENT = {
    "png": pillow("PNG"),
    "jpeg": pillow("JPEG"),
    "bmp": pillow("BMP"),
    "gif": pillow("GIF"),
    "tiff": pillow("TIFF"),
    "tiff 64": big_tiff(),
    "nifti": nifti(nib.Nifti1Image),
    "nifti gz": gzip.compress(nifti(nib.Nifti1Image)),
    "nifti 2": nifti(nib.Nifti2Image),
    "mgh": nifti(nib.MGHImage),
    "mgh gz": gzip.compress(nifti(nib.MGHImage)),
    "analyze": nib.AnalyzeHeader().binaryblock,
    "nifti pair": nib.nifti1.Nifti1PairHeader().binaryblock,
    "nrrd": b"NRRD0005\n# Complete NRRD file format specification at:\n",
    "metaimage": b"ObjectType = Image\nNDims = 3\n",
    "npy": numpy_file(np.save),
    "npz": numpy_file(np.savez),
    "zip": zipped("a.txt"),
    "gzip": gzip.compress(b"text"),
    "hdf5": hdf5(0),
    "hdf5 behind": hdf5(512),
    "matlab": matlab(),
    "dicom": bytes(128) + b"DICM" + bytes(20),
    "pdf": b"%PDF-1.7\n",
    "web page": b"\n  <!DOCTYPE html>\n<html lang='en'>",
    "git lfs": LFS,
    "git-annex": b"/annex/objects/MD5E-s1--0.nii.gz\n",
    "empty": b"",
    "unknown": b"BM, the boundary of the retina",
}


@pytest.mark.parametrize("name", CONTENT)
def test_kinds_of_files_as_other_libraries_write_them(tmp_path, name):
    path = tmp_path / "a.bin"
    path.write_bytes(CONTENT[name])
    kind = sniff(path)
    assert name == kind or name.startswith(f"{kind} ")
    assert kind in NAMES or kind == "unknown"


@pytest.mark.parametrize("name", CONTENT)
def test_cut_off_files_are_no_error_here(name):
    for length in range(0, 400, 7):
        assert kind_of(CONTENT[name][:length])
    for length in range(2, 40):
        sniffed = gzip.compress(CONTENT["nifti"])[:length]
        assert kind_of(sniffed) == "unknown"


def test_images_are_read_as_what_they_are_with_a_note(tmp_path):
    for kind, ending in (("png", ".tif"), ("tiff", ".png"), ("bmp", ".png"), ("npy", ".png")):
        path = tmp_path / f"{kind}{ending}"
        path.write_bytes(CONTENT[kind])
        found = read_label_map(path)
        np.testing.assert_array_equal(found.values, GREY)
        assert [note.code for note in found.notes] == ["ending"]
        assert found.notes[0].text == (
            f"{path} is {NAMES[kind]}, though its name ends in {ending}; it was read as what it is."
        )
    assert read_pixels(write_png(tmp_path / "a.png", GREY)).notes == ()
    for ending, content in ((".nii", gzip.compress), (".nii.gz", bytes)):
        path = tmp_path / f"a{ending}"
        path.write_bytes(content(CONTENT["nifti"]))
        np.testing.assert_array_equal(read_pixels(path).values, label_volume())
        assert read_pixels(path).notes == ()


def test_notes_reach_the_case(tmp_path):
    write_png(tmp_path / "images" / "a.png", volume((8, 9), dtype=np.uint8))
    write_png(tmp_path / "labels" / "b.png", GREY)
    (tmp_path / "labels" / "b.png").rename(tmp_path / "labels" / "a.tif")
    case = read_one(tmp_path)
    assert [note.code for note in case.notes] == ["ending"] and "a.tif" in case.notes[0].text


@pytest.mark.parametrize(
    ("kind", "ending", "sentence"),
    [
        ("web page", ".png", r"a\.png is a web page named \.png; expected a PNG image\. Download"),
        ("git lfs", ".nii.gz", r"is a Git LFS pointer named \.gz; .* Run git lfs pull"),
        ("git-annex", ".npy", "is a git-annex pointer .*git annex get"),
        ("dicom", ".tif", "is a DICOM file .*--format dicom"),
        ("pdf", ".tif", r"is a PDF document named \.tif"),
        ("hdf5", ".npy", "is an HDF5 file"),
        ("matlab", ".npy", "is a MATLAB file"),
        ("zip", ".png", "is a ZIP archive .*Unpack it"),
        ("empty", ".png", "is empty .*download it again"),
        ("analyze", ".png", r"Analyze 7\.5 header .*\.img"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, kind, ending, sentence):
    path = tmp_path / f"a{ending}"
    path.write_bytes(CONTENT[kind])
    with pytest.raises(CaseError, match=sentence):
        read_pixels(path)


def test_pipes_and_folders_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").mkdir()
    for name, what in (("a.png", "a pipe"), ("b.png", "a folder")):
        with pytest.raises(CaseError, match=f"{name} is {what}, not a regular file; expected"):
            read_pixels(tmp_path / name)


def test_a_link_to_an_image_is_followed(tmp_path):
    write_nifti(tmp_path / "elsewhere" / "a.nii.gz", label_volume())
    (tmp_path / "a.nii.gz").symlink_to(tmp_path / "elsewhere" / "a.nii.gz")
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.nii.gz").values, label_volume())
