"""``softlabel index``."""

from __future__ import annotations

import shutil

import factories
import h5py
import numpy as np
from click.testing import CliRunner

from softlabel.cli import main
from softlabel.generation.settings import Settings


def run(path):
    return CliRunner().invoke(main, ["index", str(path)])


def test_a_lost_index_comes_back(tmp_path):
    cache = factories.make_cache(tmp_path)
    expected = factories.read_everything(cache)
    whole = cache.read_bytes()
    for damage in (
        cache.unlink,
        lambda: cache.write_bytes(b""),
        lambda: cache.write_bytes(whole[:900]),
    ):
        damage()
        result = run(cache)
        assert (result.exit_code, result.stdout) == (0, f"{cache}: 3 cases.\n")
        assert factories.same(factories.read_everything(cache), expected)


def test_what_is_left_out_is_named(tmp_path):
    cache = factories.make_cache(tmp_path)
    other = factories.make_cache(tmp_path / "other", ("z",), Settings(n_segments=9))
    shutil.copy(factories.part(other, "z"), factories.part(cache, "z"))
    factories.part(cache, "b").write_bytes(b"x")
    with h5py.File(factories.part(cache, "c"), "r+") as file:
        file.attrs["algorithm"] = np.int64(0)
    result = run(cache)
    assert result.exit_code == 1 and "1 case" in result.stdout
    assert "it is of version 0 of the algorithm, the index of 1." in result.stderr
    assert f"left out {factories.part(cache, 'z').name}: it is of other settings." in result.stderr
    assert f"left out {factories.part(cache, 'b').name}: " in result.stderr


def test_a_foreign_file_is_not_replaced(tmp_path):
    cache = factories.make_cache(tmp_path)
    cache.write_text("my only copy")
    result = run(cache)
    assert result.exit_code == 2 and "exists and is no softlabel cache" in result.stderr
    assert cache.read_text() == "my only copy"


def test_a_lost_index_names_this_command(tmp_path):
    cache = factories.make_cache(tmp_path)
    for damage in (cache.unlink, lambda: cache.write_bytes(b"\x89HDF\r\n\x1a\n and no more")):
        damage()
        result = CliRunner().invoke(main, ["info", str(cache)])
        assert result.exit_code == 2
        assert f"rebuild it with `softlabel index {cache}` from the parts" in result.stderr


def test_without_parts_nothing_is_written(tmp_path):
    result = run(tmp_path / "c.h5")
    assert result.exit_code == 2 and "There is no folder" in result.stderr
    cache = factories.make_cache(tmp_path / "x")
    before = cache.read_bytes()
    shutil.rmtree(cache.with_suffix(".parts"))
    assert run(cache).exit_code == 2 and cache.read_bytes() == before
