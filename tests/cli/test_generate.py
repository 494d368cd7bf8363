"""``softlabel generate`` as its users meet it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import factories
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import softlabel
from softlabel import generate as generate_in_python
from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.cli import main
from softlabel.errors import UsageError
from softlabel.generation.settings import Settings
from softlabel.phantom import write_oct_dataset

QUICK = ("--n-segments", "24", "--jobs", "1")


def run(*arguments, **options):
    return CliRunner().invoke(main, ["generate", *map(str, arguments)], **options)


@pytest.fixture
def data(tmp_path):
    return factories.write_scenes(tmp_path / "data")


# The main job


@pytest.mark.slow
def test_the_command_and_the_function_write_the_same_bytes(data, tmp_path):
    done = factories.run_cli("generate", data, "-o", tmp_path / "a/c.h5", "--n-segments", "24",
                             "--jobs", "2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    generate_in_python(data, tmp_path / "b/c.h5", factories.QUICK)
    assert factories.files_of(tmp_path / "a/c.h5") == factories.files_of(tmp_path / "b/c.h5")
    assert (tmp_path / "a/c.h5").read_bytes() == (tmp_path / "b/c.h5").read_bytes()
    assert done.stdout.startswith("3 cases in ") and "superpixels a case of 24 asked" in done.stdout
    assert f"Cache: {tmp_path / 'a/c.h5'}" in done.stdout
    assert "3 to compute; 2 workers." in done.stderr
    assert "image/label pairs: 3 cases" in done.stderr and "cases: 3 of 3" in done.stderr


def test_a_second_run_has_nothing_to_do(data, tmp_path):
    run(data, "-o", tmp_path / "c.h5", *QUICK)
    result = run(data, "-o", tmp_path / "c.h5", *QUICK)
    assert result.exit_code == 0
    assert "3 finished; 1 worker." in result.stderr
    assert result.stdout == f"3 cases finished before.\nCache: {tmp_path / 'c.h5'}\n"


def test_what_verbose_and_quiet_say(data, tmp_path):
    loud = run(data, "-o", tmp_path / "c.h5", *QUICK, "-v")
    assert loud.stderr.count(" s\n") >= 3 and "a: 0." in loud.stderr
    (data / "labels/b.png").write_bytes(b"broken")
    quiet = run(data, "-o", tmp_path / "d.h5", *QUICK, "-q")
    assert quiet.stdout == "" and quiet.exit_code == 1
    assert quiet.stderr.startswith("1 case failed:\n  b: ")


def test_what_fails_all_cases_is_said_once(data, tmp_path):
    (data / "labels/b.png").write_bytes(b"broken")
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--in-plane", "--slice-axis", "3")
    lines = result.stderr.splitlines()
    assert result.exit_code == 1
    assert "  2 cases (a, c): slice_axis must lie in 0..1; got 3." in lines
    assert "failed: a: slice_axis must lie in 0..1; got 3." in lines
    assert "failed: c, likewise" in lines
    assert len([line for line in lines if line.startswith("  b: ")]) == 1
    listed = (tmp_path / "c.failed.tsv").read_text().splitlines()
    assert len([line for line in listed if "slice_axis" in line]) == 2, "the file has them all"


def test_settings_of_another_type_are_refused(data, tmp_path):
    with pytest.raises(UsageError, match=r"settings is of the type dict; give softlabel\.Settings"):
        generate_in_python(data, tmp_path / "c.h5", {"n_segments": 5})


def test_json_is_the_report(data, tmp_path):
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--json")
    record = json.loads(result.stdout)
    assert record["cases"] == 3 and record["complete"] and record["failures"] == {}
    assert record["out"] == str(tmp_path / "c.h5")


# Ids, limits, plans


def test_ids_by_pattern(data, tmp_path):
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--ids", "[ac]", "--ids", "a")
    assert result.exit_code == 0, result.stderr
    with open_cache(tmp_path / "c.h5") as cache:
        assert list(cache) == ["a", "c"]
    generate_in_python(data, tmp_path / "d.h5", factories.QUICK, ids=["[ac]"])
    with open_cache(tmp_path / "d.h5") as cache:
        assert list(cache) == ["a", "c"]
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--ids", "scam_*")
    assert result.exit_code == 2 and "has no case 'scam_*' among 3" in result.stderr


def test_why_cases_are_computed_again_is_said(data, tmp_path):
    assert run(data, "-o", tmp_path / "c.h5", *QUICK).exit_code == 0
    path = factories.part(tmp_path / "c.h5", "b")
    path.write_bytes(path.read_bytes()[:-9])
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "-v")
    assert result.exit_code == 0 and "again b: " in result.stderr and "again a" not in result.stderr


def test_ids_by_comma_repeated_and_with_a_comma(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ("a", "b", "x, y", "c"))
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--ids", "a, c", "--ids", "x, y")
    assert result.exit_code == 0, result.stderr
    assert set(open_cache(tmp_path / "c.h5")) == {"a", "c", "x, y"}
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--ids", " , ")
    assert result.exit_code == 2 and "--ids names no case" in result.stderr


def test_an_unknown_id(tmp_path):
    data = factories.write_scenes(tmp_path / "data", ("scan_01", "scan_02", "other"))
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--ids", "scan_1")
    assert result.exit_code == 2 and not (tmp_path / "c.h5").exists()
    assert "no case 'scan_1' among 3: did you mean scan_01, scan_02" in result.stderr


def test_limit(data, tmp_path):
    run(data, "-o", tmp_path / "c.h5", *QUICK, "--limit", 2)
    assert list(open_cache(tmp_path / "c.h5")) == ["a", "b"]
    assert run(data, "-o", tmp_path / "c.h5", "--limit", 0).exit_code == 2


def test_a_dry_run_writes_nothing(data, tmp_path):
    (data / "images/c.png").unlink()
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--dry-run", "-v")
    assert result.exit_code == 0
    assert "2 to compute, 1 unreadable; 1 worker." in result.stdout
    assert "  compute  a: not computed yet" in result.stdout and "  failed   c: " in result.stdout
    assert "From a (" in result.stdout and "about" in result.stdout
    record = json.loads(run(data, "-o", tmp_path / "c.h5", *QUICK, "--dry-run", "--json").stdout)
    assert [s["action"] for s in record["steps"]] == ["compute", "compute", "failed"]
    assert record["seconds"] > 0 and record["bytes"] > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    run(data, "-o", tmp_path / "c.h5", *QUICK)
    done = run(data, "-o", tmp_path / "c.h5", *QUICK, "--dry-run")
    assert "2 finished" in done.stdout and "Nothing to compute." in done.stdout


# Settings


def test_every_option_arrives_in_the_settings(tmp_path, data):
    result = run(
        data, "-o", tmp_path / "c.h5", "--superpixel-size", "50", "--compactness", "0.2", "--sigma",
        "0.5", "--slic-dims", "slice", "--slice-axis", "1", "--channel-percentiles", "1", "99",
        "--mask-mode", "slic", "--boundary", "edge", "--scale", "1.5", "--normalize", "sum",
        "--min-minority", "0.1", "--in-plane", "--compression", "gzip", "-j", "1",
        "--spacing-mm", "0.5,0.25", "--distance-unit", "mm",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = factories.settings_of(tmp_path / "c.h5")
    expected = {
        "superpixel_size": 50, "compactness": 0.2, "sigma": 0.5,
        "slic_dims": "slice", "slice_axis": 1, "channel_percentiles": [1, 99], "mask_mode": "slic",
        "boundary": "edge", "scale": 1.5, "normalize": "sum", "compression": "gzip",
        "distance_unit": "mm", "format": "pairs",
        "method_options": {"min_minority": 0.1, "in_plane": True},
    }  # fmt: skip
    assert {n: v for n, v in found.items() if n != "format_options"} == expected
    assert found["format_options"]["spacing_mm"] == "0.5,0.25"
    assert verify(tmp_path / "c.h5") == []


def test_other_settings_are_refused_and_overwritten_on_request(data, tmp_path):
    run(data, "-o", tmp_path / "c.h5", *QUICK)
    before = (tmp_path / "c.h5").read_bytes()
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--boundary", "outer")
    assert result.exit_code == 2 and (tmp_path / "c.h5").read_bytes() == before
    assert "boundary: inner → outer" in result.stderr and "--overwrite" in result.stderr
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--boundary", "outer", "--overwrite")
    assert result.exit_code == 0
    assert factories.settings_of(tmp_path / "c.h5")["boundary"] == "outer"


def test_options_of_another_method_are_refused(data, tmp_path):
    for wrong in (("--blur", "2"), ("--method", "gaussian", "--min-minority", "0.1")):
        result = run(data, "-o", tmp_path / "c.h5", *wrong)
        assert result.exit_code == 2 and "has no meaning with --method" in result.stderr
    assert run(data, "-o", tmp_path / "c.h5", "--method", "gaussian", "--blur", "2",
               "-j", "1").exit_code == 0  # fmt: skip
    with open_cache(tmp_path / "c.h5") as cache:
        assert cache["a"].superpixels is None


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("distance", {"width": 2.5, "in_plane": True}),
        ("smoothing", {"epsilon": 0.2}),
        ("svls", {}),
        ("dilation", {"dilations": 2, "ring": 0.4}),
        ("geols", {"alpha": 0.3}),
        ("hard", {}),
    ],
)
def test_methods_without_superpixels(data, tmp_path, method, options):
    words = [f"--{name.replace('_', '-')}" for name in options]
    values = [[] if value is True else [value] for value in options.values()]
    given = [part for word, value in zip(words, values, strict=True) for part in (word, *value)]
    result = run(data, "-o", tmp_path / "c.h5", "--method", method, *given, "-j", "1")
    assert result.exit_code == 0, result.stderr
    with open_cache(tmp_path / "c.h5") as cache:
        for case in cache.values():
            assert case.superpixels is None
            wanted = softlabel.soften(
                case.labels[...], method=method, classes=cache.classes, ignore=cache.ignore,
                image=case.image[...], **options,
            )  # fmt: skip
            np.testing.assert_array_equal(case.soft[...], wanted.dense())


def test_superpixels_from_the_grid_and_from_a_file(data, tmp_path):
    assert run(data, "-o", tmp_path / "grid.h5", *QUICK, "--superpixels", "grid").exit_code == 0
    result = run(data, "-o", tmp_path / "c.h5", "-j", "1", "--superpixels", tmp_path / "grid.h5")
    assert result.exit_code == 0, result.stderr
    with open_cache(tmp_path / "c.h5") as one, open_cache(tmp_path / "grid.h5") as two:
        np.testing.assert_array_equal(one["b"].soft, two["b"].soft)
    result = run(data, "-o", tmp_path / "d.h5", "--superpixels", "watershed")
    assert result.exit_code == 2 and "watershed do not exist" in result.stderr


def test_mm_without_spacing_says_what_to_do(data, tmp_path):
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--distance-unit", "mm")
    assert result.exit_code == 1
    assert "3 cases (a, b, c): the case has no pixel spacing" in result.stderr
    assert "--distance-unit pixel" in result.stderr


def test_the_class_table_may_lie_anywhere(data, tmp_path):
    names = {"0": "ground", "128": "disc", "255": "core"}
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "classes.json").write_text(json.dumps(names))
        result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--classes",
                     tmp_path / folder / "classes.json")  # fmt: skip
        assert result.exit_code == 0, result.stderr
    assert "3 cases finished before" in result.stdout
    assert str(tmp_path) not in json.dumps(factories.settings_of(tmp_path / "c.h5"))
    (tmp_path / "there/classes.json").write_text(json.dumps(names | {"255": "nucleus"}))
    result = run(
        data, "-o", tmp_path / "c.h5", *QUICK, "--classes", tmp_path / "there/classes.json"
    )
    assert (
        result.exit_code == 2 and "255: core" in result.stderr and "255: nucleus" in result.stderr
    )


def test_a_moved_data_set_is_the_same(data, tmp_path):
    run(data, "-o", tmp_path / "c.h5", *QUICK)
    moved = tmp_path / "moved"
    data.rename(moved)
    result = run(moved, "-o", tmp_path / "c.h5", *QUICK)
    assert result.exit_code == 0 and "3 cases finished before" in result.stdout


def test_a_value_that_often_means_not_annotated_is_asked_about(data, tmp_path):
    for path in (data / "labels").iterdir():
        label = np.array(Image.open(path)) // 100
        label[:2] = 255
        Image.fromarray(label).save(path)
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--dry-run")
    assert "If 255 means 'not annotated': --ignore 255." in result.stderr
    result = run(data, "-o", tmp_path / "c.h5", *QUICK, "--dry-run", "--ignore", "255")
    assert result.exit_code == 0 and "not annotated" not in result.stderr


# What fails


def test_a_failed_case_is_listed_in_one_sentence(data, tmp_path):
    (data / "images/b.png").write_bytes((data / "images/b.png").read_bytes()[:90])
    result = run(data, "-o", tmp_path / "c.h5", *QUICK)
    assert result.exit_code == 1
    assert result.stdout.startswith("2 cases in ")
    lines = result.stderr.splitlines()
    assert lines[-3] == "1 case failed:"
    assert lines[-2].startswith("  b: ") and "b.png" in lines[-2]
    assert lines[-1] == f"The list is in {tmp_path / 'c.failed.tsv'}."
    told = next(line for line in lines if line.startswith("failed: b: "))
    assert told.removeprefix("failed: ") == lines[-2].strip(), "at once, and again at the end"


def test_a_long_list_of_failures_is_cut(tmp_path):
    data = factories.write_scenes(tmp_path / "data", [f"s{i}" for i in range(30)], shape=(6, 6))
    for path in (data / "labels").iterdir():
        if path.name != "s3.png":
            path.write_bytes(b"broken")
    result = run(data, "-o", tmp_path / "c.h5", *QUICK)
    assert "29 cases failed:" in result.stderr and "… and 9 more" in result.stderr
    assert len((tmp_path / "c.failed.tsv").read_text().splitlines()) == 30


def test_wrong_usage(data, tmp_path):
    for arguments, words in (
        ((data, "-o", tmp_path / "c"), "must end in .h5; for example c.h5"),
        ((data, "-o", tmp_path / "c.hdf5"), "must end in .h5; for example c.h5"),
        ((data,), "Missing option '-o'"),
        ((tmp_path / "nothing", "-o", tmp_path / "c.h5"), "does not exist"),
        ((tmp_path, "-o", tmp_path / "c.h5"), "of no format that softlabel recognises"),
        ((data, "-o", tmp_path / "c.h5", "--scale", "-1"), "scale must be positive"),
        ((data, "-o", tmp_path / "c.h5", "--grader", "1", "--format", "pairs"), "no option"),
        ((data, "-o", tmp_path / "c.h5", "-j", "0"), "0 is not in the range"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2 and words in result.stderr.replace("\n", " "), result.stderr
    assert not list(tmp_path.glob("c*"))


def test_an_output_that_cannot_be_written(data, tmp_path):
    (tmp_path / "file").write_text("")
    result = run(data, "-o", tmp_path / "file/c.h5", *QUICK)
    assert result.exit_code == 2 and "cannot be written" in result.stderr
    (tmp_path / "taken.h5").write_text("a letter")
    result = run(data, "-o", tmp_path / "taken.h5", *QUICK, "--overwrite")
    assert result.exit_code == 2 and "exists and is no softlabel cache" in result.stderr
    assert (tmp_path / "taken.h5").read_text() == "a letter"


def test_a_full_disk_is_one_sentence_and_exit_1(data, tmp_path, monkeypatch):
    real, count = os.fsync, []

    def fsync(handle):
        count.append(handle)
        if len(count) > 4:  # the first index and its folder, one part and its folder
            raise OSError(28, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    result = run(data, "-o", tmp_path / "c.h5", *QUICK)
    assert result.exit_code == 1
    assert result.stderr.endswith(
        f"Error: The cache {tmp_path / 'c.h5'} cannot be written (No space left on device); free "
        "some space. Its index stays as it was; the cases finished since are taken in when the run "
        "goes on.\n1 case finished and kept, 2 remain; run the same command again to go on.\n"
    )
    monkeypatch.undo()
    assert "1 case finished before" in run(data, "-o", tmp_path / "c.h5", *QUICK).stdout


# Ctrl-C, SIGTERM and kill, in real processes

SLOW = Settings(n_segments=400, compactness=0.03)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """A data set that takes seconds, and its finished parts."""
    folder = tmp_path_factory.mktemp("slow")
    names = [f"s{i}" for i in range(40)]
    data = factories.write_scenes(folder / "data", names, shape=(170, 180))
    assert generate_in_python(data, folder / "calm.h5", SLOW).complete
    return data, factories.files_of(folder / "calm.h5")


def start(data, out: Path, jobs: int):
    """Start a run in a process group of its own and wait until it has written something."""
    process = subprocess.Popen(
        [*factories.COMMAND, "generate", data, "-o", out, "--n-segments", "400",
         "--compactness", "0.03", "-j", str(jobs)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C, and their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while len(list(out.with_suffix(".parts").glob("*.h5"))) < 2:
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.005)
    return process


def group_is_gone(pid: int, seconds: float = 30) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.killpg(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


NOTICE = "Stopping after this case; press Ctrl-C again to stop at once."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
@pytest.mark.parametrize(("jobs", "whom"), [(1, "process"), (2, "process"), (2, "group")])
def test_a_stopped_run_tells_how_to_go_on(slow, tmp_path, jobs, whom, number, status):
    data, calm = slow
    out = tmp_path / "c.h5"
    process = start(data, out, jobs)
    (os.kill if whom == "process" else os.killpg)(process.pid, number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == status, stderr
    assert group_is_gone(process.pid)
    assert stderr.count(NOTICE) == (jobs == 1 and number == signal.SIGINT)
    for noise in (
        "Traceback",
        "Error",
        "Warning",
        "KeyboardInterrupt",
        "resource_tracker",
        "joblib",
    ):
        assert noise not in stderr
    finished = len(list(out.with_suffix(".parts").glob("*.h5")))
    assert 2 <= finished < 40
    assert stderr.splitlines()[-2:] == [
        "Interrupted.",
        f"{finished} cases finished and kept, {40 - finished} remain; run the same command again "
        "to go on.",
    ]
    assert not list(out.with_suffix(".parts").glob(".*"))
    assert len(open_cache(out)) == finished and verify(out) == []
    report = generate_in_python(data, out, SLOW)
    assert factories.computed(report) == (40 - finished, finished)
    assert factories.files_of(out) == calm


LONG_CASE = """
import sys, time
from softlabel.cli import main
from softlabel.generation import compute

def make_superpixels(*arguments):
    print("begun", flush=True)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)

compute.make_superpixels = make_superpixels
main(sys.argv[1:])
"""


def test_a_second_ctrl_c_stops_in_the_midst_of_a_case(tmp_path):
    """A case that takes long: the first Ctrl-C waits for its next step, the second does not."""
    data, out = factories.write_scenes(tmp_path / "data", ["a"], shape=(40, 44)), tmp_path / "c.h5"
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_CASE, "generate", data, "-o", out, "-j", "1"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    while NOTICE not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert stderr.splitlines() == [
        "Interrupted.",
        "0 cases finished and kept, 1 remain; run the same command again to go on.",
    ]


@pytest.mark.slow
def test_kill_9(slow, tmp_path):
    data, calm = slow
    out = tmp_path / "c.h5"
    process = start(data, out, jobs=2)
    process.kill()
    process.communicate()
    assert group_is_gone(process.pid), "workers outlive their parent"
    report = generate_in_python(data, out, SLOW)
    assert report.complete and report.skipped >= 2
    assert factories.files_of(out) == calm and verify(out) == []


# Options and data that do not do what they seem to


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--n-segments", "9", "--superpixel-size", "50"), "with --superpixel-size 50.0"),
        (("--superpixels", "grid", "--compactness", "1"), "with --superpixels grid"),
        (("--method", "gaussian", "--boundary", "edge"), "with --method gaussian"),
        (("--method", "gaussian", "--scale", "3"), "with --method gaussian"),
        (("--method", "gaussian", "--superpixels", "grid"), "with --method gaussian"),
        (("--method", "svls", "--distance-unit", "mm"), "with --method svls"),
        (("--method", "distance", "--slice-axis", "1"), "with --method distance and without"),
        (("--slice-axis", "1"), "with --slic-dims volume and without --in-plane"),
    ],
)
def test_an_option_without_a_say_is_refused(data, tmp_path, options, words):
    result = run(data, "-o", tmp_path / "c.h5", *options)
    assert result.exit_code == 2
    assert f"has no meaning {words}" in result.stderr
    assert "; leave it out, or change that." in result.stderr
    assert not (tmp_path / "c.h5").exists()


VALUES = {
    "--superpixels": ["grid"], "--n-segments": ["24"], "--superpixel-size": ["50"],
    "--compactness": ["0.1"], "--sigma": ["1"], "--slic-dims": ["volume"], "--slice-axis": ["1"],
    "--channel-percentiles": ["0", "100"], "--mask-mode": ["after"], "--slic-code": ["cpu"],
    "--boundary": ["inner"], "--distance-unit": ["pixel"], "--scale": ["1"],
    "--normalize": ["none"], "--min-minority": ["0"], "--in-plane": [], "--blur": ["1"],
    "--width": ["8"], "--epsilon": ["0.1"], "--dilations": ["3"], "--ring": ["0.3"],
    "--compression": ["zstd"],
}  # fmt: skip
"""Defaults, mostly: what was typed for nothing is refused even when it changes nothing."""

OF_SLIC = {"--compactness", "--sigma", "--channel-percentiles", "--mask-mode", "--slic-code"}
OF_FILES = OF_SLIC | {"--n-segments", "--superpixel-size", "--slic-dims"}
OTHERS = {"--blur", "--width", "--epsilon", "--dilations", "--ring"}
"""Options of methods without superpixels."""
ALONE = OF_FILES | {"--superpixels", "--slice-axis", "--min-minority"}
BY_DISTANCE = {"--boundary", "--scale", "--in-plane"}
IDLE = [
    ((), OTHERS | {"--slice-axis"}),
    (("--superpixel-size", "50"), OTHERS | {"--slice-axis", "--n-segments"}),
    (("--slic-dims", "slice"), OTHERS),
    (("--in-plane",), OTHERS),
    (("--superpixels", "grid"), OF_SLIC | OTHERS | {"--slice-axis"}),
    (("--superpixels", "grid", "--in-plane"), OF_SLIC | OTHERS),
    (("--superpixels", "FILE"), OF_FILES | OTHERS | {"--slice-axis"}),
    (("--superpixels", "FILE", "--in-plane"), OF_FILES | OTHERS),
    (("--method", "gaussian"), ALONE | BY_DISTANCE | OTHERS - {"--blur"}),
    (("--method", "distance"), ALONE | OTHERS - {"--width"}),
    (("--method", "distance", "--in-plane"), ALONE - {"--slice-axis"} | OTHERS - {"--width"}),
    (
        ("--method", "dilation"),
        ALONE | BY_DISTANCE | {"--distance-unit"} | OTHERS - {"--dilations", "--ring"},
    ),
]


@pytest.mark.parametrize(("others", "idle"), IDLE, ids=[" ".join(o) or "none" for o, _ in IDLE])
def test_an_option_is_refused_exactly_when_it_has_no_say(data, tmp_path, others, idle):
    if "FILE" in others:
        run(data, "-o", tmp_path / "grid.h5", *QUICK, "--superpixels", "grid")
        others = [str(tmp_path / "grid.h5") if word == "FILE" else word for word in others]
    refused = set()
    for option, values in VALUES.items():
        if option in others:
            continue
        result = run(data, "-o", tmp_path / "c.h5", "--dry-run", *others, option, *values)
        if result.exit_code:
            assert result.exit_code == 2, result.stderr
            assert f"Error: {option} has no meaning with" in result.stderr
            refused.add(option)
    assert refused == idle


def test_classes_that_were_collected_are_named(data, tmp_path):
    result = run(data, "-o", tmp_path / "c.h5", "--n-segments", "24", "-j", "1")
    values = open_cache(tmp_path / "c.h5").classes.values
    assert f"{len(values)} classes, the values that the label maps hold: " in result.stderr
    assert "--ignore 255" not in result.stderr
    again = run(tmp_path / "data", "-o", tmp_path / "c.h5", *QUICK)
    assert f"{len(values)} classes, recorded when the cache was made: " in again.stderr
    assert ", ".join(map(str, values)) in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--n-segments", "1000"), "fewer than 4 pixels"),
        (("--n-segments", "1"), "nearly every pixel is softened"),
        (("--n-segments", "24", "--compactness", "100"), "a regular grid in all but name"),
        (("--n-segments", "24", "--superpixels", "grid"), ""),
        (("--n-segments", "24"), ""),
    ],
)
def test_superpixels_that_leave_the_image_no_say_are_warned_of(data, tmp_path, options, words):
    result = run(data, "-o", tmp_path / "c.h5", *options, "-j", "1")
    assert result.exit_code == 0
    assert (words in result.stderr) if words else ("Warning" not in result.stderr)


def test_a_grid_of_a_preset_is_told_with_options_that_the_preset_takes(tmp_path):
    """Of a flat image every setting makes a grid; --compactness alone is refused there."""
    flat = np.full((64, 64), 100, np.uint8)
    labels = np.indices((64, 64)).sum(axis=0) > 63
    for kind, array in (("images", flat), ("labels", labels.astype(np.uint8))):
        (tmp_path / "data" / kind).mkdir(parents=True)
        np.save(tmp_path / "data" / kind / "a.npy", array)
    result = run(tmp_path / "data", "-o", tmp_path / "c.h5", "--preset", "auto", "-j", "1")
    assert "a regular grid in all but name" in result.stderr
    assert "--compactness, given with --superpixel-size instead of --preset auto," in result.stderr
    again = run(tmp_path / "data", "-o", tmp_path / "d.h5", "--compactness", "0.01",
                "--superpixel-size", "190", "-j", "1")  # fmt: skip
    assert again.exit_code == 0


# Steps before superpixels


@pytest.fixture(scope="module")
def duke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("duke") / "oct"
    write_oct_dataset(folder, n_subjects=1, shape=(256, 128, 2), n_annotated=2, seed=1)
    return folder


def recorded(cache):
    with open_cache(cache) as opened:
        settings = json.loads(opened.header.settings)
    return settings.get("preprocess_options", {}), settings.get("format_options", {})


@pytest.mark.parametrize(
    ("arguments", "steps", "reader"),
    [
        ((), {}, {}),
        (("--wedges", "mask"), {}, {}),
        (("--wedges", "keep"), {}, {"wedges": "keep"}),
        (("--wedges", "fill"), {"wedges": "fill"}, {}),
        (
            ("--preprocess", "oct", "--denoise", "none"),
            {"wedges": "fill", "flatten": "pixel", "crop": "retina"},
            {},
        ),
        (
            ("--preprocess", "oct", "--wedges", "keep", "--denoise", "none", "--crop", "none"),
            {"flatten": "pixel"},
            {"wedges": "keep"},
        ),
    ],
)
def test_wedges_are_one_option_of_the_reader_and_of_the_step(
    duke, tmp_path, arguments, steps, reader
):
    result = run(duke, "-o", tmp_path / "c.h5", *QUICK, "--limit", "1", *arguments)
    assert (tmp_path / "c.h5").exists(), result.output
    assert recorded(tmp_path / "c.h5") == (steps, reader)


def test_wedges_of_a_format_whose_reader_knows_none_are_the_step(tmp_path):
    case = factories.oct_case()
    Image.fromarray(case.image[0]).save(tmp_path / "scan.png")
    Image.fromarray(case.labels.astype(np.uint8)).save(tmp_path / "scan_label.png")
    result = run(tmp_path, "-o", tmp_path / "c.h5", *QUICK, "--wedges", "mask")
    assert result.exit_code == 0, result.output
    assert recorded(tmp_path / "c.h5")[0] == {"wedges": "mask"}
    with open_cache(tmp_path / "c.h5") as cache:
        assert not np.asarray(cache["scan"].mask).all()


def test_the_plan_computes_a_case_with_its_steps(duke, tmp_path):
    result = run(duke, "-o", tmp_path / "c.h5", *QUICK, "--dry-run", "--preprocess", "oct")
    assert result.exit_code == 0 and "From Subject_01_bscan_000 (" in result.stdout
    with_steps = run(duke, "-o", tmp_path / "a.h5", *QUICK, "--dry-run", "--json", "--preprocess",
                     "oct", "--no-keep-original")  # fmt: skip
    plain = run(duke, "-o", tmp_path / "b.h5", *QUICK, "--dry-run", "--json")
    sizes = [json.loads(r.stdout)["bytes"] for r in (with_steps, plain)]
    assert sizes[0] < sizes[1], "of the cropped image"
    shares = result.stdout.partition("Of that the steps before superpixels take about ")[2]
    assert re.search(r"\(wedges .* %, denoise .* %, flatten .* %, crop .* % of the time of", shares)
    record, nothing = (json.loads(r.stdout) for r in (with_steps, plain))
    assert list(record["step_seconds"]) == ["wedges", "denoise", "flatten", "crop"]
    assert 0 < sum(record["step_seconds"].values()) < record["seconds"]
    assert nothing["step_seconds"] == {}


def test_notes_of_the_steps_are_warnings(tmp_path):
    case = factories.oct_case()
    Image.fromarray(case.image[0]).save(tmp_path / "scan.png")
    Image.fromarray(case.labels.astype(np.uint8)).save(tmp_path / "scan_label.png")
    result = run(tmp_path, "-o", tmp_path / "c.h5", *QUICK, "--preprocess", "oct")
    assert "Warning: [assumed-spacing] In 1 of 1 cases" in result.stderr
