"""DICOM segmentations against pydicom and highdicom, and through the project's own reader."""

from __future__ import annotations

import shutil
import sys

import factories
import numpy as np
import pytest

hd = pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

from readers.dicoms import labels, write_segmentation, write_series  # noqa: E402

from softlabel.cache import open_cache  # noqa: E402
from softlabel.errors import MissingExtraError, UsageError  # noqa: E402
from softlabel.exports import export_cache  # noqa: E402
from softlabel.generation.run import generate  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.readers.dicomseg import read_fractions  # noqa: E402
from softlabel.readers.dicomseries import read_series  # noqa: E402

OBLIQUE = (0.8, 0.6, 0.0, 0.0, 0.0, -1.0)
STEP = 1 / 255


@pytest.fixture
def data(tmp_path):
    """An oblique series of five slices, numbered against their order, and its segmentation."""
    root = tmp_path / "data"
    write_segmentation(root / "seg.dcm", write_series(root / "ct", orientation=OBLIQUE), labels())
    return root


@pytest.fixture
def cache(data, tmp_path):
    report = generate(data, tmp_path / "c.h5", Settings(n_segments=9))
    assert report.complete
    return tmp_path / "c.h5"


def test_fractions_lie_on_their_series(cache, data, tmp_path):
    (path,) = export_cache(cache, tmp_path / "out", "dicom-seg", source=data).written
    assert path.name == "P1.seg.dcm"
    seg = hd.seg.segread(path)
    assert seg.SegmentationType == "FRACTIONAL" and seg.SegmentationFractionalType == "PROBABILITY"
    assert seg.MaximumFractionalValue == 255 and seg.PatientID == "P1"
    assert "not calibrated" in seg.ContentDescription
    images = {h.SOPInstanceUID: h for h in map(pydicom.dcmread, (data / "ct").iterdir())}
    ordered = sorted(images.values(), key=lambda h: -h.InstanceNumber)  # written against the order
    values = seg.get_pixels_by_source_instance([h.SOPInstanceUID for h in ordered])
    with open_cache(cache) as opened:
        soft, names = opened["P1"].soft[...], opened.classes.names
    assert ((soft > 0) & (soft < 1)).any()
    for number in seg.segment_numbers:
        described = seg.get_segment_description(number)
        assert "not calibrated" in described.SegmentDescription
        expected = soft[names.index(described.segment_label)].T
        np.testing.assert_allclose(values[..., number - 1], expected, atol=0.5001 * STEP)
    assert [seg.get_segment_description(n).segment_label for n in seg.segment_numbers] == [
        "liver", "tumour",
    ]  # fmt: skip


def test_the_reader_of_dicom_reads_the_same(cache, data, tmp_path):
    (path,) = export_cache(cache, tmp_path / "out", "dicom-seg", source=data).written
    _, grid = read_series(sorted((data / "ct").iterdir()), with_pixels=False)
    found = read_fractions(path, grid)
    assert found.meaning == "PROBABILITY"
    with open_cache(cache) as opened:
        for name, fractions in found.maps.items():
            expected = opened["P1"].soft[opened.classes.names.index(name)]
            np.testing.assert_allclose(fractions, expected, atol=0.5001 * STEP)


def test_a_series_of_one_slice(tmp_path):
    root = tmp_path / "data"
    values = np.arange(63, dtype=np.int16).reshape(1, 7, 9)
    slices = write_series(root / "ct", values=values)
    write_segmentation(root / "seg.dcm", slices, labels()[2:3], names=("liver", "tumour"))
    generate(root, tmp_path / "c.h5", Settings(n_segments=4))
    (path,) = export_cache(tmp_path / "c.h5", tmp_path / "out", "dicom-seg", source=root).written
    seg = hd.seg.segread(path)
    found = seg.get_pixels_by_source_instance([slices[0].SOPInstanceUID])
    with open_cache(tmp_path / "c.h5") as cache:
        soft = cache["P1"].soft[...]
    for number in seg.segment_numbers:
        np.testing.assert_allclose(found[0, ..., number - 1], soft[number], atol=0.5001 * STEP)


def test_a_series_that_is_gone_or_another_one_fails_with_its_case(cache, data, tmp_path):
    shutil.move(data / "ct", tmp_path / "kept")
    report = export_cache(cache, tmp_path / "out", "dicom-seg", source=data)
    assert list(report.failures) == ["P1"] and "there is no file" in report.failures["P1"]
    write_series(data / "ct")
    report = export_cache(cache, tmp_path / "out", "dicom-seg", source=data)
    assert "lies elsewhere than its series" in report.failures["P1"]


def test_what_it_needs_is_asked_for(cache, data, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="--source"):
        export_cache(cache, tmp_path / "out", "dicom-seg")
    other = factories.full_cache(tmp_path / "other")
    with pytest.raises(UsageError, match=r"were read as test. Export them to nifti"):
        export_cache(other, tmp_path / "out", "dicom-seg", source=data)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    with pytest.raises(MissingExtraError, match=r"pip install '.\[export\]'.*highdicom"):
        export_cache(cache, tmp_path / "out", "dicom-seg", source=data)
    assert not (tmp_path / "out").exists()
