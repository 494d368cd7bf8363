"""What verify --repair takes out, and that a run puts it back."""

from __future__ import annotations

import json
import random
import shutil

import factories
import h5py
import pytest
from click.testing import CliRunner

from softlabel.cache import open_cache
from softlabel.cache.repair import repair
from softlabel.cache.verify import verify
from softlabel.cli import main
from softlabel.files.owner import OwnedError, claimed


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return factories.make_cache(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def cache(pristine, tmp_path):
    shutil.copytree(pristine.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "c.h5"


def test_damaged_cases_are_taken_out_and_computed_again(cache):
    good, index = factories.files_of(cache), cache.read_bytes()
    path = factories.part(cache, "b")
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        data[file["case/soft"].id.get_chunk_info(0).byte_offset] ^= 1
    path.write_bytes(data)
    factories.part(cache, "c").unlink()
    assert repair(cache, verify(cache)) == ["b", "c"]
    assert verify(cache) == [] and not path.exists()
    with open_cache(cache) as opened:
        assert list(opened) == ["a"] and opened.missing == ("b", "c")
    assert factories.computed(factories.again(cache)) == (2, 1)
    assert factories.files_of(cache) == good and cache.read_bytes() == index


def test_an_index_that_is_not_of_its_parts_is_rebuilt(cache):
    with h5py.File(cache, "r+") as file:
        file["statistics/pixels"][...] = 1
    good = factories.files_of(cache)
    assert verify(cache) != [] and repair(cache, verify(cache)) == []
    assert verify(cache) == [] and factories.files_of(cache) == good


def test_a_cache_that_is_written_is_left_alone(cache, monkeypatch):
    monkeypatch.setattr("softlabel.files.owner.PATIENCE_SECONDS", 0.1)
    factories.part(cache, "b").write_bytes(b"x")
    with claimed(cache, "anew"), pytest.raises(OwnedError):
        repair(cache, verify(cache))
    assert factories.part(cache, "b").exists()


def test_the_command(cache):
    whole = CliRunner().invoke(main, ["verify", "--repair", str(cache)])
    assert (whole.exit_code, whole.stdout) == (0, "3 cases verified, nothing wrong.\n")
    factories.part(cache, "b").write_bytes(b"x")
    before = factories.files_of(cache)
    told = CliRunner().invoke(main, ["verify", str(cache)])
    assert told.exit_code == 1 and factories.files_of(cache) == before, "only on request"
    done = CliRunner().invoke(main, ["verify", "--repair", str(cache)])
    assert done.exit_code == 1 and done.stdout == told.stdout
    assert "1 case taken out and the index rebuilt; run the same `softlabel gen" in done.stderr
    factories.part(cache, "c").write_bytes(b"x")
    record = CliRunner().invoke(main, ["verify", "--repair", "--json", str(cache)]).stdout
    assert json.loads(record)["removed"] == ["c"]


@pytest.mark.slow
def test_no_flipped_bit_stays(cache):
    """Wherever it is in the file: verify names the case, or nothing is wrong with what is read."""
    good, path = factories.files_of(cache), factories.part(cache, "b")
    whole = path.read_bytes()
    content = factories.read_everything(cache)
    rng, named = random.Random(2), 0
    for _ in range(150):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        if verify(cache):
            named += 1
            assert [f.case for f in verify(cache)][:1] == ["b"]
            assert factories.again(cache).cases == 1
            assert factories.files_of(cache) == good
        else:  # a byte that HDF5 leaves unused
            assert factories.same(factories.read_everything(cache), content)
            path.write_bytes(whole)
            factories.again(cache)
    assert named > 100
