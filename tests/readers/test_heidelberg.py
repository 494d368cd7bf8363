"""``.vol`` files written by their public layout, and read by eyepy as well where it is there."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers import detect, list_dataset

from .factories import VOL_SHAPE, read_all, truncate, vol_boundaries, write_vol
from .test_layers import naive_class_map

ROWS, COLUMNS = VOL_SHAPE[1:]


def test_bscans_with_boundaries(tmp_path):
    path = write_vol(tmp_path / "eye.vol", patient="P7")
    assert detect(tmp_path)[0].name == "heidelberg"
    dataset = list_dataset(tmp_path)
    assert dataset.description == (
        "Heidelberg: 2 B-scans with the boundaries ILM, RNFL, BM of 1 file"
    )
    names = ("above ILM", "ILM to RNFL", "RNFL to BM", "below BM")
    assert dataset.classes.names == names and dataset.ignore == 255
    assert [ref.id for ref in dataset.refs] == ["eye_bscan_000", "eye_bscan_002"]
    assert dataset.unlabelled == ("eye.vol, B-scan 1",)
    case = read_all(dataset)["eye_bscan_002"]
    lines = vol_boundaries()[2][[0, 2, 1]]
    np.testing.assert_array_equal(
        case.labels, naive_class_map(lines, np.zeros(case.labels.shape, bool), ROWS, 0)
    )
    assert (case.labels[:, 4] == 255).all() and not (case.labels[:, 5] == 255).any()
    assert case.spacing_mm == (0.0039, 0.0115) and case.group == "P7" and path.is_file()


def test_intensities(tmp_path):
    write_vol(tmp_path / "eye.vol")
    case = read_all(list_dataset(tmp_path))["eye_bscan_000"]
    stored = np.random.default_rng(0).random(VOL_SHAPE, dtype=np.float32)[0]
    expected = stored.astype(np.float64) ** 0.25
    expected[:2] = 0
    np.testing.assert_allclose(case.image[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(case.mask, np.arange(ROWS)[:, None] + 0 * stored >= 2)
    raw = read_all(list_dataset(tmp_path, options={"intensities": "raw"}))["eye_bscan_000"]
    np.testing.assert_array_equal(raw.image[0][2:], stored[2:])


def test_eyepy_reads_the_same_heights(tmp_path):
    eyepy = pytest.importorskip("eyepy")
    volume = eyepy.import_heyex_vol(write_vol(tmp_path / "eye.vol"))
    assert volume.shape == VOL_SHAPE
    for name, number in (("ILM", 0), ("RNFL", 2), ("BM", 1)):
        for bscan, lines in enumerate(vol_boundaries()):
            np.testing.assert_array_equal(
                volume.layers[name].data[bscan], lines[number].astype(np.float32)
            )
    assert (volume.scale_y, volume.scale_x) == (0.0039, 0.0115)


def test_boundaries_that_were_asked_for(tmp_path):
    write_vol(tmp_path / "eye.vol")
    dataset = list_dataset(tmp_path, options={"boundaries": "BM, ILM"})
    assert dataset.classes.names == ("above ILM", "ILM to BM", "below BM")
    labels = read_all(dataset)["eye_bscan_000"].labels
    ilm, _, bm = np.sort(vol_boundaries()[0][:3, 5])
    rows = np.arange(ROWS)
    np.testing.assert_array_equal(labels[:, 5], (rows >= ilm).astype(int) + (rows >= bm))
    with pytest.raises(UsageError, match="names 'XYZ'; expected some of ILM"):
        list_dataset(tmp_path, options={"boundaries": "ILM,XYZ"})
    assert "PR1" in list_dataset(tmp_path, options={"boundaries": "PR1"}).problems["eye"]


def test_files_with_other_boundaries_share_what_both_have(tmp_path):
    write_vol(tmp_path / "a.vol")
    other = vol_boundaries()
    other[:, 2] = np.nan
    write_vol(tmp_path / "b.vol", boundaries=other)
    dataset = list_dataset(tmp_path)
    assert dataset.classes.names == ("above ILM", "ILM to BM", "below BM")
    assert len(dataset.refs) == 4


def test_a_file_without_patient_is_its_own_group_and_nothing_segmented(tmp_path):
    write_vol(tmp_path / "a.vol")
    write_vol(tmp_path / "b.vol", boundaries=np.full((3, 17, COLUMNS), np.nan))
    dataset = list_dataset(tmp_path)
    assert {ref.group for ref in dataset.refs} == {"a"}
    assert "Segment it in HEYEX" in dataset.problems["b"]


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [
        (12, -5, "negative size"),
        (12, 2**30, "promises"),
        (16, 4, "for 4 B-scans|but the file stores only"),
        (20, 0, "empty array"),
        (48, 2**31 - 1, "has .* bytes; expected"),
        (48, -3, "has .* bytes; expected"),
        (100, 10, "headers of 10 bytes"),
        (100, 2**31 - 1, "has .* bytes; expected"),
        (0, 0, "does not begin like"),
        (2048 + 20 + 48, 65, "has 65 boundaries"),
        (2048 + 20 + 48, -1, "has -1 boundaries"),
        (2048 + 20 + 52, 5000, "from byte 5000"),
    ],
)
def test_headers_that_contradict_the_file(tmp_path, offset, value, words):
    path = write_vol(tmp_path / "eye.vol")
    content = bytearray(path.read_bytes())
    content[offset : offset + 4] = struct.pack("<i", value)
    path.write_bytes(content)
    problem = list_dataset(tmp_path, "heidelberg").problems["eye"]
    with pytest.raises(CaseError, match=words):
        raise CaseError(problem)


def test_a_pixel_of_no_size_and_intensities_that_are_none(tmp_path):
    path = write_vol(tmp_path / "eye.vol")
    whole = path.read_bytes()
    path.write_bytes(whole[:24] + struct.pack("<d", float("nan")) + whole[32:])
    assert "expected positive numbers" in list_dataset(tmp_path).problems["eye"]
    path.write_bytes(whole)
    dataset = list_dataset(tmp_path)
    path.write_bytes(whole[:-4] + struct.pack("<f", float("nan")))
    with pytest.raises(CaseError, match="B-scan 2, has negative intensities"):
        read_all(dataset)


@pytest.mark.parametrize("keep", [0.99, 0.5, 0.01, 0])
def test_files_that_are_cut_off(tmp_path, keep):
    truncate(write_vol(tmp_path / "eye.vol"), keep)
    assert "eye.vol" in list_dataset(tmp_path, "heidelberg").problems["eye"]


def test_wrong_folder(tmp_path):
    with pytest.raises(SourceError, match=r"no \.vol file"):
        list_dataset(tmp_path, "heidelberg")
