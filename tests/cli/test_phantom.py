import errno
import json

import factories
import nibabel as nib
import numpy as np
import pytest
from click.testing import CliRunner

import softlabel
from softlabel.cli import main

SMALL_OCT = ["--bscans", "2", "--size", "256x256", "--subjects", "1"]
SMALL_MRI = ["--size", "64x64x16", "--subjects", "1"]


def run(*args):
    return CliRunner().invoke(main, ["phantom", *map(str, args)])


def test_oct_says_where_the_files_are_and_how_to_go_on(tmp_path):
    folder = tmp_path / "my oct"
    result = run("oct", folder, *SMALL_OCT, "--kind", "uniform", "--rms", 2)
    assert result.exit_code == 0, result.output
    assert (folder / "Subject_01.mat").is_file()
    assert "1 subject in" in result.stdout
    assert str(folder / "truth") in result.stdout
    assert f"softlabel generate '{folder}' -o '{tmp_path / 'my oct.h5'}'" in result.stdout
    assert "wrote Subject_01" in result.stderr
    settings = json.loads((folder / "phantom.json").read_text())
    assert settings["graders"]["kind"] == "uniform"
    assert settings["graders"]["rms_px"] == 2.0
    assert settings["size"]["annotated"] == 2


def test_mri_writes_brains(tmp_path):
    result = run("mri", tmp_path, *SMALL_MRI, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "training/1/segm.nii.gz").is_file()
    assert json.loads((tmp_path / "phantom.json").read_text())["seed"] == 3


@pytest.mark.slow
def test_ct_in_a_process_of_its_own_and_on_to_the_cache(tmp_path):
    size = ("--size", "48x40x36", "--spacing-mm", "9.5,9.5,20", "--subjects", "1")
    done = factories.run_cli("phantom", "ct", "scans", *size, "--graders", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 subject in scans: ct_001_0000.nii.gz" in done.stdout
    image = nib.load(tmp_path / "scans/imagesTr/ct_001_0000.nii.gz")
    assert image.shape == (48, 40, 36)
    assert image.header.get_zooms() == pytest.approx((9.5, 9.5, 20))

    checked = factories.run_cli("check", "scans", "--distance-unit", "mm", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "105 classes" in checked.stderr
    assert "Warning" not in checked.stderr and "Error" not in checked.stderr
    options = ("-o", "scans.h5", "--distance-unit", "mm", "--n-segments", "200", "--jobs", "1")
    made = factories.run_cli("generate", "scans", *options, cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "Warning" not in made.stderr
    with softlabel.open_cache(tmp_path / "scans.h5") as cache:
        case = cache["ct_001"]
        assert cache.classes.names[5] == "liver"
        truth = nib.load(tmp_path / "scans/truth/ct_001.nii.gz")
        assert np.array_equal(case.truth[:], np.asarray(truth.dataobj))


def test_noise_and_contrast_are_recorded_where_they_are_not_the_usual(tmp_path):
    usual, faint = tmp_path / "usual", tmp_path / "faint"
    assert run("mri", usual, *SMALL_MRI).exit_code == 0
    result = run("mri", faint, *SMALL_MRI, "--noise", 2, "--contrast", 0.5)
    assert result.exit_code == 0, result.output
    assert "visibility" not in json.loads((usual / "phantom.json").read_text())
    settings = json.loads((faint / "phantom.json").read_text())
    assert settings["visibility"] == {"noise": 2.0, "contrast": 0.5}


def test_quiet_prints_nothing(tmp_path):
    result = run("mri", tmp_path, *SMALL_MRI, "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_a_full_disk_is_no_usage_error(tmp_path, monkeypatch):
    def no_space(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    result = run("mri", tmp_path, *SMALL_MRI)
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize("command", ["oct", "mri", "ct"])
def test_a_folder_that_is_not_empty_is_a_usage_error(tmp_path, command):
    (tmp_path / "x").touch()
    result = run(command, tmp_path)
    assert result.exit_code == 2
    assert "is not empty" in result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["oct", "--size", "100x100"], "too small"),
        (["oct", "--size", "100X100"], "too small"),
        (["oct", "--size", "496"], "such as 496x768"),
        (["oct", "--size", "axb"], "such as 496x768"),
        (["oct", "--annotated", "62"], "between 1 and 61"),
        (["oct", "--graders", "3"], "has room for 1 to 2"),
        (["oct", "--kind", "wild"], "contrast"),
        (["oct", "--rms", "-1"], "expected 0 to 20"),
        (["mri", "--size", "32x32x8"], "too small"),
        (["mri", "--correlation", "0"], "expected 1 to 500"),
        (["ct", "--size", "64x64x8"], "three numbers from 16 to 1024"),
        (["ct", "--size", "64x64"], "such as 512x512x300"),
        (["ct", "--spacing-mm", "1,1"], "such as 0.9,0.9,3"),
        (["ct", "--spacing-mm", "1,1,-3"], "such as 0.9,0.9,3"),
        (["ct", "--spacing-mm", "1,1,0"], "three numbers from 0.1 to 60"),
        (["ct", "--graders", "10"], "has room for 1 to 9"),
    ],
)
def test_values_out_of_range_are_usage_errors(tmp_path, args, words):
    result = run(args[0], tmp_path / "new", *args[1:])
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("command", ["oct", "mri", "ct"])
def test_help_names_every_option_with_its_default(command):
    text = run(command, "--help").stdout
    for option in (
        "--subjects",
        "--seed",
        "--graders",
        "--kind",
        "--rms",
        "--correlation",
        "--size",
    ):
        assert option in text
    assert "[default: contrast]" in text
