"""The data set of a path, and a path that is a cache instead."""

from __future__ import annotations

import factories
import pytest
from click.testing import CliRunner

from softlabel import generate
from softlabel.cache import pack_cache
from softlabel.cli import main
from softlabel.errors import SourceError
from softlabel.generation.source import list_source
from softlabel.readers import list_dataset


def test_data_sets_are_listed_as_readers_do(tmp_path):
    data = factories.write_scenes(tmp_path / "scenes")
    assert list_source(data) == list_dataset(data)


@pytest.mark.parametrize("state", ["whole", "packed", "damaged"])
def test_a_cache_is_called_one(tmp_path, state):
    cache = factories.make_cache(tmp_path)
    if state == "packed":
        pack_cache(cache, cache := tmp_path / "packed.h5")
    if state == "damaged":
        cache.write_bytes(cache.read_bytes()[:500])
    with pytest.raises(SourceError, match=r"is a cache of softlabel, expected a data set; give"):
        list_source(cache)


@pytest.mark.parametrize("command", ["check", "tune", "compare", "generate"])
def test_commands_for_data_sets_say_it_in_one_short_sentence(tmp_path, command):
    cache = factories.make_cache(tmp_path)
    more = ["-o", str(tmp_path / "new.h5")] if command == "generate" else []
    result = CliRunner().invoke(main, [command, str(cache), *more])
    assert (result.exit_code, result.stderr) == (
        2,
        f"Error: {cache} is a cache of softlabel, expected a data set; give the one that the cache "
        "was made of.\n",
    )


def test_python_says_it_too(tmp_path):
    with pytest.raises(SourceError, match="is a cache of softlabel"):
        generate(factories.make_cache(tmp_path), tmp_path / "new.h5")


def test_other_files_beside_a_cache_are_no_cache(tmp_path):
    cache = factories.make_cache(tmp_path)
    for name in (f"{cache.stem}.json", "other.h5"):
        path = tmp_path / name
        path.write_bytes(b"something else")
        with pytest.raises(SourceError, match="is of no format that softlabel recognises"):
            list_source(path)
