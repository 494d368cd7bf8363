"""``softlabel verify``."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import factories
import pytest
from click.testing import CliRunner

from softlabel.cli import main


def run(*arguments):
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def test_a_sound_cache(tmp_path):
    cache = factories.make_cache(tmp_path)
    done = factories.run_cli("verify", cache)
    assert (done.returncode, done.stdout) == (0, "3 cases verified, nothing wrong.\n")
    assert "verifying: 3 of 3" in done.stderr
    assert run(cache, "-q").output == ""
    assert json.loads(run(cache, "--json").stdout) == {"cases": 3, "findings": []}
    assert "b\n" in run(cache, "-v").stderr


def test_findings_are_listed_with_the_file_and_the_fix(tmp_path):
    cache = factories.make_cache(tmp_path)
    path = factories.part(cache, "b")
    path.write_bytes(path.read_bytes()[:-50])
    factories.part(cache, "c").unlink()
    result = run(cache)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"b: {path}: ") and "delete it" in lines[0]
    assert lines[1].startswith("c: ") and "There is no cache file" in lines[1]
    assert "2 findings." in result.stderr
    record = json.loads(run(cache, "--json").stdout)
    assert [f["case"] for f in record["findings"]] == ["b", "c"]
    assert run(cache, "--json").exit_code == 1
    assert run(cache, "-q").stdout == result.stdout


def test_a_cache_without_cases_is_said_to_have_none(tmp_path):
    cache = factories.full_cache(tmp_path, [])
    result = run(cache)
    assert result.exit_code == 0 and "has no cases" in result.stdout


def test_a_missing_folder_of_parts_is_named(tmp_path):
    cache = factories.make_cache(tmp_path)
    cache.with_suffix(".parts").rename(tmp_path / "elsewhere")
    result = run(cache)
    assert result.exit_code == 1
    assert f"The folder {cache.with_suffix('.parts')} is missing" in result.stdout


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """As many cases as two workers are started for."""
    return factories.make_cache(tmp_path_factory.mktemp("many"), [f"s{i}" for i in range(60)])


def test_the_output_does_not_depend_on_the_number_of_workers(many, tmp_path):
    cache = factories.copy_cache(many, tmp_path)
    for case_id in ("s7", "s40"):
        factories.part(cache, case_id).unlink()
    one, two = run(cache, "-j", 1), factories.run_cli("verify", cache, "-j", 2)
    assert (two.returncode, two.stdout) == (one.exit_code, one.stdout)
    assert [line[:4] for line in two.stdout.splitlines()] == ["s40:", "s7: "]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
@pytest.mark.parametrize("jobs", [1, 2])
def test_it_stops_cleanly(many, jobs, number, status):
    process = subprocess.Popen(
        [*factories.COMMAND, "verify", many, "-v", "-j", str(jobs)], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr.readline()  # the first case is done
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (status, ""), stderr
    assert stderr.endswith("Interrupted.\n")
    for noise in ("Traceback", "Warning", "KeyboardInterrupt", "resource_tracker", "joblib"):
        assert noise not in stderr
