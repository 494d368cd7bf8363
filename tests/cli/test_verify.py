"""``softlabel verify``."""

from __future__ import annotations

import json

import factories
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
