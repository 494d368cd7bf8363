"""Headers of NRRD and MetaImage that name other files, in every spelling that ITK understands."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers import list_dataset
from softlabel.readers.imagefiles import ENDINGS, ending_of, files_of, read_pixels
from softlabel.readers.itkheader import HEADER_BYTES, image_io_of, voxel_file_of

from .factories import label_volume, read_one, truncate, volume

sitk = pytest.importorskip("SimpleITK")

META = b"ObjectType = Image\nNDims = 3\nDimSize = 3 3 3\nElementType = MET_UCHAR\n"
META_END = b"ElementDataFile = LOCAL\n"
NRRD = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 3 3 3\nencoding: raw\n"
INSIDE, OUTSIDE = bytes(range(100, 127)), bytes(27)
LONG = HEADER_BYTES // 1000

DETACHED = {
    "blank line.mha": META + b"\nElementDataFile = PATH\n",
    "long.mha": META + (b"A = " + b"b" * 1000 + b"\n") * LONG + b"ElementDataFile = PATH\n",
    "colon.mha": META + b"ElementDataFile : PATH\n",
    "name alone.mha": META + b"ElementDataFile\nA = PATH\n",
    "lower case.mha": META + b"elementdatafile = LOCAL\nElementDataFile = PATH\n",
    "carriage return.mha": META + b"A = b\rElementDataFile = LOCAL\nElementDataFile = PATH\n",
    "no separator.mha": META + b"A\n" + META_END + b"ElementDataFile = PATH\n",
    "numbers.mha": META.replace(b"3 3 3\n", b"3 3\n3 ElementDataFile = LOCAL\n")
    + b"ElementDataFile = PATH\n",
    "long.nrrd": NRRD + (b"# " + b"b" * 1000 + b"\n") * LONG + b"data file: PATH\n\n",
    "long line.nrrd": NRRD + b"a:=" + b"b" * HEADER_BYTES + b"\ndata file: PATH\n\n",
    "carriage returns.nrrd": (NRRD + b"data file: PATH\n\n").replace(b"\n", b"\r"),
    "carriage returns and feeds.nrrd": (NRRD + b"data file: PATH\n\n").replace(b"\n", b"\r\n"),
    "local.nrrd": NRRD + b"data file: PATH=local\n\n",
    "one word.nrrd": NRRD + b"datafile: PATH\n\n",
    "upper case.nrrd": NRRD + b"DATA FILE: PATH\n\n",
    "list.nrrd": NRRD + b"data file: LIST 3\nPATH\n",
}
ATTACHED = {
    "plain.mha": META + META_END,
    "blank lines.mha": b"\n" + META.replace(b"\n", b"\r\n\r\n") + META_END,
    "spaces.mha": META + b"\t ElementDataFile  :=\tLocal  \r\n",
    "lower case.mha": META + b"ElementDataFile=local\n",
    "no value.mha": META + b"A =  \nB\xc3\xa9: \xa9\nC = " + b"d" * 5000 + b"\n" + META_END,
    "NRRD.mha": NRRD + b"\n",
    "plain.nrrd": NRRD + b"\n",
    "carriage returns.nrrd": NRRD.replace(b"\n", b"\r") + b"\r",
    "carriage returns and feeds.nrrd": NRRD.replace(b"\n", b"\r\n") + b"\r\n",
    "comment and keys.nrrd": NRRD + b"# data file: a\ndata file:=a\nb:=data file: c\n\n",
    "MetaImage.nrrd": META + META_END,
}
HALF = {
    "empty.mha": b"",
    "empty.nrrd": b"",
    "no end.mha": META,
    "cut off.mha": META + META_END[:-1],
    "other case.mha": META + b"ElementDataFile = LoCaL\n",
    "nothing before the end.mha": META + b"A =\n" + META_END,
    "no name before the end.mha": META + b" = a\n" + META_END,
    "no end.nrrd": NRRD,
    "NUL.nrrd": NRRD + b"\0" + b"a" * 1000 + b"data file: PATH\n\n",
    "NUL.mha": META + b"A = \0\n" + META_END,
    "a web page.nrrd": b"<html>\nnot found\n</html>\n",
}


def by_name(headers):
    return pytest.mark.parametrize(("name", "header"), headers.items(), ids=headers)


@by_name(DETACHED)
def test_no_header_leads_to_another_file(tmp_path, name, header):
    for other in ("voxels.raw", "voxels.raw=local"):
        (tmp_path / other).write_bytes(OUTSIDE)
    path = tmp_path / name
    path.write_bytes(header.replace(b"PATH", str(tmp_path / "voxels.raw").encode()))
    reader = sitk.ImageFileReader()
    reader.SetImageIO("NrrdImageIO" if header.startswith(b"NRRD") else "MetaImageIO")
    reader.SetFileName(str(path))
    # the danger is real: ITK alone reads the other file
    assert sitk.GetArrayFromImage(reader.Execute()).tobytes() == OUTSIDE
    with pytest.raises(CaseError, match="expected") as caught:
        read_pixels(path)
    assert str(path) in str(caught.value) and len(str(caught.value)) < 600


@by_name(ATTACHED)
def test_headers_that_their_voxels_follow(tmp_path, name, header):
    path = tmp_path / name
    path.write_bytes(header + INSIDE)
    assert read_pixels(path).values.T.tobytes() == INSIDE


@by_name(HALF)
def test_what_is_no_header(tmp_path, name, header):
    path = tmp_path / name
    path.write_bytes(header)
    with pytest.raises(CaseError, match="expected"):
        image_io_of(path)


@pytest.mark.parametrize("ending", [".nrrd", ".mha"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_itk_writes_is_read(tmp_path, ending, compressed):
    values = volume((4, 5, 6))
    image = sitk.GetImageFromArray(values)
    # as copied from DICOM: tags, padding, long texts, texts of several lines
    for key, value in {"0008|0050": "  ", "Long": "x" * 900, "a": "b\nc", "é": "d: e=f"}.items():
        image.SetMetaData(key, value)
    path = tmp_path / f"a{ending}"
    sitk.WriteImage(image, str(path), useCompression=compressed)
    np.testing.assert_array_equal(read_pixels(path).values, values.T)


@pytest.mark.parametrize("name", ["a.nhdr", "a.raw"])
def test_endings_of_other_detached_headers_are_not_read(tmp_path, name):
    assert ending_of(name) is None and ".nhdr" not in ENDINGS
    (tmp_path / name).write_bytes(META + b"ElementDataFile = voxels.raw\n")
    with pytest.raises(CaseError, match="does not read"):
        read_pixels(tmp_path / name)


def write_mhd(folder, values, compressed=False):
    folder.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.75, 3.0))
    sitk.WriteImage(image, str(folder / "a.mhd"), useCompression=compressed)
    return folder / "a.mhd"


def change(path, old, new):
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_a_header_with_its_voxels_beside_it(tmp_path, compressed):
    values = volume((4, 5, 6))
    path = write_mhd(tmp_path, values, compressed)
    voxels = tmp_path / ("a.zraw" if compressed else "a.raw")
    found = read_pixels(path)
    np.testing.assert_array_equal(found.values, values.T)
    assert found.spacing_mm == (0.5, 0.75, 3.0)
    assert files_of(path) == (path, voxels) and voxel_file_of(path) == voxels
    # the last line needs no end, and HeaderSize = -1 takes the voxels from the end of the file
    path.write_bytes(path.read_bytes().rstrip())
    if not compressed:
        change(path, b"\nElementDataFile", b"\nHeaderSize = -1\nElementDataFile")
        voxels.write_bytes(b"a header" + voxels.read_bytes())
    np.testing.assert_array_equal(read_pixels(path).values, values.T)


def test_voxels_beside_a_header_are_inputs_of_the_case(tmp_path):
    write_mhd(tmp_path / "images", volume((4, 5, 6)))
    write_mhd(tmp_path / "labels", label_volume((4, 5, 6)))
    (ref,) = list_dataset(tmp_path).refs
    assert ref.files == ("images/a.mhd", "images/a.raw", "labels/a.mhd", "labels/a.raw")
    np.testing.assert_array_equal(read_one(tmp_path).labels, label_volume((4, 5, 6)).T)
    (tmp_path / "labels" / "a.raw").unlink()
    (ref,) = list_dataset(tmp_path).refs
    assert "labels/a.raw" not in ref.files
    with pytest.raises(CaseError, match=r"labels/a\.raw does not exist; expected the voxels of a"):
        read_one(tmp_path)


@pytest.mark.parametrize(
    "named",
    [
        b"../a.raw",
        b"PATH",
        b"./a.raw",
        b"LIST\na.raw",
        b"LIST 3\na.raw",
        b"a%02d.raw 1 4 1",
        b".hidden",
        b"a\\a.raw",
        b"a.raw\nElementDataFile = PATH",
        b"a.raw\nmore",
        b"",
        b"a.raw\0",
    ],
)
def test_a_header_names_only_a_file_beside_it(tmp_path, named):
    path = write_mhd(tmp_path / "inside", volume((4, 5, 6)))
    outside = tmp_path / "a.raw"
    outside.write_bytes((tmp_path / "inside" / "a.raw").read_bytes())
    change(path, b"= a.raw", b"= " + named.replace(b"PATH", str(outside).encode()))
    with pytest.raises(CaseError, match=r"a\.mhd (takes its voxels|has a control|has no header)"):
        read_pixels(path)
    assert files_of(path) == (path,)


def test_sizes_of_voxels_beside_a_header_are_checked(tmp_path):
    path = write_mhd(tmp_path, volume((4, 5, 6)))
    with pytest.raises(CaseError, match=r"a\.raw has 240 bytes, but its header .* promises 480"):
        read_pixels(change(path, b"DimSize = 6 5 4", b"DimSize = 12 5 4"))
    with pytest.raises(
        CaseError, match=r"a\.raw has 240 bytes, .* promises 120; expected the same"
    ):
        read_pixels(change(path, b"DimSize = 12 5 4", b"DimSize = 3 5 4"))
    with pytest.raises(CaseError, match="promises 9000 × 9000 × 9000 values"):
        read_pixels(change(path, b"DimSize = 3 5 4", b"DimSize = 9000 9000 9000"))
    path = write_mhd(tmp_path, volume((4, 5, 6)))
    with pytest.raises(CaseError, match="as text"):
        read_pixels(change(path, b"BinaryData = True", b"BinaryData = False"))
    (tmp_path / "a.raw").unlink()
    (tmp_path / "a.raw").mkdir()
    with pytest.raises(CaseError, match=r"a\.raw is a folder"):
        read_pixels(path)


def test_compressed_voxels_beside_a_header_that_are_cut_off(tmp_path):
    path = write_mhd(tmp_path, volume((4, 5, 6)), compressed=True)
    truncate(tmp_path / "a.zraw")
    with pytest.raises(CaseError, match="compressed bytes, but"):
        read_pixels(path)
    size = (tmp_path / "a.zraw").stat().st_size
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join(
        b"CompressedDataSize = %d" % size if line.startswith(b"CompressedDataSize") else line
        for line in lines
    ))  # fmt: skip
    # SimpleITK alone reads it
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(path))).shape == (4, 5, 6)
    with pytest.raises(CaseError, match=r"a\.zraw holds \d+ bytes of voxels, .* promises 240"):
        read_pixels(path)


@pytest.mark.parametrize(
    ("name", "header", "what"),
    [
        (
            "a.nrrd",
            NRRD.replace(b"sizes: ", b"sizes: " + b"9" * 5000) + b"\n",
            "more than 60 digits",
        ),
        ("a.nrrd", NRRD + b"kinds: " + b"domain " * 1000 + b"\n\n", "line of 7007 characters"),
        ("a.mha", META.replace(b"NDims = ", b"NDims = 999") + META_END, "1 to 10 dimensions"),
        ("a.mha", META.replace(b"DimSize = ", b"DimSize = " + b"9" * 99) + META_END, "60 digits"),
    ],
)
def test_headers_for_which_the_library_ends_the_process(tmp_path, name, header, what):
    path = tmp_path / name
    path.write_bytes(header + bytes(10_000))
    with pytest.raises(CaseError, match=what):
        image_io_of(path)
