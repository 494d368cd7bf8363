"""Superpixels for nnU-Net: what is made, kept, made again, refused and found."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from readers.factories import as_blosc2, write_json, write_nnunet_preprocessed
from skimage import segmentation

import softlabel
from softlabel import Settings
from softlabel.bridges import Prepared, load_prepared, prepare, trainer_folder
from softlabel.errors import SourceError, UsageError
from softlabel.softening.superpixel import SuperpixelOptions
from softlabel.superpixels import scale_channels

blosc2 = pytest.importorskip("blosc2", reason="needs blosc2: pip install '.[nnunet]'")

SLICES, VOLUMES = "nnUNetPlans_2d", "nnUNetPlans_3d_fullres"
FEW = Settings(superpixel_size=6)


def made(tmp_path, configuration=SLICES, settings=FEW, **changes):
    images = write_nnunet_preprocessed(tmp_path, configuration=configuration, **changes)
    return images / configuration, prepare(images / configuration, settings)


def ids_of(images, case):
    return blosc2.open(str(load_prepared(images).path(case)), mode="r")[...]


def image_of(images, case):
    with np.load(images / f"{case}.npz") as stored:
        return stored["data"]


def same_pieces(one, other):
    """Whether two maps of ids divide the pixels alike."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).shape[1]
    return pairs == len(np.unique(one)) == len(np.unique(other))


def test_superpixels_of_slices_are_those_of_scikit_image(tmp_path):
    images, report = made(tmp_path)
    assert report.computed == ["case_2", "case_10"] and not report.failed
    ids = ids_of(images, "case_2")
    assert ids.dtype == np.int32 and ids.shape == (4, 6, 5)
    scaled = scale_channels(image_of(images, "case_2"))
    for number, plane in enumerate(ids):
        expected = segmentation.slic(
            np.ascontiguousarray(scaled[:, number]), n_segments=5, compactness=0.1, sigma=1,
            spacing=(1, 1.5), channel_axis=0, start_label=0, convert2lab=False,
        )  # fmt: skip
        assert same_pieces(plane, expected)
    assert len(np.unique(ids)) == sum(len(np.unique(plane)) for plane in ids)
    assert load_prepared(images).highest_id == max(ids.max(), ids_of(images, "case_10").max())


def test_superpixels_of_volumes_cross_slices(tmp_path):
    images, _ = made(tmp_path, VOLUMES)
    ids = ids_of(images, "case_2")
    scaled = scale_channels(image_of(images, "case_2"))
    expected = segmentation.slic(
        scaled, n_segments=20, compactness=0.1, sigma=1, spacing=(3, 1, 1.5), channel_axis=0,
        start_label=0, convert2lab=False,
    )  # fmt: skip
    assert same_pieces(ids, expected)


def test_the_record_has_the_pixels_of_each_value(tmp_path):
    images, _ = made(tmp_path)
    with np.load(images / "case_2.npz") as one, np.load(images / "case_10.npz") as other:
        both = np.maximum(np.concatenate([one["seg"].ravel(), other["seg"].ravel()]), 0)
    expected = dict(zip(*np.unique(both, return_counts=True), strict=True))
    assert load_prepared(images).pixels(["case_2", "case_10"]) == expected


def test_an_image_of_one_slice_has_ids_of_three_axes(tmp_path):
    images = write_nnunet_preprocessed(tmp_path, ("a",)) / SLICES
    with np.load(images / "a.npz") as stored:
        data, seg = stored["data"][:, :1], stored["seg"][:, :1]
    np.savez_compressed(images / "a.npz", data=data, seg=seg)
    prepare(images, FEW)
    assert ids_of(images, "a").shape == (1, 6, 5)


def test_only_what_is_missing_or_out_of_date_is_made(tmp_path):
    images, _ = made(tmp_path)
    assert prepare(images, FEW).kept == ["case_2", "case_10"]
    load_prepared(images).path("case_2").unlink()
    assert prepare(images, FEW).computed == ["case_2"]
    with np.load(images / "case_10.npz") as stored:
        data, seg = stored["data"] + 1, stored["seg"]
    np.savez_compressed(images / "case_10.npz", data=data, seg=seg)
    with pytest.raises(UsageError, match=r"superpixels of case_10, which were preprocessed again"):
        load_prepared(images).require(["case_2", "case_10"], images)
    report = prepare(images, FEW)
    assert (report.computed, report.kept) == (["case_10"], ["case_2"])
    load_prepared(images).require(["case_2", "case_10"], images)


def swap_labels(images, case):
    """Call every 1 a 2 and the other way round, which leaves compressed files as long as before."""
    swapped = np.array([0, 2, 1, -1], np.int16)  # the last is the value of what is outside
    path = images / f"{case}_seg.b2nd"
    if path.is_file():
        blosc2.asarray(swapped[blosc2.open(str(path), mode="r")[...]], urlpath=str(path), mode="w")
        return
    with np.load(images / f"{case}.npz") as stored:
        data, seg = stored["data"], stored["seg"]
    np.savez_compressed(images / f"{case}.npz", data=data, seg=swapped[seg])


@pytest.mark.parametrize("form", ["npz", "b2nd"])
def test_corrected_labels_of_the_same_image_are_counted_again(tmp_path, form):
    images = write_nnunet_preprocessed(tmp_path, ("a", "b")) / SLICES
    if form == "b2nd":
        as_blosc2(images.parent)
    prepare(images, FEW)
    before = load_prepared(images).pixels(["a"])
    swap_labels(images, "a")
    with pytest.raises(UsageError, match=r"superpixels of a, which were preprocessed again"):
        load_prepared(images).require(["a", "b"], images)
    assert prepare(images, FEW).computed == ["a"]
    assert before[1] != before[2]
    assert load_prepared(images).pixels(["a"]) == {0: before[0], 1: before[2], 2: before[1]}


def test_a_record_of_the_first_version_is_made_again(tmp_path):
    """It had no mark of the labels, and the shape of each case."""
    images, _ = made(tmp_path)
    path = load_prepared(images).folder / "softlabel.json"
    content = json.loads(path.read_text())
    for case in content["cases"].values():
        case["image"] = case.pop("files")
        case["shape"] = [4, 6, 5]
    write_json(path, content | {"version": 1})
    with pytest.raises(SourceError, match=r"version 1; expected .* Run softlabel nnunet prepare"):
        load_prepared(images)
    assert prepare(images, FEW).computed == ["case_2", "case_10"]
    load_prepared(images).require(["case_2", "case_10"], images)


def test_other_settings_make_all_of_it_anew(tmp_path):
    images, _ = made(tmp_path)
    other = Settings(superpixel_size=15, boundary="edge")
    assert prepare(images, other).computed == ["case_2", "case_10"]
    assert load_prepared(images).soften_options()["boundary"] == "edge"
    assert prepare(images, other).computed == []


def test_what_was_done_before_a_stop_is_kept(tmp_path):
    images = write_nnunet_preprocessed(tmp_path) / SLICES

    def stop(case):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(images, FEW, progress=stop)
    assert list(load_prepared(images).cases) == ["case_2"]
    assert prepare(images, FEW).kept == ["case_2"]


def test_two_runs_do_not_meet(tmp_path, monkeypatch):
    monkeypatch.setattr("softlabel.files.owner.PATIENCE_SECONDS", 0.0)
    images = write_nnunet_preprocessed(tmp_path) / SLICES

    def another(case):
        with pytest.raises(UsageError, match="is being written by another run"):
            prepare(images, FEW)

    assert prepare(images, FEW, progress=another).computed == ["case_2", "case_10"]
    assert sorted(path.name for path in load_prepared(images).folder.iterdir()) == [
        "case_10.b2nd", "case_2.b2nd", "softlabel.json"
    ]  # fmt: skip


def test_a_signal_stops_after_the_case(tmp_path):
    images = write_nnunet_preprocessed(tmp_path) / SLICES
    with pytest.raises(KeyboardInterrupt):
        prepare(images, FEW, progress=lambda case: os.kill(os.getpid(), signal.SIGTERM))
    assert list(load_prepared(images).cases) == ["case_2"]


def test_a_case_that_cannot_be_read_leaves_the_others(tmp_path):
    images = write_nnunet_preprocessed(tmp_path) / SLICES
    np.savez_compressed(images / "case_2.npz", data=np.zeros((2, 4, 6, 5)), seg=np.zeros(3))
    report = prepare(images, FEW)
    assert report.computed == ["case_10"]
    assert "expected integers with one channel" in report.failed["case_2"]
    with pytest.raises(UsageError, match=r"lacks the superpixels of case_2; .* prepare "):
        load_prepared(images).require(["case_10", "case_2"], images)


def test_the_trainer_is_told_how_to_soften(tmp_path):
    settings = Settings(
        superpixel_size=6, distance_unit="mm", scale=2.0, normalize="sum",
        method_options={"in_plane": True, "min_minority": 0.1},
    )  # fmt: skip
    images, _ = made(tmp_path, VOLUMES, settings)
    assert load_prepared(images).soften_options().items() >= {
        "boundary": "inner", "scale": 2.0, "normalize": "sum", "spacing": (3.0, 1.0, 1.5),
        "min_minority": 0.1, "in_plane": True, "slice_axis": 0,
    }.items()  # fmt: skip
    (tmp_path / "other").mkdir()
    images, _ = made(tmp_path / "other", settings=Settings(superpixel_size=6, distance_unit="mm"))
    assert load_prepared(images).soften_options()["spacing"] == (1.0, 1.5)
    (tmp_path / "plain").mkdir()
    images, _ = made(tmp_path / "plain")
    assert load_prepared(images).soften_options().items() >= {
        "boundary": "inner", "scale": None, "normalize": "none", "spacing": None,
        "min_minority": 0.0, "in_plane": False, "slice_axis": None,
    }.items()  # fmt: skip


def test_every_option_of_the_method_reaches_the_trainer():
    torch = pytest.importorskip("torch")
    prepared = Prepared(Path("here"), Settings(method_options={"min_minority": 0.5}).as_json({}),
                        (1.0, 1.0), {})  # fmt: skip
    options = prepared.soften_options()
    assert {field.name for field in fields(SuperpixelOptions)} <= set(options)
    labels = torch.tensor([[0, 0, 0, 0, 1]])
    soft = softlabel.soften_batch(labels, torch.zeros_like(labels), (0, 1), **options)
    assert soft.dense()[0, 1].tolist() == [0, 0, 0, 0, 1]  # below the share that min_minority asks


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(method="gaussian"), "by the method superpixel"),
        (Settings(superpixels="file"), "superpixels of slic or grid"),
        (Settings(preprocess="mri"), "has preprocessed its cases already"),
        (Settings(method_options={"in_plane": True}), "2d is one of slices"),
    ],
)
def test_settings_that_the_trainer_cannot_follow_are_refused(tmp_path, settings, sentence):
    images = write_nnunet_preprocessed(tmp_path) / SLICES
    with pytest.raises(UsageError, match=sentence):
        prepare(images, settings)


def test_regions_are_refused(tmp_path):
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    images = write_nnunet_preprocessed(tmp_path, labels=labels) / SLICES
    with pytest.raises(UsageError, match=r"has the region 'whole' of the values \[1, 2\]"):
        prepare(images, FEW)


def test_a_record_that_is_missing_damaged_or_another_is_a_sentence(tmp_path):
    images = write_nnunet_preprocessed(tmp_path) / SLICES
    with pytest.raises(UsageError, match=r"softlabel\.json does not exist; .* prepare "):
        load_prepared(images)
    prepare(images, FEW)
    path = load_prepared(images).folder / "softlabel.json"
    content = json.loads(path.read_text())
    for changes, sentence in (
        ({"version": 1}, "version 1; expected"),
        ({"cases": {"case_2": {}}}, r"is damaged \(KeyError"),
        ({"cases": []}, r"is damaged \(AttributeError"),
    ):
        write_json(path, content | changes)
        with pytest.raises(SourceError, match=sentence):
            load_prepared(images)
    assert prepare(images, FEW).computed == ["case_2", "case_10"]


@pytest.mark.slow
def test_processes_make_the_same(tmp_path):
    images, _ = made(tmp_path)
    expected = {case: ids_of(images, case) for case in ("case_2", "case_10")}
    for case in expected:
        load_prepared(images).path(case).unlink()
    prepare(images, FEW, jobs=2)
    for case, ids in expected.items():
        np.testing.assert_array_equal(ids_of(images, case), ids)


def test_the_folder_of_the_trainer_holds_its_name():
    (module,) = [path for path in trainer_folder().glob("*.py") if path.stem != "__init__"]
    assert "nnUNetTrainerSoftLabel" in module.read_text()
