"""``softlabel export``."""

from __future__ import annotations

import signal
from dataclasses import replace

import factories
from click.testing import CliRunner

from softlabel.cli import main
from softlabel.exports import FORMATS


def run(*arguments):
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_files_are_written_and_counted(tmp_path):
    cache = factories.make_cache(tmp_path)
    result = run(cache, "-o", tmp_path / "out", "--to", "npz", "--ids", "a", "--ids", "c")
    assert (result.exit_code, result.stdout) == (0, f"2 files written to {tmp_path / 'out'}.\n")
    assert "exporting: 2 of 2" in result.stderr
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.npz", "c.npz"]
    assert run(cache, "-o", tmp_path / "q", "--to", "nifti", "-q").output == ""
    assert (tmp_path / "q/sub-a/anat/sub-a_probseg.nii.gz").is_file()


def test_a_second_run_is_refused_and_overwrites_when_told(tmp_path):
    cache = factories.make_cache(tmp_path)
    arguments = (cache, "-o", tmp_path / "out", "--to", "npz")
    assert run(*arguments).exit_code == 0
    result = run(*arguments)
    assert result.exit_code == 2 and "a.npz exists, and 2 more; " in result.stderr
    assert run(*arguments, "--overwrite").exit_code == 0


def test_an_interruption_says_what_is_done_and_how_to_go_on(tmp_path, monkeypatch):
    cache = factories.make_cache(tmp_path)
    npz = FORMATS["npz"]

    def write_and_ask(case, paths, options):
        npz.write(case, paths, options)
        if case.id == "b":
            signal.raise_signal(signal.SIGINT)

    arguments = (cache, "-o", tmp_path / "out", "--to", "npz")
    with monkeypatch.context() as patch:
        patch.setitem(FORMATS, "npz", replace(npz, write=write_and_ask))
        result = run(*arguments)
    assert result.exit_code == 130
    assert result.stderr.endswith(
        f"Error: Interrupted. 2 of 3 cases are done, and all files in {tmp_path / 'out'} are "
        "complete; the same command with --overwrite writes all cases anew.\n"
    )
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.npz", "b.npz"]
    assert run(*arguments, "--overwrite").exit_code == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.npz", "b.npz", "c.npz"]


def test_failures_are_listed_with_exit_status_1(tmp_path):
    cache = factories.make_cache(tmp_path)
    factories.part(cache, "b").unlink()
    result = run(cache, "-o", tmp_path / "out", "--to", "npz")
    assert result.exit_code == 1
    assert "failed: b: There is no cache file" in result.stderr
    assert result.stderr.endswith("Error: 1 case could not be exported.\n")
