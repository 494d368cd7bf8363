"""Phantom data sets on disk, as the real ones lie there."""

import errno
import hashlib
import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import scipy.io

from softlabel.errors import SoftlabelError, UsageError
from softlabel.phantom import (
    CT_CLASSES,
    Grader,
    annotate_ct,
    make_brain,
    make_ct,
    make_oct_subject,
    write_ct_dataset,
    write_mri_dataset,
    write_oct_dataset,
)
from softlabel.readers import detect, list_dataset

OCT = {"shape": (256, 256, 3), "n_annotated": 2, "seed": 4}
MRI = {"shape": (64, 64, 16), "seed": 4}
CT = {"shape": (40, 36, 30), "seed": 4}


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def cases(folder, **options):
    reader, _ = detect(folder)
    dataset = list_dataset(folder, options=options) if options else list_dataset(folder)
    for ref in dataset.refs:
        yield reader.read_case(dataset, ref, reader.open_source(dataset, ref.source))


def test_oct_files_have_the_real_layout(tmp_path):
    (path,) = write_oct_dataset(tmp_path / "oct", n_subjects=1, **OCT)
    assert path.name == "Subject_01.mat"
    content = scipy.io.loadmat(path)
    fluids = ("manualFluid1", "manualFluid2", "automaticFluidDME")
    layers = ("manualLayers1", "manualLayers2", "automaticLayersDME", "automaticLayersNormal")
    assert {k for k in content if not k.startswith("__")} == {"images", *fluids, *layers}
    assert content["images"].dtype == np.uint8
    assert content["images"].shape == (256, 256, 3)
    subject = make_oct_subject(4, 1, (256, 256, 3), 2)
    for name in (*fluids, *layers):
        values = content[name]
        assert values.dtype == np.float64
        assert values.shape == (8 if name in layers else 256, 256, 3)
        drawn = np.flatnonzero(np.isfinite(values).any(axis=(0, 1)))
        assert np.array_equal(drawn, subject.bscans)
    for name in fluids:
        assert np.isfinite(content[name][..., subject.bscans]).all()


def test_layer_values_are_rows_from_one(tmp_path):
    (path,) = write_oct_dataset(tmp_path, n_subjects=1, grader=Grader(rms_px=0), **OCT)
    subject = make_oct_subject(4, 1, (256, 256, 3), 2)
    drawn = scipy.io.loadmat(path)["manualLayers1"][..., subject.bscans]
    known = np.isfinite(drawn)
    true = subject.boundaries[..., subject.bscans]
    assert drawn[known] - true[known] == pytest.approx(np.ones(known.sum()), abs=1 / 32)


def test_the_reader_recovers_the_truth_of_a_perfect_grader(tmp_path):
    write_oct_dataset(tmp_path, n_subjects=1, grader=Grader(rms_px=0), **OCT)
    read = list(cases(tmp_path))
    assert len(read) == 2
    for case in read:
        annotated = case.labels != 255
        assert 0.6 < annotated.mean() < 0.9
        # Rounding to 1/16 pixel moves a row now and then.
        assert (case.labels == case.truth)[annotated].mean() > 0.998


def test_truth_beside_the_oct_files(tmp_path):
    write_oct_dataset(tmp_path, n_subjects=1, **OCT)
    subject = make_oct_subject(4, 1, (256, 256, 3), 2)
    with np.load(tmp_path / "truth" / "Subject_01.npz", allow_pickle=False) as truth:
        assert set(truth) == {"bscans", "labels", "clean", "boundaries"}
        assert truth["bscans"].dtype == np.int64
        assert np.array_equal(truth["labels"], subject.labels)
        assert np.array_equal(truth["clean"], subject.clean[..., subject.bscans])
        assert np.array_equal(truth["boundaries"], subject.boundaries[..., subject.bscans] + 1)


def test_one_grader_leaves_the_variables_of_the_second_out(tmp_path):
    (path,) = write_oct_dataset(tmp_path, n_subjects=1, n_graders=1, **OCT)
    names = {name for name, *_ in scipy.io.whosmat(path)}
    assert "manualLayers1" in names
    assert "manualLayers2" not in names


def test_mri_files_have_the_real_layout(tmp_path):
    folders = write_mri_dataset(tmp_path, n_subjects=2, n_graders=2, **MRI)
    assert folders == [tmp_path / "training" / "1", tmp_path / "training" / "4"]
    brain = make_brain(4, 2, (64, 64, 16))
    names = ("pre/FLAIR", "pre/reg_T1", "pre/reg_IR", "segm", "segm_grader2")
    for name in names:
        image = nib.load(folders[1] / f"{name}.nii.gz")
        assert image.shape == (64, 64, 16)
        assert image.affine == pytest.approx(brain.affine, abs=1e-4)
        assert image.header.get_xyzt_units()[0] == "mm"
    flair = np.asarray(nib.load(folders[1] / "pre/FLAIR.nii.gz").dataobj)
    assert np.array_equal(flair, brain.images[0])
    truth = np.asarray(nib.load(tmp_path / "truth/4.nii.gz").dataobj)
    assert np.array_equal(truth, brain.labels)
    clean = np.asarray(nib.load(tmp_path / "truth/4_reg_IR.nii.gz").dataobj)
    assert np.array_equal(clean, brain.clean[2])


def test_the_reader_finds_the_brains_and_their_truth(tmp_path):
    write_mri_dataset(tmp_path, n_subjects=2, **MRI)
    read = list(cases(tmp_path))
    assert [case.id for case in read] == ["1", "4"]
    for case in read:
        assert case.image.shape == (3, 64, 64, 16)
        assert 0 < (case.labels != case.truth).mean() < 0.15


def test_ct_files_are_raw_data_of_nnunet(tmp_path):
    images = write_ct_dataset(tmp_path, n_subjects=2, n_graders=2, **CT)
    assert images == [tmp_path / "imagesTr" / f"ct_00{n}_0000.nii.gz" for n in (1, 2)]
    content = json.loads((tmp_path / "dataset.json").read_text())
    assert content["channel_names"] == {"0": "CT"}
    assert content["file_ending"] == ".nii.gz"
    assert content["numTraining"] == 2
    assert content["labels"] == dict(CT_CLASSES) and len(content["labels"]) == 105
    scan, grader = make_ct(4, 2, (40, 36, 30)), Grader(rms_px=0.75)
    expected = {
        "imagesTr/ct_002_0000": scan.image,
        "truth/ct_002_CT": scan.clean,
        "truth/ct_002": scan.labels,
        "labelsTr/ct_002": annotate_ct(scan, grader, 1),
        "labelsTr_grader2/ct_002": annotate_ct(scan, grader, 2),
    }
    for name, values in expected.items():
        image = nib.load(tmp_path / f"{name}.nii.gz")
        assert image.get_data_dtype() == values.dtype
        assert np.array_equal(np.asarray(image.dataobj), values), name
        assert image.affine == pytest.approx(scan.affine, abs=1e-3)
        assert image.header.get_zooms() == pytest.approx(scan.spacing_mm)
        assert nib.aff2axcodes(image.affine) == ("R", "A", "S")


def test_the_reader_finds_the_scans_their_classes_and_their_truth(tmp_path):
    write_ct_dataset(tmp_path, n_subjects=2, n_graders=3, **CT)
    read = list(cases(tmp_path))
    assert [case.id for case in read] == ["ct_001", "ct_002"]
    for number, case in enumerate(read, start=1):
        assert case.classes.names == tuple(CT_CLASSES)
        assert case.classes.values == tuple(range(105))
        assert case.channels == ("CT",)
        assert case.image.dtype == np.int16 and case.image.shape == (1, 40, 36, 30)
        assert case.notes == ()
        assert np.array_equal(case.truth, make_ct(4, number, (40, 36, 30)).labels)
        assert 0 < (case.labels != case.truth).mean() < 0.1
        assert list(case.label_maps) == ["grader2", "grader3"]
        assert not np.array_equal(*case.label_maps.values())


def test_a_perfect_grader_of_scans_draws_the_truth(tmp_path):
    write_ct_dataset(tmp_path, n_subjects=1, grader=Grader(rms_px=0), spacing_mm=(9, 9, 20), **CT)
    (case,) = cases(tmp_path)
    assert np.array_equal(case.labels, case.truth)
    assert case.spacing_mm == pytest.approx((9, 9, 20))
    settings = json.loads((tmp_path / "phantom.json").read_text())
    assert settings["kind"] == "ct"
    assert settings["size"] == {"x": 40, "y": 36, "z": 30, "spacing_mm": [9, 9, 20]}


@pytest.mark.parametrize(
    ("write", "options"),
    [(write_oct_dataset, OCT), (write_mri_dataset, MRI), (write_ct_dataset, CT)],
)
def test_same_seed_same_bytes_whatever_the_number_of_subjects(
    tmp_path, write, options, monkeypatch
):
    write(tmp_path / "a", n_subjects=1, **options)
    # Another day must not show.
    monkeypatch.setattr("time.time", lambda: 1e9)
    monkeypatch.setattr("time.asctime", lambda *_: "another day")
    write(tmp_path / "b", n_subjects=2, **options)
    one, two = digests(tmp_path / "a"), digests(tmp_path / "b")
    for digest in (one, two):
        digest.pop("phantom.json")
        digest.pop("dataset.json", None)  # has the number of subjects
    assert one.items() <= two.items()
    assert len(two) == 2 * len(one)


def test_images_and_truth_do_not_depend_on_the_graders(tmp_path):
    for kind in ("contrast", "uniform"):
        write_oct_dataset(tmp_path / kind, n_subjects=1, grader=Grader(kind), **OCT)
    truths = [digests(tmp_path / kind)["truth/Subject_01.npz"] for kind in ("contrast", "uniform")]
    assert truths[0] == truths[1]


def test_settings_are_written_down(tmp_path):
    write_oct_dataset(tmp_path, n_subjects=1, grader=Grader("bias", 2.0, 8.0), **OCT)
    settings = json.loads((tmp_path / "phantom.json").read_text())
    assert settings["seed"] == 4
    assert settings["size"] == {"rows": 256, "columns": 256, "bscans": 3, "annotated": 2}
    assert settings["graders"] == {
        "number": 2,
        "kind": "bias",
        "rms_px": 2.0,
        "correlation_px": 8.0,
    }


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty \(it holds 'thesis.txt'\).*another one"):
        write_oct_dataset(tmp_path, **OCT)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        write_mri_dataset(tmp_path / "file", **MRI)
    with pytest.raises(UsageError, match="cannot be made"):
        write_mri_dataset(tmp_path / "file" / "below", **MRI)


def test_a_folder_without_the_right_to_write_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="may not be written to"):
        write_mri_dataset(tmp_path, **MRI)


@pytest.mark.parametrize(
    "options",
    [{"n_subjects": 0}, {"n_subjects": 1000}, {"seed": -1}, {"n_graders": 0}, {"n_graders": 3}],
)
def test_counts_out_of_range_are_refused_before_anything_is_made(tmp_path, options):
    with pytest.raises(UsageError):
        write_oct_dataset(tmp_path / "new", **{**OCT, **options})
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_no_half_written_file(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(SoftlabelError, match=r"cannot be written \(No space left.*Make room"):
        write_oct_dataset(tmp_path, n_subjects=1, **OCT)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_each_finished_subject_is_announced(tmp_path):
    seen = []

    def announce(name):
        seen.append((name, (Path(tmp_path) / f"{name}.mat").is_file()))

    write_oct_dataset(tmp_path, n_subjects=2, on_subject=announce, **OCT)
    assert seen == [("Subject_01", True), ("Subject_02", True)]
