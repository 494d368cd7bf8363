from __future__ import annotations

import numpy as np
import pytest
import scipy.io

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers import READERS, detect, list_dataset, matlab
from softlabel.readers.duke import CLASSES, wedge_mask
from softlabel.wedges import MIN_WEDGE_PIXELS

from .factories import (
    ANNOTATED,
    COLUMNS,
    ROWS,
    duke_variables,
    read_all,
    truncate,
    write_duke,
)
from .test_layers import naive_class_map

IDS = ["Subject_01_bscan_001", "Subject_01_bscan_004"]


def expected_map(variables, grader, index, row_base=1):
    return naive_class_map(
        variables[f"manualLayers{grader}"][:, :, index],
        variables[f"manualFluid{grader}"][:, :, index] > 0,
        ROWS,
        row_base,
    )


@pytest.mark.parametrize("version", ["5", "7.3"])
def test_reads_the_annotated_bscans(tmp_path, version):
    write_duke(tmp_path, version=version)
    variables = duke_variables()
    assert detect(tmp_path)[0].name == "duke"
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == IDS
    assert dataset.description.startswith(
        "Duke OCT-DME: 2 annotated B-scans of 1 subject, grader 1"
    )
    assert dataset.classes == CLASSES and dataset.ignore == 255 and not dataset.problems
    for index, case in zip(ANNOTATED, read_all(dataset).values(), strict=True):
        np.testing.assert_array_equal(case.image[0], variables["images"][:, :, index])
        assert case.image.dtype == np.uint8 and case.image.shape == (1, ROWS, COLUMNS)
        assert case.labels.dtype == np.uint8
        np.testing.assert_array_equal(case.labels, expected_map(variables, 1, index))
        np.testing.assert_array_equal(case.label_maps["grader2"], expected_map(variables, 2, index))
        assert set(case.label_maps) == {"grader2", "automatic"}
        assert case.group == "Subject_01" and case.source == "Subject_01.mat"
        assert case.spacing_mm == (0.00387, 0.01133)
        assert case.mask is None and case.truth is None and case.rater_axis is None


def test_fluid_and_unannotated_columns_are_in_the_map(tmp_path):
    write_duke(tmp_path)
    case = read_all(list_dataset(tmp_path))[IDS[0]]
    assert (case.labels[18:21, 4:7] == 9).all()
    assert (case.labels[:, :2] == 255).all() and (case.labels[:, 7] == 255).all()


def test_grader_2_and_row_base(tmp_path):
    write_duke(tmp_path)
    variables = duke_variables()
    cases = read_all(list_dataset(tmp_path, options={"grader": "2", "row_base": 0}))
    np.testing.assert_array_equal(cases[IDS[1]].labels, expected_map(variables, 2, 4, 0))
    np.testing.assert_array_equal(
        cases[IDS[1]].label_maps["grader1"], expected_map(variables, 1, 4, 0)
    )


def test_both_graders_are_raters(tmp_path):
    write_duke(tmp_path)
    variables = duke_variables()
    case = read_all(list_dataset(tmp_path, options={"grader": "both"}))[IDS[0]]
    assert case.rater_axis == 0 and case.raters == ("grader1", "grader2")
    for rater in (1, 2):
        np.testing.assert_array_equal(case.labels[rater - 1], expected_map(variables, rater, 1))
    assert set(case.label_maps) == {"automatic"}


def test_a_bscan_of_one_grader_only_is_a_problem_for_both(tmp_path):
    variables = duke_variables()
    variables["manualLayers2"][:, :, 4] = np.nan
    write_duke(tmp_path, variables=variables)
    dataset = list_dataset(tmp_path, options={"grader": "both"})
    assert [ref.id for ref in dataset.refs] == IDS[:1]
    assert "not annotated by grader2" in dataset.problems[IDS[1]]
    only_first = read_all(list_dataset(tmp_path))[IDS[1]]
    assert "grader2" not in only_first.label_maps


def test_listing_reads_no_images(tmp_path, monkeypatch):
    write_duke(tmp_path)
    read = []
    original = matlab.MatlabFile.read
    monkeypatch.setattr(
        matlab.MatlabFile, "read", lambda self, name: read.append(name) or original(self, name)
    )
    list_dataset(tmp_path, options={"grader": "both"})
    assert set(read) == {"manualLayers1", "manualLayers2"}


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("grader", ["1", "2", "both"])
def test_labels_are_opened_without_images(tmp_path, monkeypatch, version, grader):
    write_duke(tmp_path, version=version)
    dataset, reader = list_dataset(tmp_path, options={"grader": grader}), READERS["duke"]
    expected = {id: case.labels for id, case in read_all(dataset).items()}
    read, names = matlab.MatlabFile.read, []

    def noted(self, name, last=None):
        names.append(name)
        return read(self, name, last)

    monkeypatch.setattr(matlab.MatlabFile, "read", noted)
    opened = reader.opened_labels(dataset, "Subject_01.mat")
    for ref in dataset.refs:
        np.testing.assert_array_equal(reader.read_labels(dataset, ref, opened), expected[ref.id])
    numbers = "12" if grader == "both" else grader
    assert sorted(names) == sorted(f"manual{what}{n}" for what in ("Fluid", "Layers")
                                   for n in numbers)  # fmt: skip


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ({}, "no variable 'images'"),
        ({"images": np.zeros((ROWS, COLUMNS, 2), np.uint8)}, "at least 5 B-scans"),
        ({"images": "text"}, "the variable 'images' has the shape"),
    ],
)
def test_labels_of_a_file_without_its_images_are_refused(tmp_path, images, words):
    write_duke(tmp_path)
    dataset = list_dataset(tmp_path)
    variables = {n: v for n, v in duke_variables().items() if n != "images"}
    scipy.io.savemat(tmp_path / "Subject_01.mat", variables | images)
    with pytest.raises(CaseError, match=words):
        READERS["duke"].opened_labels(dataset, "Subject_01.mat")


def test_listing_survives_broken_images(tmp_path):
    path = tmp_path / "Subject_01.mat"
    scipy.io.savemat(path, {"images": duke_variables()["images"]})
    size_of_images = path.stat().st_size
    scipy.io.savemat(path, duke_variables())
    content = bytearray(path.read_bytes())
    content[200 : size_of_images - 8] = b"\xff" * (size_of_images - 208)
    path.write_bytes(content)
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == IDS


def test_truth_of_a_phantom_is_attached(tmp_path):
    write_duke(tmp_path, truth=True)
    dataset = list_dataset(tmp_path)
    assert dataset.refs[0].files == ("Subject_01.mat", "truth/Subject_01.npz")
    cases = read_all(dataset)
    with np.load(tmp_path / "truth" / "Subject_01.npz") as stored:
        np.testing.assert_array_equal(cases[IDS[1]].truth, stored["labels"][:, :, 1])


def test_truth_of_other_bscans_is_refused(tmp_path):
    write_duke(tmp_path, truth=True)
    labels = np.zeros((ROWS, COLUMNS, 1), dtype=np.uint8)
    np.savez(tmp_path / "truth" / "Subject_01.npz", labels=labels, bscans=np.array([3]))
    with pytest.raises(CaseError, match=r"truth/Subject_01.npz has true labels .*expected 40 × 12"):
        read_all(list_dataset(tmp_path))


def test_a_single_file_is_a_data_set(tmp_path):
    path = write_duke(tmp_path, truth=True)
    write_duke(tmp_path, "Subject_02")
    dataset = list_dataset(path)
    assert dataset.root == tmp_path and [ref.id for ref in dataset.refs] == IDS
    assert read_all(dataset)[IDS[0]].truth is not None


def test_a_volume_of_one_bscan_has_two_axes_in_matlab(tmp_path):
    variables = {name: values[..., 1] for name, values in duke_variables().items()}
    write_duke(tmp_path, variables=variables)
    cases = read_all(list_dataset(tmp_path))
    assert list(cases) == ["Subject_01_bscan_000"]
    np.testing.assert_array_equal(
        cases["Subject_01_bscan_000"].labels, expected_map(duke_variables(), 1, 1)
    )


def test_intensities_of_any_numeric_type(tmp_path):
    variables = duke_variables()
    variables["images"] = variables["images"].astype(np.float64)
    write_duke(tmp_path, variables=variables)
    assert read_all(list_dataset(tmp_path))[IDS[0]].image.dtype == np.float64
    variables["images"][3, 3, 1] = np.nan
    write_duke(tmp_path, variables=variables)
    dataset = list_dataset(tmp_path)
    with pytest.raises(CaseError, match=r"Subject_01\.mat has 1 intensities .*1 NaN"):
        read_all(dataset)
    opened = READERS["duke"].open_source(dataset, "Subject_01.mat")
    READERS["duke"].read_case(dataset, dataset.refs[1], opened)  # the others go on


def test_wedges_are_masked_and_bright_spots_are_not():
    image = np.full((40, 30), 100, dtype=np.uint8)
    image[:6, 10:25] = 255  # at the top
    image[37:, :20] = 255  # at the bottom
    image[0, 2:5] = 255  # too small
    image[15:25, 5:15] = 255  # inside
    mask = wedge_mask(image)
    expected = np.ones(image.shape, dtype=bool)
    expected[:6, 10:25] = expected[37:, :20] = False
    np.testing.assert_array_equal(mask, expected)


def test_no_mask_without_wedges_or_without_anything_else():
    assert wedge_mask(np.zeros((5, 5), dtype=np.uint8)) is None
    assert wedge_mask(np.full((20, 20), 255, dtype=np.uint8)) is None
    small = np.zeros((20, 20), dtype=np.uint8)
    small.reshape(-1)[: MIN_WEDGE_PIXELS - 1] = 255
    assert wedge_mask(small) is None


def test_wedges_option(tmp_path):
    variables = duke_variables()
    variables["images"][:8, :, 1] = 255
    write_duke(tmp_path, variables=variables)
    masked = read_all(list_dataset(tmp_path))[IDS[0]]
    assert masked.mask is not None and not masked.mask[:8].any() and masked.mask[8:].all()
    assert read_all(list_dataset(tmp_path, options={"wedges": "keep"}))[IDS[0]].mask is None


def test_spacing_option(tmp_path):
    write_duke(tmp_path)
    cases = read_all(list_dataset(tmp_path, options={"spacing_mm": "0.00387, 0.0115"}))
    assert cases[IDS[0]].spacing_mm == (0.00387, 0.0115)
    with pytest.raises(UsageError, match="two or three positive numbers"):
        list_dataset(tmp_path, options={"spacing_mm": "0.1,-2"})


def test_a_truncated_file_is_one_problem_and_the_others_go_on(tmp_path):
    truncate(write_duke(tmp_path, "Subject_01"), keep=0.02)
    write_duke(tmp_path, "Subject_02")
    dataset = list_dataset(tmp_path)
    assert [ref.group for ref in dataset.refs] == ["Subject_02"] * 2
    assert "Subject_01.mat" in dataset.problems["Subject_01"]
    assert "download it again" in dataset.problems["Subject_01"]


@pytest.mark.parametrize("version", ["5", "7.3"])
@pytest.mark.parametrize("keep", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_truncation_anywhere_is_a_sentence(tmp_path, version, keep):
    truncate(write_duke(tmp_path, version=version), keep)
    dataset = list_dataset(tmp_path, "duke")
    try:
        read_all(dataset)
        assert dataset.problems
    except CaseError as error:
        assert "Subject_01.mat" in str(error)


def test_variables_that_do_not_fit(tmp_path):
    variables = duke_variables()
    variables["manualFluid1"] = variables["manualFluid1"][:-1]
    write_duke(tmp_path, variables=variables)
    with pytest.raises(CaseError, match=r"'manualFluid1' has 39 × 12 .* expected 40 × 12"):
        read_all(list_dataset(tmp_path))
    variables = duke_variables()
    variables["images"] = variables["images"][:, :, :3]
    write_duke(tmp_path, variables=variables)
    with pytest.raises(CaseError, match=r"'images' has the shape \(40, 12, 3\)"):
        read_all(list_dataset(tmp_path))


def test_a_file_without_the_variables(tmp_path):
    scipy.io.savemat(tmp_path / "Subject_01.mat", {"other": np.zeros((3, 3))})
    problem = list_dataset(tmp_path).problems["Subject_01"]
    assert "no variable 'manualLayers1'" in problem and "other" in problem


def test_nothing_annotated(tmp_path):
    variables = duke_variables()
    variables["manualLayers1"][:] = np.nan
    write_duke(tmp_path, variables=variables)
    assert "no annotated B-scan" in list_dataset(tmp_path).problems["Subject_01"]


def test_wrong_folder(tmp_path):
    with pytest.raises(SourceError, match=r"no \.mat file"):
        list_dataset(tmp_path, "duke")
    with pytest.raises(UsageError, match="expected one of 1, 2, both"):
        list_dataset(tmp_path, "duke", {"grader": "3"})
