"""``softlabel pack`` and ``softlabel unpack``, and other commands with a packed file."""

from __future__ import annotations

import json
import resource

import factories
import pytest
from click.testing import CliRunner

from softlabel.cache import open_cache, pack_cache
from softlabel.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_there_and_back(tmp_path):
    cache = factories.make_cache(tmp_path)
    packed, back = tmp_path / "p.h5", tmp_path / "back.h5"
    result = run("pack", cache, "-o", packed)
    assert result.exit_code == 0 and result.stdout.startswith(f"{packed}: 3 cases, ")
    assert "packing: 3 of 3" in result.stderr
    result = run("unpack", packed, "-o", back)
    assert (result.exit_code, result.stdout) == (0, f"{back}: 3 cases.\n")
    assert factories.files_of(back) == factories.files_of(cache)
    assert run("pack", back, "-o", tmp_path / "q.h5", "-q").output == ""
    assert "b\n" in run("pack", back, "-o", tmp_path / "r.h5", "-v").stderr


def test_what_cannot_be_packed_is_one_sentence(tmp_path):
    cache = factories.make_cache(tmp_path)
    result = run("pack", cache, "-o", cache)
    assert result.exit_code == 2 and result.stderr.startswith(f"Error: {cache} exists; ")
    factories.part(cache, "b").unlink()
    result = run("pack", cache, "-o", tmp_path / "p.h5", "-q")
    assert result.exit_code == 2 and len(result.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("room", [1_000, 30_000])
def test_a_full_disk_is_one_sentence(tmp_path, room):
    """The limit of a process, which HDF5 meets as it does a full disk."""
    cache = factories.make_cache(tmp_path)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    done = factories.run_cli("pack", cache, "-o", tmp_path / "p.h5", "-q", preexec_fn=limit)
    assert done.returncode == 1
    assert done.stderr == f"Error: {tmp_path / 'p.h5'}: File too large.\n"
    assert {p.name for p in tmp_path.iterdir()} == {"c.h5", "c.parts", "data"}


def test_the_other_commands_read_a_packed_file(tmp_path):
    cache = factories.make_cache(tmp_path)
    packed = pack_cache(cache, tmp_path / "p.h5")
    result = run("verify", packed)
    assert (result.exit_code, result.stdout) == (0, "3 cases verified, nothing wrong.\n")
    facts, expected = (json.loads(run("info", c, "--json").stdout) for c in (packed, cache))
    assert facts.pop("bytes") == packed.stat().st_size and expected.pop("bytes")
    assert {**facts, "path": ""} == {**expected, "path": ""}
    assert run("inspect", packed, "a", "-o", tmp_path / "pictures", "-q").exit_code == 0
    assert len(list((tmp_path / "pictures").iterdir())) == 1
    for command in (["index", packed], ["generate", tmp_path / "data", "-o", packed]):
        result = run(*command)
        assert result.exit_code == 2 and f"softlabel unpack {packed} -o NAME.h5" in result.stderr
    with open_cache(packed) as opened:
        assert len(opened) == 3


def test_surfaces_are_measured_in_a_packed_file(tmp_path):
    cache = factories.oct_cache(tmp_path)
    tables = {}
    for path in (cache, pack_cache(cache, tmp_path / "p.h5")):
        out = tmp_path / f"{path.stem}-surfaces"
        result = run("surfaces", path, "-o", out, "-q", "--spacing-mm", "0.004,0.01")
        assert result.exit_code == 0, result.output
        tables[path.stem] = {p.name: p.read_bytes() for p in out.iterdir() if p.suffix == ".csv"}
    assert tables["c"] and tables["c"] == tables["p"]
