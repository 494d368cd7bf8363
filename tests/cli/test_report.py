"""``softlabel report``."""

import factories
import pytest
from click.testing import CliRunner
from pages import Page

from softlabel.cli import main


def report(*arguments):
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def test_it_says_which_file_and_how_large(tmp_path):
    cache = factories.make_cache(tmp_path)
    result = report(cache, "-o", tmp_path / "sub" / "r.html")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    assert line.startswith(str(tmp_path / "sub" / "r.html")) and line.endswith("kB)")
    assert "pictures: 3 of 3" in result.stderr
    quiet = report(cache, "-q")
    assert quiet.exit_code == 0 and quiet.output == ""


def test_what_is_no_cache_is_refused(tmp_path):
    (tmp_path / "c.h5").write_bytes(b"no cache")
    result = report(tmp_path / "c.h5")
    assert result.exit_code == 2 and not list(tmp_path.glob("*.html"))


def test_the_folder_of_a_run_is_refused_and_its_own_report_named(tmp_path):
    (tmp_path / "recipe.yaml").touch()
    result = report(tmp_path)
    assert result.exit_code == 2
    assert f"`softlabel-train report {tmp_path}`" in result.output


@pytest.mark.slow
def test_the_command_in_a_process_of_its_own(tmp_path):
    cache = factories.make_cache(tmp_path)
    before = factories.files_of(cache)
    done = factories.run_cli("report", cache)
    assert done.returncode == 0, done.stderr
    assert str(tmp_path / "c.report.html") in done.stdout
    assert factories.files_of(cache) == before, "the cache is left as it is"
    other = tmp_path / "notes.html"
    other.write_text("mine")
    refused = factories.run_cli("report", cache, "-o", other)
    assert refused.returncode == 2 and "no report" in refused.stderr
    assert other.read_text() == "mine"
    hashed = factories.run_cli("report", cache, "--anonymise", "-q")
    assert hashed.returncode == 0 and hashed.stdout == ""
    names = [
        case["name"]
        for case in Page((tmp_path / "c.report.html").read_text(encoding="utf-8")).data["cases"]
    ]
    assert not {"a", "b", "c"} & set(names) and len(set(names)) == 3
