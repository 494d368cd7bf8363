"""``softlabel-train report``."""

import os
import subprocess
import sys

import pytest
from pages import Page

from ..factories import call


def test_it_says_which_file_and_how_large(run, tmp_path):
    result = call("report", run, "-o", tmp_path / "r.html", "--pictures", 0)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(str(tmp_path / "r.html")) and "kB)" in result.stdout


def test_what_is_no_run_is_refused(tmp_path):
    result = call("report", tmp_path)
    assert result.exit_code == 2 and list(tmp_path.iterdir()) == []


def test_a_cache_is_refused_and_its_own_report_named(oct_cache, tmp_path):
    for options in ((), ("-o", tmp_path / "r.html")):
        result = call("report", oct_cache, *options)
        assert result.exit_code == 2 and not list(tmp_path.iterdir())
        assert f"{oct_cache} is a file; expected the folder of a run." in result.output
        assert f"`softlabel report {oct_cache}`" in result.output


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own(run, tmp_path):
    path = tmp_path / "r.html"
    command = [sys.executable, "-m", "softlabel_train", "report", str(run), "-o", str(path)]
    done = subprocess.run(
        [*command, "--pictures", "1", "--device", "cpu", "--anonymise"],
        capture_output=True, text=True, timeout=600, check=False, env=dict(os.environ),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    text = path.read_text(encoding="utf-8")
    assert "Subject_" not in text and Page(text).with_tag("polyline")
