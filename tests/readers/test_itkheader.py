"""Headers of NRRD and MetaImage that name other files, in every spelling that ITK understands."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers.imagefiles import ENDINGS, ending_of, read_pixels
from softlabel.readers.itkheader import HEADER_BYTES, image_io_of

from .factories import volume

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


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr", "A.MHD", "a.raw"])
def test_endings_of_detached_headers_are_not_read(tmp_path, name):
    assert ending_of(name) is None and not {".mhd", ".nhdr"} & {*ENDINGS}
    (tmp_path / name).write_bytes(META + b"ElementDataFile = voxels.raw\n")
    with pytest.raises(CaseError, match="does not read"):
        read_pixels(tmp_path / name)
