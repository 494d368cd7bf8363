"""``softlabel compare``, in processes of its own."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from factories import run_cli, write_scenes
from PIL import Image

from softlabel.cli import main
from softlabel.cli.compare import compare as compare_command
from softlabel.phantom import write_oct_dataset
from softlabel.softening import soften


@pytest.fixture(scope="module")
def oct_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("oct") / "oct"
    write_oct_dataset(folder, n_subjects=1, seed=6, shape=(224, 128, 3), n_annotated=2)
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "scenes"
    write_scenes(folder)
    return folder


def compare(*arguments):
    """The command in this process, for its sentences."""
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


def test_one_command_makes_table_picture_and_csv(oct_folder, tmp_path):
    out, table = tmp_path / "new" / "out.png", tmp_path / "tables" / "t.csv"
    done = run_cli("compare", oct_folder, "--methods", "hard,gaussian,distance", "-o", out,
                   "--csv", table, "--blur", 2, "--dpi", 60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Duke OCT-DME" in done.stderr and f"Picture written: {out}" in done.stderr
    assert "scores against truth" in done.stdout and "Brier, band" in done.stdout
    with Image.open(out) as image:
        image.load()
        assert image.size[0] == 660
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert [row["method"] for row in rows] == ["hard", "gaussian", "distance"]
    assert float(rows[0]["softened"]) == 0 < float(rows[1]["softened"])


def test_where_raters_disagree_over_all_cases(oct_folder):
    done = run_cli("compare", oct_folder, "--against-raters", "--methods", "hard,gaussian",
                   "--json", "--band", 4)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "cases: 2 of 2" in done.stderr
    facts = json.loads(done.stdout)
    assert (facts["cases"], facts["band_px"], facts["failures"]) == (2, 4.0, {})
    areas = [row["area"] for row in facts["areas"] if row["method"] == "hard" and row["area"]]
    assert areas and set(areas) == {0.5}


def test_scores_against_a_file(scenes, tmp_path):
    with Image.open(scenes / "labels" / "a.png") as image:
        labels = np.array(image)
    other = np.roll(labels, 1, axis=0)
    Image.fromarray(other).save(tmp_path / "other.png")
    done = run_cli("compare", scenes, "--case", "a", "--methods", "gaussian", "--json",
                   "--truth", tmp_path / "other.png", "-q")  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert (facts["case"], facts["truth"]) == ("a", "other.png")
    values = np.unique(labels)
    soft = soften(labels, method="gaussian", classes=values.tolist()).dense(np.float64)
    expected = ((soft - (other == values[:, None, None])) ** 2).sum(axis=0).mean()
    assert facts["methods"]["gaussian"]["brier"] == pytest.approx(expected, rel=1e-5)


def test_without_a_truth_there_are_no_scores(scenes):
    result = compare(scenes, "--methods", "hard,svls")
    assert result.exit_code == 0, result.output
    assert "argmax changed" in result.stdout and "Brier" not in result.stdout


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--methods", "gausian"], "no method 'gausian'; did you mean gaussian?"),
        (["--methods", ","], "--methods names none"),
        (["--methods", "hard", "--blur", "2"],
         "--blur is an option of gaussian, which --methods leaves out"),
        (["--methods", "hard,gaussian", "--boundary", "edge"],
         "--boundary has no meaning for hard, gaussian"),
        (["--case", "zz"], "no case 'zz'"),
        (["--case", "a", "--case", "b"], "--case names 2 cases; give one"),
        (["--class", "nothing", "-o", "x.png"], "There is no class 'nothing'"),
        (["--channel", "T1", "-o", "x.png"], "no channel 'T1'"),
        (["--slice", "3", "-o", "x.png"], "has no slices"),
        (["--slice", "3"], "--slice is of the picture, and has no meaning without -o"),
        (["--class", "1", "--against-raters"], "--class is of the picture"),
        (["--truth", "nowhere/a.png"], "--truth: there is no file nowhere/a.png"),
        (["--truth", "grader2"], "has no label map 'grader2'"),
        (["-o", "x.jpg"], "give a name ending in .png"),
        (["--against-raters", "-o", "x.png"], "leave one of them out"),
        (["--methods", "given"], "is read as hard labels"),
        (["--methods", "superpixel", "--fuse", "staple"], "staple"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_sentence(scenes, arguments, sentence):
    result = compare(scenes, *arguments)
    assert result.exit_code in (1, 2), result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert sentence in line
    assert result.stdout == ""


@pytest.mark.parametrize("option", [["--csv", "t.csv"], ["-o", "out.png"]])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(scenes, tmp_path, option):
    (tmp_path / "file").touch()
    flag, name = option
    result = compare(scenes, "--methods", "hard", flag, tmp_path / "file" / name)
    assert result.exit_code == 2, result.output
    assert "file is a file; choose another folder" in result.stderr
    assert "pairs" not in result.stderr, "the data set was not read"


def test_no_option_has_the_flag_of_another():
    flags = [flag for param in compare_command.params for flag in param.opts]
    assert len(set(flags)) == len(flags)


def test_options_go_to_the_methods_that_have_them(scenes):
    plain, blurred = (
        json.loads(compare(scenes, "--methods", "svls,gaussian", "--json", *more).stdout)
        for more in ([], ["--blur", "3"])
    )
    assert plain["methods"]["svls"] == blurred["methods"]["svls"]
    assert plain["methods"]["gaussian"]["softened"] < blurred["methods"]["gaussian"]["softened"]


def test_a_data_set_of_one_rater_fails_its_cases_by_name(scenes):
    result = compare(scenes, "--against-raters", "--methods", "hard", "-q")
    assert result.exit_code == 1
    assert "has no label map of a second rater" in result.stderr
    assert "could not be compared" in result.stderr
