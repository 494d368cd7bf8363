"""NIfTI against nibabel, and against the project's own reader of BIDS."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace

import factories
import nibabel as nib
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.exports import export_cache
from softlabel.exports.nifti import class_labels, names
from softlabel.preprocess import restore
from softlabel.readers import list_dataset
from softlabel.readers.bids import READER
from softlabel.types import ClassTable


def test_labels_and_probabilities_are_those_of_the_cache(volumes, tmp_path, ids):
    report = export_cache(volumes, tmp_path / "out", "nifti")
    assert not report.failures and len(report.written) == 8
    expected = names(ids)
    with open_cache(volumes) as cache:
        for case_id, case in cache.items():
            name = expected[case_id]
            folder = tmp_path / "out" / name / "anat"
            assert sorted(p.name for p in folder.iterdir()) == [
                f"{name}_dseg.json", f"{name}_dseg.nii.gz",
                f"{name}_probseg.json", f"{name}_probseg.nii.gz",
            ]  # fmt: skip
            hard, soft = (nib.load(folder / f"{name}_{end}.nii.gz") for end in ("dseg", "probseg"))
            for image in (hard, soft):
                np.testing.assert_allclose(image.affine, case.affine)
                np.testing.assert_allclose(image.header.get_qform(coded=False), case.affine)
                assert image.header["sform_code"] == image.header["qform_code"] == 1
                assert image.header.get_zooms()[:3] == case.spacing_mm
                assert image.header.get_xyzt_units() == ("mm", "unknown")
            np.testing.assert_array_equal(np.asarray(hard.dataobj), case.labels[...])
            assert hard.get_data_dtype() == case.labels.dtype
            assert soft.get_data_dtype() == np.float32 and (
                soft.dataobj.slope,
                soft.dataobj.inter,
            ) == (1, 0)
            np.testing.assert_array_equal(np.moveaxis(soft.get_fdata(), -1, 0), case.soft[...])


def test_the_tables_tell_the_classes(volumes, tmp_path):
    export_cache(volumes, tmp_path, "nifti", ids=["sub-02"])
    about = json.loads((tmp_path / "sub-02/anat/sub-02_probseg.json").read_text())
    assert about["LabelMap"] == list(factories.FULL_CLASSES.names)
    assert about["LabelValues"] == list(factories.FULL_CLASSES.values)
    assert "not calibrated" in about["Description"] and about["Sources"] == ["sub/x"]
    assert (
        json.loads((tmp_path / "sub-02/anat/sub-02_dseg.json").read_text())["IgnoredValue"] == 999
    )
    rows = (tmp_path / "dseg.tsv").read_text(encoding="utf-8").splitlines()
    assert rows == [
        "index\tname\tcolor", "0\tbackground\t#c8c8c8", "7\tshell\t#e69f00",
        "300\tgrößter Kern\t#56b4e9",
    ]  # fmt: skip
    snap = (tmp_path / "itksnap_labels.txt").read_text(encoding="utf-8").splitlines()
    assert [shlex.split(row) for row in snap if not row.startswith("#")] == [
        [*"0000000", "Clear Label"],
        ["7", "230", "159", "0", "1", "1", "1", "shell"],
        ["300", "86", "180", "233", "1", "1", "1", "größter Kern"],
    ]
    slicer = (tmp_path / "slicer_labels.ctbl").read_text(encoding="utf-8").splitlines()
    assert [row.split() for row in slicer if not row.startswith("#")] == [
        ["0", "background", "200", "200", "200", "0"],
        ["7", "shell", "230", "159", "0", "255"],
        ["300", "größter_Kern", "86", "180", "233", "255"],
    ]
    derivative = json.loads((tmp_path / "dataset_description.json").read_text())
    assert derivative["DatasetType"] == "derivative"
    assert derivative["GeneratedBy"][0]["Name"] == "softlabel"


def test_one_file_a_class(volumes, tmp_path):
    export_cache(volumes, tmp_path, "nifti", ids=["sub-02"], per_class=True)
    with open_cache(volumes) as cache:
        for k, label in enumerate(("background", "shell", "groterKern")):
            path = tmp_path / f"sub-02/anat/sub-02_label-{label}_probseg.nii.gz"
            image = nib.load(path)
            assert image.ndim == 3
            np.testing.assert_array_equal(image.get_fdata(), cache["sub-02"].soft[k])
            about = json.loads((path.parent / path.name.replace(".nii.gz", ".json")).read_text())
            assert about["LabelValue"] == factories.FULL_CLASSES.values[k]
            assert about["Label"] == factories.FULL_CLASSES.names[k]


def test_what_the_steps_changed_comes_back_to_the_grid_of_the_scanner(slices, tmp_path):
    for grid in ("scanner", "cache"):
        export_cache(slices, tmp_path / grid, "nifti", grid=grid)
    with open_cache(slices) as cache:
        case = cache["scan"]
        assert case.original_shape != case.shape
        expected = {
            "scanner": (case.original_labels, restore(case.preprocessing, case.soft[...], "soft")),
            "cache": (case.labels, case.soft),
        }
        for grid, (labels, soft) in expected.items():
            stem = tmp_path / grid / "sub-scan/anat/sub-scan"
            found = nib.load(f"{stem}_dseg.nii.gz")
            np.testing.assert_array_equal(np.asarray(found.dataobj)[..., 0], labels[...])
            found = nib.load(f"{stem}_probseg.nii.gz")
            np.testing.assert_array_equal(np.moveaxis(found.get_fdata()[:, :, 0], -1, 0), soft[...])
            assert found.header["sform_code"] == found.header["qform_code"] == 0
            assert found.header.get_xyzt_units()[0] == "unknown", "its spacing is not known"


def test_a_spacing_without_a_place_is_kept(tmp_path):
    case = factories.full_case()
    case = replace(case, affine=None, spacing_mm=(0.5, 0.25, 2.0))
    cache = factories.full_cache(tmp_path / "cache", [case])
    export_cache(cache, tmp_path / "out", "nifti")
    (path,) = (tmp_path / "out").rglob("*_dseg.nii.gz")
    header = nib.load(path).header
    assert header.get_zooms() == (0.5, 0.25, 2.0) and header.get_xyzt_units()[0] == "mm"
    assert header["sform_code"] == header["qform_code"] == 0


def test_a_sheared_affine_has_no_rotation_for_the_qform(tmp_path):
    sheared = np.diag([0.5, 0.5, 2.0, 1.0])
    sheared[0, 1] = 0.2
    case = replace(factories.full_case("x"), affine=sheared)
    export_cache(factories.full_cache(tmp_path / "cache", [case]), tmp_path / "out", "nifti")
    image = nib.load(next((tmp_path / "out").rglob("*_dseg.nii.gz")))
    np.testing.assert_allclose(image.affine, sheared)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 0)


def test_a_turned_and_mirrored_affine_is_told_twice(tmp_path):
    turned = np.array(
        [[0, 0.4, 0.3, 5], [0, -0.3, 0.4, -7], [-2, 0, 0, 11], [0, 0, 0, 1]], np.float64
    )
    case = replace(factories.full_case("x"), affine=turned, spacing_mm=(2.0, 0.5, 0.5))
    assert np.linalg.det(turned) < 0
    export_cache(factories.full_cache(tmp_path / "cache", [case]), tmp_path / "out", "nifti")
    header = nib.load(next((tmp_path / "out").rglob("*_dseg.nii.gz"))).header
    np.testing.assert_allclose(header.get_sform(), turned, atol=1e-6)
    np.testing.assert_allclose(header.get_qform(), turned, atol=1e-6)
    assert (header["sform_code"], header["qform_code"]) == (1, 1)
    np.testing.assert_allclose(header.get_zooms(), (2, 0.5, 0.5), rtol=1e-6)


def test_the_same_cache_gives_the_same_bytes(volumes, tmp_path):
    files = []
    for name in ("a", "b"):
        written = export_cache(volumes, tmp_path / name, "nifti").written
        files.append({p.relative_to(tmp_path / name): p.read_bytes() for p in written})
    assert files[0] == files[1]


def test_it_is_a_derivative_that_the_reader_of_bids_takes(tmp_path):
    case = factories.full_case("sub-02")
    case = replace(case, labels=case.truth, ignore=None)
    volumes = factories.cache_of(
        tmp_path / "cache", [case], factories.QUICK, factories.FULL_CLASSES, None, case.channels
    )
    export_cache(volumes, tmp_path / "derivatives/softlabel", "nifti", ids=["sub-02"])
    (tmp_path / "sub-02/anat").mkdir(parents=True)
    shutil.copy(
        tmp_path / "derivatives/softlabel/sub-02/anat/sub-02_dseg.nii.gz",
        tmp_path / "sub-02/anat/sub-02_T1w.nii.gz",
    )
    dataset = list_dataset(tmp_path, format="bids")
    assert dict(dataset.classes) == dict(factories.FULL_CLASSES)
    case = READER.read_case(dataset, dataset.refs[0])
    with open_cache(volumes) as cache:
        np.testing.assert_array_equal(case.labels, cache["sub-02"].labels[...])
        np.testing.assert_allclose(case.affine, cache["sub-02"].affine)


def test_names_are_entities_and_all_different():
    given = [
        "sub-01", "sub-01_ses-2_run-1", "01", "a_b", "a-b", "AB", "..", "größer/x", "größer x",
        "con", "ab12345678", "Fall 1 – größer",
    ]  # fmt: skip
    found = names(given)
    assert found["sub-01"] == "sub-01" and found["sub-01_ses-2_run-1"] == "sub-01_ses-2_run-1"
    assert len({name.lower() for name in found.values()}) == len(given)
    for name in found.values():
        for entity in name.split("_"):
            key, dash, label = entity.partition("-")
            assert key.isalpha() and dash and label.isalnum() and label.isascii(), name
    assert names(["Subject_01_bscan_010"]) == {"Subject_01_bscan_010": "sub-Subject01bscan010"}
    assert names(given[:3])["01"] == found["01"] != "sub-01"


@pytest.mark.parametrize(
    "classes, expected",
    [
        ([(0, "a b"), (1, "ab"), (2, "c")], ["ab0", "ab1", "c"]),
        ([(1, "?"), (3, "!")], ["1", "3"]),
    ],
)
def test_labels_of_classes_are_different(classes, expected):
    assert class_labels(ClassTable.from_mapping(dict(classes))) == expected
