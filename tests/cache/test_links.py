"""Folders of parts that are symbolic links: those that the index knows, and no others."""

from __future__ import annotations

import factories
import h5py
import pytest
from click.testing import CliRunner

from softlabel import generate
from softlabel.cache import open_cache
from softlabel.cache.verify import verify
from softlabel.cli import main
from softlabel.errors import CacheError, UsageError


@pytest.fixture
def elsewhere(cache, tmp_path):
    """The parts lie on another disk, and a link where they were."""
    parts = cache.with_suffix(".parts")
    target = parts.rename(tmp_path / "disk")
    parts.symlink_to(target)
    return target


def test_a_folder_of_parts_that_became_a_link_is_refused_until_it_is_taken_for_right(
    cache, elsewhere
):
    sentence = r"c\.parts is a symbolic link, which it was not .*softlabel index"
    for read in (open_cache, verify):
        with pytest.raises(CacheError, match=sentence):
            read(cache)
    assert CliRunner().invoke(main, ["info", str(cache)]).exit_code == 2
    taken = CliRunner().invoke(main, ["index", str(cache)])
    assert taken.exit_code == 0, taken.output
    with open_cache(cache) as opened:
        assert opened["s1"].labels[...].any()
    assert verify(cache) == []


def test_runs_do_not_go_on_in_a_folder_that_became_a_link(cache, elsewhere, tmp_path):
    before = {path: path.read_bytes() for path in elsewhere.iterdir()}
    factories.write_scene(tmp_path / "data", "new")
    with pytest.raises(UsageError, match=r"c\.parts is a symbolic link"):
        generate(tmp_path / "data", cache, factories.QUICK, jobs=1)
    assert {path: path.read_bytes() for path in elsewhere.iterdir()} == before


def test_a_link_that_was_there_first_is_known(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "c.parts").symlink_to("disk")
    factories.write_scene(tmp_path / "data", "s1")
    for _ in range(2):
        report = generate(tmp_path / "data", tmp_path / "c.h5", factories.QUICK, jobs=1)
        assert not report.failures
    assert any((tmp_path / "disk").glob("*.h5")) and (tmp_path / "c.parts").is_symlink()
    with h5py.File(tmp_path / "c.h5") as file:
        assert file["cases"].attrs["parts_link"] == 1
    assert verify(tmp_path / "c.h5") == []


def test_indexes_beside_folders_say_nothing_of_links(cache):
    with h5py.File(cache) as file:
        assert "parts_link" not in file["cases"].attrs
