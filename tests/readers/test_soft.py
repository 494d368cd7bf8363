"""Label maps that are probabilities, against the arrays that were written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.mapping import LabelMapping, parse_mapping
from softlabel.readers import list_dataset, scan_classes
from softlabel.readers.soft import soft_labels
from softlabel.types import ClassTable

from .factories import read_all, volume, write_json, write_nifti, write_npy

SHAPE = (8, 9)


def probabilities(n: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> np.ndarray:
    """(n, *shape) whose sum over the classes is 1."""
    found = np.random.default_rng(seed).random((n, *shape)).astype(np.float32)
    return found / found.sum(axis=0)


def written(root: Path, labels: np.ndarray, case: str = "a") -> Path:
    write_npy(root / f"images/{case}.npy", volume(SHAPE, dtype=np.uint8))
    write_npy(root / f"labels/{case}.npy", labels)
    return root


def read(root: Path, **options):
    return read_all(list_dataset(root, "pairs", options))["a"]


def test_one_map_is_the_foreground(tmp_path):
    q = probabilities(2)[1]
    case = read(written(tmp_path, q), soft_range=1)
    np.testing.assert_allclose(case.soft, [1 - q, q], atol=1e-7)
    np.testing.assert_array_equal(case.labels, q > 0.5)


@pytest.mark.parametrize(("axis", "at"), [(0, 0), (2, 2), (-1, 2)])
def test_an_axis_of_classes(tmp_path, axis, at):
    q = probabilities(3)
    root = written(tmp_path, np.moveaxis(q, 0, at))
    dataset = list_dataset(root, "pairs", {"label_channel_axis": axis})
    assert dataset.soft and "probabilities labels" in dataset.description
    case = read_all(dataset)["a"]
    np.testing.assert_array_equal(case.soft, q)
    np.testing.assert_array_equal(case.labels, q.argmax(axis=0))
    assert scan_classes(dataset).values == (0, 1, 2)


def test_the_fourth_axis_of_nifti_counts_the_classes(tmp_path):
    q = probabilities(3, (6, 5, 4))
    write_nifti(tmp_path / "images/a.nii.gz", volume())
    write_nifti(tmp_path / "labels/a.nii.gz", np.moveaxis(q, 0, -1))
    case = read(tmp_path, soft_range=1)
    np.testing.assert_array_equal(case.soft, q)
    assert case.spacing_mm == (1, 1, 3) and case.labels.shape == (6, 5, 4)


@pytest.mark.parametrize("with_background", [True, False])
def test_a_class_table_gives_values_and_says_whether_the_background_is_missing(
    tmp_path, with_background
):
    q = probabilities(3)
    table = write_json(tmp_path / "c.json", {"0": "background", "5": "oedema", "9": "core"})
    root = written(tmp_path / "data", q if with_background else q[1:])
    case = read(root, label_channel_axis=0, classes=str(table))
    np.testing.assert_allclose(case.soft, q, atol=1e-6)
    np.testing.assert_array_equal(case.labels, np.array([0, 5, 9])[q.argmax(axis=0)])


def test_other_numbers_of_classes_than_the_table_are_refused(tmp_path):
    table = write_json(tmp_path / "c.json", {"0": "background", "5": "oedema", "9": "core"})
    root = written(tmp_path / "data", probabilities(4))
    with pytest.raises(CaseError, match="probabilities of 4 classes and the class table 3"):
        read(root, label_channel_axis=0, classes=str(table))


@pytest.mark.parametrize("names", [("cyst", "fluid"), ("background", "cyst", "fluid")])
def test_a_file_for_each_class(tmp_path, names):
    q = probabilities(3)
    write_npy(tmp_path / "images/a.npy", volume(SHAPE, dtype=np.uint8))
    for name, values in zip(names, q[-len(names) :], strict=True):
        write_npy(tmp_path / f"labels/a_{name}.npy", values)
    dataset = list_dataset(
        tmp_path, "pairs",
        {"images": "images", "labels": "labels", "label_files": "class", "soft_range": 1},
    )  # fmt: skip
    assert dict(dataset.classes) == {0: "background", 1: "cyst", 2: "fluid"}
    np.testing.assert_allclose(read_all(dataset)["a"].soft, q, atol=1e-6)


def test_8_bits(tmp_path):
    stored = np.random.default_rng(0).integers(0, 256, SHAPE).astype(np.uint8)
    for folder, values in (("images", volume(SHAPE, dtype=np.uint8)), ("labels", stored)):
        (tmp_path / folder).mkdir()
        Image.fromarray(values).save(tmp_path / folder / "a.png")
    case = read(tmp_path, soft_range=255)
    np.testing.assert_array_equal(case.soft[1], stored.astype(np.float32) / np.float32(255))
    with pytest.raises(CaseError, match=r"labels/a.png has probabilities from .* --soft-range"):
        read(tmp_path, soft_range=1)


def test_rounding_to_8_bits_does_not_make_a_sum_too_large():
    stored = np.array([[128], [128]]) / 255  # each was 0.5 before
    soft_labels(stored, Path("q.png"), rounding=0.5 / 255, background=True)
    with pytest.raises(CaseError, match="sum over the classes is above 1 in 1 pixels"):
        soft_labels(stored, Path("q.npy"), background=True)


@pytest.mark.parametrize(
    ("value", "found"),
    [(np.nan, "1 probabilities that are NaN"), (-0.01, "from -0.01 to"), (1.01, "to 1.01")],
)
def test_what_is_no_probability(tmp_path, value, found):
    q = np.zeros(SHAPE, np.float32)
    q[2, 3] = value
    with pytest.raises(CaseError, match=f"labels/a.npy has {found}|labels/a.npy has .*{found}"):
        read(written(tmp_path, q), soft_range=1)


def test_what_is_a_probability_but_for_rounding(tmp_path):
    q = np.zeros(SHAPE, np.float32)
    q[0, :2] = -1e-6, 1 + 1e-6
    soft = read(written(tmp_path, q), soft_range=1).soft
    assert soft.min() == 0 and soft.max() == 1


def test_of_equals_the_lowest_class_is_the_label(tmp_path):
    q = np.full((3, *SHAPE), 0.25, np.float32)
    q[1:] = 0.375
    assert (read(written(tmp_path, q), label_channel_axis=0).labels == 1).all()


def test_a_threshold_makes_hard_labels(tmp_path):
    q = probabilities(2)[1]
    dataset = list_dataset(
        written(tmp_path, q), "pairs", {"soft_range": 1}, LabelMapping(threshold=0.7)
    )
    case = read_all(dataset)["a"]
    assert case.soft is None
    np.testing.assert_array_equal(case.labels, q >= 0.7)


def test_without_the_option_fractions_are_refused_with_both_ways_out(tmp_path):
    with pytest.raises(CaseError, match=r"--soft-range 1 and --method given.*--threshold 0.5"):
        read(written(tmp_path, probabilities(2)[1]))


@pytest.mark.parametrize(
    "options",
    [{"raters": "labels,more"}, {"label_files": "union"}, {"grids": "resample"}, {"ignore": 1},
     {"label_files": "class", "label_channel_axis": 0}, {"soft_range": 0}],
)  # fmt: skip
def test_options_that_do_not_go_with_probabilities(tmp_path, options):
    root = written(tmp_path, probabilities(2)[1])
    write_npy(root / "more/a.npy", probabilities(2)[1])
    given = {"images": "images", "soft_range": 1}
    given |= {} if "raters" in options else {"labels": "labels"}
    with pytest.raises(UsageError, match=f"The option {next(iter(options))}|label_channel_axis"):
        list_dataset(root, "pairs", given | options)


def test_rules_for_label_values_do_not_go_with_probabilities(tmp_path):
    root = written(tmp_path, probabilities(2)[1])
    with pytest.raises(UsageError, match=r"a label mapping .* is about hard ones"):
        list_dataset(root, "pairs", {"soft_range": 1}, parse_mapping("1=lesion"))


def test_an_axis_that_is_not_there(tmp_path):
    root = written(tmp_path, probabilities(2)[1])
    with pytest.raises(UsageError, match=r"label_channel_axis is 4, but .* 2 axes"):
        read(root, label_channel_axis=4)


def test_unreadable_soft_labels_have_no_classes(tmp_path):
    root = written(tmp_path, np.full(SHAPE, np.nan, np.float32))
    with pytest.raises(SourceError, match=r"first reason: .*NaN"):
        scan_classes(list_dataset(root, "pairs", {"soft_range": 1}))


def test_soft_data_sets_keep_a_given_table(tmp_path):
    table = write_json(tmp_path / "c.json", {"0": "background", "1": "lesion"})
    root = written(tmp_path / "data", probabilities(2)[1])
    dataset = list_dataset(root, "pairs", {"soft_range": 1, "classes": str(table)})
    assert scan_classes(dataset) == ClassTable((0, 1), ("background", "lesion"))


def test_a_threshold_makes_masks_of_a_file_for_each_class(tmp_path):
    q = probabilities(3)
    write_npy(tmp_path / "images/a.npy", volume(SHAPE, dtype=np.uint8))
    for name, values in zip(("cyst", "fluid"), q[1:], strict=True):
        write_npy(tmp_path / f"labels/a_{name}.npy", values)
    given = {"images": "images", "labels": "labels", "label_files": "class"}
    dataset = list_dataset(tmp_path, "pairs", given, LabelMapping(threshold=0.5))
    expected = np.where(q[2] >= 0.5, 2, np.where(q[1] >= 0.5, 1, 0))
    np.testing.assert_array_equal(read_all(dataset)["a"].labels, expected)
