"""Folders of ``nnUNet_preprocessed``; tests/bridges reads what nnU-Net itself has written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from softlabel.errors import CaseError, SourceError
from softlabel.readers import detect, list_dataset
from softlabel.readers.nnunetpreprocessed import configuration_of

from .factories import (
    PLANS,
    as_blosc2,
    label_volume,
    read_all,
    read_one,
    volume,
    write_json,
    write_nnunet_preprocessed,
)


def test_reads_the_grid_of_the_preprocessed_case(tmp_path):
    root = write_nnunet_preprocessed(tmp_path)
    assert detect(root)[0].name == "nnunet-preprocessed"
    dataset = list_dataset(root)
    assert dataset.description == (
        f"nnU-Net v2 preprocessed, {root.name} 2d: 2 cases, 2 channels, 3 classes"
    )
    case = read_all(dataset)["case_10"]
    np.testing.assert_array_equal(case.image[1], volume((4, 6, 5), seed=11))
    expected = label_volume((4, 6, 5), seed=1)
    expected[0, 0] = 0  # −1 in the file: outside of the data
    np.testing.assert_array_equal(case.labels, expected)
    assert case.spacing_mm == (3.0, 1.0, 1.5) and case.slice_axis == 0
    assert case.affine is None and case.channels == ("T1", "T2")


def test_a_pickle_is_never_loaded(tmp_path):
    root = write_nnunet_preprocessed(tmp_path)
    touched = tmp_path / "touched"
    # protocol 0: open(touched, "w")
    evil = f"cbuiltins\nopen\n(V{touched}\nVw\ntR.".encode()
    for path in root.rglob("*.pkl"):
        path.write_bytes(evil)
    assert len(read_all(list_dataset(root))) == 2
    assert not touched.exists()


def test_a_configuration_is_chosen_among_several(tmp_path):
    root = write_nnunet_preprocessed(tmp_path)
    write_nnunet_preprocessed(root, ("case_2",), "nnUNetPlans_3d_fullres")
    with pytest.raises(SourceError, match=r"nnUNetPlans_2d, nnUNetPlans_3d_fullres; .*--configu"):
        list_dataset(root)
    with pytest.raises(SourceError, match="and not '3d'"):
        list_dataset(root, options={"configuration": "3d"})
    case = read_one(root, "auto", configuration="nnUNetPlans_3d_fullres")
    assert case.spacing_mm == (3.0, 1.0, 1.5)


def test_a_data_set_instead_of_a_configuration_is_told_which_there_are(tmp_path):
    root = write_nnunet_preprocessed(tmp_path)
    write_nnunet_preprocessed(root, ("case_2",), "nnUNetPlans_3d_fullres")
    with pytest.raises(SourceError, match=r"is a data set.*/nnUNetPlans_2d, .*nnUNetPlans_3d_f"):
        configuration_of(root)
    with pytest.raises(SourceError, match="There is no folder"):
        configuration_of(root / "nnUNetPlans_4d")


def test_an_image_of_one_slice_has_two_axes(tmp_path):
    root = write_nnunet_preprocessed(tmp_path, ("a",))
    path = root / "nnUNetPlans_2d/a.npz"
    with np.load(path) as stored:
        data, seg = stored["data"][:, 1:2], stored["seg"][:, 1:2]
    np.savez_compressed(path, data=data, seg=seg)
    case = read_one(root)
    np.testing.assert_array_equal(case.image, data[:, 0])
    np.testing.assert_array_equal(case.labels, seg[0, 0])
    assert case.spacing_mm == (1.0, 1.5) and case.slice_axis is None


def test_regions_are_merged_or_refused_as_in_raw_data(tmp_path):
    root = write_nnunet_preprocessed(tmp_path, ("a",), labels={"background": 0, "any": [1, 2]})
    case = read_one(root)
    assert case.classes.values == (0, 1) and set(np.unique(case.labels)) == {0, 1}
    write_json(root / "dataset.json", json.loads((root / "dataset.json").read_text()) | {
        "labels": {"background": 0, "whole": [1, 2], "core": 2}})  # fmt: skip
    with pytest.raises(SourceError, match="regions that overlap"):
        list_dataset(root)


def inheriting(**entries):
    return PLANS | {"configurations": {"2d": {"data_identifier": "nnUNetPlans_2d", **entries}}}


@pytest.mark.parametrize(
    ("plans", "sentence"),
    [
        ({}, "no plans with a configuration whose data_identifier is 'nnUNetPlans_2d'"),
        (inheriting(inherits_from="2d"), "inherits in a circle"),
        (inheriting(inherits_from="3d"), "no configuration '3d'"),
        (inheriting(patch_size=[4, 4], spacing=[0, 1]), "expected two or three positive numbers"),
        (inheriting(patch_size=[4], spacing=[1, 1]), "expected two or three positive numbers"),
    ],
)
def test_unusable_plans_are_a_sentence(tmp_path, plans, sentence):
    root = write_nnunet_preprocessed(tmp_path)
    write_json(root / "nnUNetPlans.json", plans)
    with pytest.raises(SourceError, match=sentence):
        list_dataset(root)


def rewrite(path, **changes):
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez_compressed(path, **{**arrays, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": np.zeros((1, 4, 6, 5), np.float32)}, "expected 2 channels"),
        ({"data": np.zeros((2, 3, 6, 5), np.float32)}, "expected one grid"),
        ({"data": np.full((2, 4, 6, 5), np.nan, np.float32)}, "NaN"),
        ({"seg": np.zeros((1, 4, 6, 5))}, "expected integers"),
        ({"seg": np.full((1, 4, 6, 5), 9)}, "outside the class table: 9"),
    ],
)
def test_arrays_that_do_not_fit_are_a_sentence(tmp_path, changes, sentence):
    root = write_nnunet_preprocessed(tmp_path, ("a",))
    rewrite(root / "nnUNetPlans_2d/a.npz", **changes)
    with pytest.raises(CaseError, match=sentence):
        read_one(root)


# --- Blosc2 ---------------------------------------------------------------------------------------


def test_blosc2_arrays_are_read_as_the_npz_files(tmp_path):
    root = write_nnunet_preprocessed(tmp_path)
    expected = read_all(list_dataset(root))
    as_blosc2(root)
    for name, case in read_all(list_dataset(root)).items():
        np.testing.assert_array_equal(case.image, expected[name].image)
        np.testing.assert_array_equal(case.labels, expected[name].labels)


def test_half_a_case_is_a_problem(tmp_path):
    root = write_nnunet_preprocessed(tmp_path)
    (as_blosc2(root) / "case_2.b2nd").unlink()
    dataset = list_dataset(root)
    assert [ref.id for ref in dataset.refs] == ["case_10"]
    assert "case_2.b2nd does not exist" in dataset.problems["case_2"]


def test_an_array_of_one_value_may_not_promise_more_than_memory(tmp_path):
    root = write_nnunet_preprocessed(tmp_path, ("a",))
    path = as_blosc2(root) / "a.b2nd"
    blosc2 = pytest.importorskip("blosc2")
    path.unlink()
    blosc2.zeros((2, 1 << 12, 1 << 12, 1 << 12), dtype=np.float32, urlpath=str(path))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(CaseError, match="more than the"):
        read_one(root)


def test_no_link_and_no_expression_is_followed(tmp_path):
    root = write_nnunet_preprocessed(tmp_path, ("a",))
    path = as_blosc2(root) / "a.b2nd"
    blosc2 = pytest.importorskip("blosc2")
    stored = blosc2.open(str(path.rename(tmp_path / "other.b2nd")), mode="r")
    blosc2.lazyexpr("a + 1", operands={"a": stored}).save(str(path))
    with pytest.raises(CaseError, match="refers to other arrays"):
        read_one(root)
