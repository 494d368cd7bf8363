"""``softlabel surfaces``."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from softlabel.cli import main
from softlabel.phantom import write_mri_dataset, write_oct_dataset
from softlabel.readers import READERS, list_dataset, read_case


def surfaces(*arguments):
    return CliRunner().invoke(main, ["surfaces", *map(str, arguments)])


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def duke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("duke") / "oct"
    write_oct_dataset(folder, n_subjects=1, seed=6, shape=(256, 128, 5), n_annotated=3)
    return folder


@pytest.fixture(scope="module")
def predictions(duke, tmp_path_factory):
    """Grader 2, under the names of ``softlabel-train predict``."""
    folder = tmp_path_factory.mktemp("predicted")
    dataset, reader = list_dataset(duke), READERS["duke"]
    opened = reader.open_source(dataset, dataset.refs[0].source)
    for ref in dataset.refs:
        case = read_case(reader, dataset, ref, opened)
        Image.fromarray(case.label_maps["grader2"]).save(folder / f"{ref.id}.png")
    return folder


def test_a_data_set_lies_beside_its_surfaces(duke):
    result = surfaces(duke, "--against-rater", "grader2", "--bscan-mm", 1.5, "--eye", "left")
    assert result.exit_code == 0, result.output
    folder = duke.with_name("oct.surfaces")
    assert sorted(p.name for p in folder.iterdir()) == [
        "Subject_01.surfaces.csv", "Subject_01.thickness.npz", "cases.csv", "etdrs.csv",
    ]  # fmt: skip
    assert len(table(folder / "Subject_01.surfaces.csv")) == 3 * 128
    for row in table(folder / "cases.csv"):
        assert row["absolute_um"] == row["graders_absolute_um"] != ""
        assert float(row["signed_um"]) == -float(row["graders_signed_um"])
    assert "inner nasal" in {row["sector"] for row in table(folder / "etdrs.csv")}
    assert "Duke OCT-DME" in result.stderr and "cases: 3 of 3" in result.stderr
    assert "4 files written" in result.stdout and "ISM/ISE" in result.stdout


def test_predictions_against_their_data_set(duke, predictions, tmp_path):
    result = surfaces(predictions, "--against", duke, "-o", tmp_path / "out", "--duke")
    assert result.exit_code == 0, result.output
    rows = table(tmp_path / "out" / "cases.csv")
    assert len(rows) == 3 * 8
    assert all(row["absolute_um"] == row["graders_absolute_um"] for row in rows)
    assert "No ETDRS grid: nothing states the distance of the B-scans of Subject" in result.stderr
    again = surfaces(predictions, "--against", duke, "--against-rater", "grader2",
                     "-o", tmp_path / "two", "-q")  # fmt: skip
    assert again.output == ""
    assert {row["absolute_um"] for row in table(tmp_path / "two" / "cases.csv")} == {"0.000"}
    # what was written is a data set of its own, once images are there; SciPy reads it as it is
    assert (tmp_path / "out" / "Subject_01.mat").is_file()


def test_what_was_written_as_a_data_set_has_no_error_against_it(duke, tmp_path):
    assert surfaces(duke, "-o", tmp_path / "a", "--duke", "-q").exit_code == 0
    folder = tmp_path / "b"
    folder.mkdir()
    (tmp_path / "a" / "Subject_01.mat").rename(folder / "Subject_01.mat")
    result = surfaces(folder, "--against", duke, "-o", tmp_path / "c")
    assert result.exit_code == 0, result.output
    rows = table(tmp_path / "c" / "cases.csv")
    assert {row["absolute_um"] for row in rows} == {"0.000"}
    assert all(int(row["compared"]) > 60 for row in rows)


def test_pictures(duke, tmp_path):
    result = surfaces(duke, "-o", tmp_path, "--pictures", "-q")
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "Subject_01.png") as image:
        image.load()


def test_label_maps_alone_with_names_of_their_own(tmp_path):
    """Two layers and an old value of fluid, mapped; the volume's axes are (B-scans, rows, …)."""
    labels = np.zeros((2, 12, 6), np.uint8)
    labels[:, 3:], labels[:, 7:], labels[0, 4, 2] = 10, 20, 30
    np.save(tmp_path / "eye.npy", labels)
    result = surfaces(
        tmp_path / "eye.npy", "--map", "10=1,20=2,30=7", "--surfaces", "top,bottom", "--fluid", "7",
        "--axial-axis", 1, "--spacing-mm", "0.1,0.005,0.01", "-o", tmp_path / "out",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = table(tmp_path / "out" / "eye.surfaces.csv")
    assert len(rows) == 12
    assert {(row["top (um)"], row["bottom (um)"]) for row in rows} == {("15.000", "35.000")}
    assert {row["layer"] for row in table(tmp_path / "out" / "etdrs.csv")} == {
        "retina", "top to bottom",
    }  # fmt: skip


def test_a_case_that_fails_makes_the_exit_status_1(duke, predictions, tmp_path):
    folder = tmp_path / "predicted"
    folder.mkdir()
    first, second, third = sorted(predictions.iterdir())
    (folder / first.name).write_bytes(first.read_bytes())
    (folder / second.name).write_bytes(b"no image")
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / third.name)
    (folder / "new.png").write_bytes(first.read_bytes())
    result = surfaces(folder, "--against", duke, "-o", tmp_path / "out")
    assert result.exit_code == 1, result.output
    assert "Warning: 1 case without a reference, and without errors: new." in result.stderr
    assert f"failed: {third.stem}: " in result.stderr and "(5, 5)" in result.stderr
    assert "Error: 3 cases could not be measured." in result.stderr  # new.png states no spacing
    assert {row["case"] for row in table(tmp_path / "out" / "cases.csv")} == {first.stem}


def test_label_maps_of_other_classes_are_warned_of(tmp_path):
    labels = np.zeros((12, 6), np.uint8)
    labels[3:] = 1
    Image.fromarray(labels).save(tmp_path / "a.png")
    result = surfaces(tmp_path / "a.png", "--spacing-mm", "0.004,0.01", "-o", tmp_path / "out")
    assert result.exit_code == 0
    assert "Warning: no case shows NFL/GCL, IPL/INL" in result.stderr


@pytest.mark.parametrize(
    ("options", "status", "sentence"),
    [
        (["--fluid", "a"], 2, "--fluid is 'a'; give label values"),
        (["--fluid", "3"], 2, "fluid has the value 3, which is that of a layer"),
        (["--surfaces", "a,a"], 2, "two different names"),
        (["--spacing-mm", "0"], 2, "spacing_mm is '0'"),
        (["--against-rater", "labels"], 2, "would be compared with itself"),
        (["--rater", "nobody"], 1, "no label map 'nobody'"),
        (["--bscan-mm", "0"], 2, "--bscan-mm"),
        (["--against", "nowhere"], 2, "nowhere does not exist"),
        (["--format", "nnunet"], 2, "dataset.json"),
        (["-o", "{source}"], 2, "beside which nothing is written"),
        (["--axial-axis", "2"], 1, "axial_axis is 2, the image has the axes 0..1"),
        (["--spacing-mm", "3.87,11.33"], 1, "in mm"),
    ],
)
def test_wrong_usage(duke, tmp_path, options, status, sentence):
    given = [option.format(source=duke) for option in options]
    given += [] if "-o" in given else ["-o", tmp_path / "out"]
    result = surfaces(duke, *given)
    assert result.exit_code == status, result.output
    assert sentence in result.stderr


def test_an_mri_is_no_oct(tmp_path):
    write_mri_dataset(tmp_path / "mri", n_subjects=1, shape=(64, 64, 16))
    result = surfaces(tmp_path / "mri", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "along the A-scans (axis 0" in result.stderr and "OCT has at most 0.1" in result.stderr
