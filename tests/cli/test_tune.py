"""``softlabel tune`` as its users meet it."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import time

import factories
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from softlabel.cache import open_cache
from softlabel.cli import main
from softlabel.phantom import write_mri_dataset

FEW = ("--superpixel-size", "20,60", "--compactness", "0.1", "--sigma", "0,1")


def tune(*arguments):
    return CliRunner().invoke(main, ["tune", *map(str, arguments)])


@pytest.fixture
def data(tmp_path):
    return factories.write_scenes(tmp_path / "my data")


def test_a_process_prints_tables_and_a_command_that_runs(data, tmp_path):
    plot = tmp_path / "new" / "plot.png"
    done = factories.run_cli("tune", data, *FEW, "-o", plot, "--map", "0=ground,128=a,255=b",
                             "--denoise", "tv", "--channel-percentiles", "1", "99.5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Superpixel settings" in done.stdout and "default" in done.stdout
    assert "Achievable Dice of each class" in done.stdout and "ground" in done.stdout
    assert "Measured 5 settings on 3 of 3 cases (a, c, b)." in done.stdout
    assert "cases: 3 of 3" in done.stderr
    with Image.open(plot) as image:
        assert image.width > 1000
    line = done.stdout.splitlines()[-1].strip()
    words = shlex.split(line)
    assert words[:5] == ["softlabel", "generate", str(data), "-o", "my data.h5"]
    assert {"0=ground,128=a,255=b", "tv", "99.5"} <= set(words) and "20,60" not in words
    out = tmp_path / "c.h5"
    made = CliRunner().invoke(main, [*words[1:4], str(out), *words[5:]])
    assert made.exit_code == 0, made.output
    settings = factories.settings_of(out)
    assert settings["superpixel_size"] in (20, 60)
    assert settings["channel_percentiles"] == [1, 99.5]
    with open_cache(out) as cache:
        assert cache.classes.names == ("ground", "a", "b")
        assert [record.step for record in cache["a"].preprocessing] == ["denoise"]


def test_json_has_every_setting(data):
    result = tune(data, *FEW, "--cases", 2, "--json")
    record = json.loads(result.stdout)
    assert len(record["settings"]) == 5 and len(record["cases"]) == 2 and record["of"] == 3
    sizes = [row["superpixel_size"] for row in record["settings"]]
    assert sizes == [None, 20, 20, 60, 60]
    assert record["recommended"] in record["settings"]
    assert set(record["recommended"]["dice_a_class"]) == {"0", "128", "255"}
    assert record["command"].startswith("softlabel generate ")


def test_verbose_lists_every_setting_and_quiet_only_the_command(data):
    loud, usual, quiet = (tune(data, *FEW, *more) for more in (["-v"], [], ["-q"]))
    rows = [sum(line.startswith("│") for line in r.stdout.splitlines()) for r in (loud, usual)]
    assert rows[0] == 5 + 3 and 3 + 3 <= rows[1] < rows[0], "of settings and classes"
    lines = quiet.stdout.splitlines()
    assert len(lines) == 2 and lines[1].strip().startswith("softlabel generate")


def test_of_volumes_a_part_is_looked_at_and_told(tmp_path, monkeypatch):
    from softlabel.tuning import sweep

    write_mri_dataset(tmp_path / "mri", n_subjects=1, shape=(64, 64, 16))
    whole = sweep.excerpt_of
    monkeypatch.setattr(sweep, "excerpt_of", lambda scan, p: whole(scan, p, most=8192))
    few = ("--superpixel-size", "27", "--compactness", "0.1", "--sigma", "1")
    result = tune(tmp_path / "mri", *few)
    assert result.exit_code == 0, result.output
    assert "at 32×32×8 of 64×64×16 pixels around the label boundaries" in result.stdout
    result = tune(tmp_path / "mri", *few, "--slic-dims", "slice")
    assert "at 64×64×2 of 64×64×16" in result.stdout
    assert "--slic-dims slice" in result.stdout


def test_too_little_time_is_told(data):
    result = tune(data, *FEW, "--seconds", "0.000001")
    assert result.exit_code == 0, result.output
    assert "were too short for all settings on the first; give more --seconds" in result.stdout
    assert "Measured 1 setting on 1 of 3 cases" in result.stdout


def test_of_the_defaults_alone_nothing_is_recommended(data):
    result = tune(data, *FEW, "--seconds", "0.000001")
    assert "Only the defaults were measured, so that nothing is recommended." in result.stdout
    assert "softlabel generate" not in result.stdout
    assert "default" in result.stdout and "*: recommended" not in result.stdout
    record = json.loads(tune(data, *FEW, "--seconds", "0.000001", "--json").stdout)
    assert (record["recommended"], record["command"]) == (None, None)


def test_the_command_names_a_cache_that_is_not_there(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my data.h5").touch()
    (tmp_path / "my data-2.parts").mkdir()
    result = tune(data, *FEW, "--cases", "1", "-q")
    assert shlex.split(result.stdout.splitlines()[-1])[4] == "my data-3.h5"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_what_was_measured(data, number, status):
    """Large images and many settings, of which some are done when the signal comes."""
    for name in ("a", "b", "c"):
        factories.write_scene(data, name, shape=(300, 320))
    sizes = ",".join(map(str, range(20, 400)))
    for seconds in (6, 30, 120):  # on a slow machine more time for the first settings
        process = subprocess.Popen(
            [*factories.COMMAND, "tune", str(data), "--superpixel-size", sizes, "--seconds", "999"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )  # fmt: skip
        assert process.stderr is not None
        assert "image/label pairs" in process.stderr.readline(), "it has listed the cases"
        time.sleep(seconds)
        process.send_signal(number)
        out, err = process.communicate(timeout=factories.PATIENCE)
        assert process.returncode == status, err
        assert "Interrupted." in err and "Traceback" not in err
        if "softlabel generate" in out:
            break
    assert "settings on 1 of 3 cases" in out and "softlabel generate" in out
    assert "It was interrupted before all settings were measured" in out


def test_an_image_that_shows_nothing_is_warned_of(tmp_path):
    data = factories.write_scenes(tmp_path / "data", "a", shape=(80, 88))
    Image.fromarray(np.zeros((80, 88), np.uint8)).save(data / "images/a.png")
    result = tune(data, "--superpixel-size", "60", "--compactness", "0.1", "--sigma", "1")
    assert result.exit_code == 0
    assert "Warning: The best that was tried: superpixels are a grid in disguise" in result.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--sigma", "-1"], "--sigma takes numbers that are not negative; got -1"),
        (["--compactness", "0.1,0"], "--compactness takes numbers that are positive; got 0"),
        (["--superpixel-size", "a,b"], "'a,b' is no list of numbers"),
        (["--superpixel-size", "nan"], "--superpixel-size takes numbers that are positive"),
        (["--cases", "0"], "--cases"),
        (["--seconds", "0"], "--seconds"),
        (["--slice-axis", "1"], "--slice-axis has no meaning"),
        (["--format", "nnunet"], "dataset.json"),
        (["-o", "/dev/null/plot.png"], "/dev/null is a file; choose another folder"),
        (["--channel-percentiles", "9", "3"], "channel_percentiles must be two numbers"),
    ],
)
def test_wrong_usage(data, options, sentence):
    result = tune(data, *options)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_a_source_that_is_not_there(tmp_path):
    result = tune(tmp_path / "nothing")
    assert result.exit_code == 2 and "nothing does not exist" in result.stderr


def test_unreadable_cases_are_told(data):
    (data / "labels/b.png").write_bytes(b"broken")
    result = tune(data, *FEW)
    assert result.exit_code == 0 and "failed: b: " in result.stderr
    for name in "ac":
        (data / f"labels/{name}.png").write_bytes(b"broken")
    result = tune(data, *FEW)
    assert result.exit_code == 1
    assert "Error: No case could be looked at: " in result.stderr
