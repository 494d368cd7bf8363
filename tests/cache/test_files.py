"""Files that are complete or absent, and what happens to damaged ones."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random

import factories
import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from softlabel.cache import open_cache, pack_cache, schema
from softlabel.cache.files import (
    build_in_memory,
    check_header,
    followed_link,
    get_text,
    open_file,
    open_for_reading,
    put_text,
    read_texts,
    says_it_is_ours,
    store,
    text_array,
)
from softlabel.cache.verify import verify
from softlabel.cli import main
from softlabel.errors import CacheError

TEXTS = ("", "a", "größer → Σ", "tab\tand 'quotes'", "\udcff no UTF-8")


def test_texts_survive(tmp_path):
    with build_in_memory() as (file, built):
        for number, text in enumerate(TEXTS):
            put_text(file, f"t{number}", text)
        texts = text_array(list(TEXTS))
        store(file, "texts", texts, texts.shape, "zstd")
    path = tmp_path / "x.h5"
    path.write_bytes(built[0])
    with h5py.File(path) as file:
        assert tuple(get_text(file, f"t{n}") for n in range(len(TEXTS))) == TEXTS
        assert tuple(read_texts(file["texts"])) == TEXTS
        assert get_text(file, "absent", "default") == "default"
        with pytest.raises(KeyError):
            get_text(file, "absent")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no cache file"),
        (b"", "cannot be opened as HDF5"),
        (b"not HDF5 at all", "cannot be opened as HDF5"),
    ],
)
def test_opening_what_is_no_hdf5(tmp_path, content, words):
    if content is not None:
        (tmp_path / "x.h5").write_bytes(content)
    with pytest.raises(CacheError, match=words):
        open_file(tmp_path / "x.h5")
    with pytest.raises(CacheError, match="is a folder"):
        open_file(tmp_path)


def test_only_of_a_part_is_it_said_to_delete_the_file(tmp_path):
    """A user may have given the wrong file, such as a scan or a recipe beside a cache."""
    cache = factories.make_cache(tmp_path, ("a",))
    told = {}
    part = factories.part(cache, "a")
    for path in (part, tmp_path / "Subject_01.mat", cache.with_suffix(".yaml"), cache):
        path.write_bytes(b"something else")
        with pytest.raises(CacheError, match="cannot be opened as HDF5") as caught:
            open_file(path)
        told[path] = str(caught.value)
    assert "delete it" in told.pop(part) and "softlabel index" in told.pop(cache)
    for text in told.values():
        assert text.endswith(
            "give the .h5 file that `softlabel generate` or `softlabel pack` wrote."
        )
    with pytest.raises(CacheError, match="check the path"):
        open_file(cache.with_suffix(".yml"))


def test_foreign_newer_and_misplaced_files_are_refused(tmp_path):
    cache = factories.make_cache(tmp_path, ("a",))
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["x"] = 1
    newer = factories.copy_cache(cache, tmp_path / "newer")
    with h5py.File(newer, "r+") as file:
        file.attrs["format_version"] = np.int64(99)
    for path, words in (
        (tmp_path / "foreign.h5", "not a softlabel cache"),
        (newer, "format version 99.*newer softlabel"),
        (factories.part(cache, "a"), "kind 'part'; expected index or packed.*beside the .parts"),
    ):
        with pytest.raises(CacheError, match=words):
            open_cache(path)
    with open_for_reading(cache) as file, pytest.raises(CacheError, match="kind 'index'"):
        check_header(file, cache, (schema.PART,))


def test_files_are_read_without_locks(tmp_path):
    cache = factories.make_cache(tmp_path, ("a",))
    with cache.open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="lock"):
            h5py.File(cache)
        assert list(open_cache(cache)) == ["a"]


def test_files_that_this_process_has_open_with_locks_are_read(tmp_path):
    cache = factories.make_cache(tmp_path, ("a",))
    with h5py.File(cache) as file, open_cache(cache) as opened:
        np.testing.assert_array_equal(file["cases/a/labels"], opened["a"].labels)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["part", "index"])
def test_no_flipped_bit_is_silent(tmp_path, which):
    cache = factories.make_cache(tmp_path, ("a",))
    expected = factories.read_everything(cache)
    target = factories.part(cache, "a") if which == "part" else cache
    good = target.read_bytes()
    rng = random.Random(20240517)
    positions = [*range(0, 60, 2), *rng.sample(range(len(good)), 150 if which == "part" else 60)]
    errors = 0
    for position in positions:
        bad = bytearray(good)
        bad[position] ^= 1 << rng.randrange(8)
        target.write_bytes(bad)
        try:
            same = factories.same(factories.read_everything(cache), expected)
            assert same, f"a flip at byte {position} changed what is read, without an error"
        except CacheError as error:
            assert str(cache.parent) in str(error)
            errors += 1
            assert found_by_verify(cache), f"verify finds no flip at byte {position}"
    assert errors > len(positions) / 8


def found_by_verify(cache):
    try:
        return verify(cache) != []
    except CacheError as error:
        return str(cache.parent) in str(error)


def test_verify_finds_every_flip_in_a_stored_chunk(tmp_path):
    cache = factories.make_cache(tmp_path, ("a",))
    target = factories.part(cache, "a")
    good = target.read_bytes()
    with h5py.File(target) as file:
        chunks = [
            (name, file[name].id.get_chunk_info(i))
            for name in ("case/image", "case/labels", "case/soft", "case/superpixels",
                         "classes/values", "classes/names")
            for i in range(file[name].id.get_num_chunks())
        ]  # fmt: skip
    rng = random.Random(3)
    for name, info in chunks:
        for offset in {0, info.size - 1, *(rng.randrange(info.size) for _ in range(4))}:
            bad = bytearray(good)
            bad[info.byte_offset + offset] ^= 1 << rng.randrange(8)
            target.write_bytes(bad)
            findings = verify(cache)
            assert any(f.where.endswith(f":{name.removeprefix('case/')}") for f in findings), name
            assert all(f.case in ("a", "") for f in findings)
    target.write_bytes(good)
    assert verify(cache) == []


# A cache behind a symbolic link


def linked_index(folder, *, parts_at):
    """``a/l.h5`` → ``b/m.h5`` → ``c/x.h5``, with a folder of parts beside one of them."""
    for name, target in (("a/l.h5", "../b/m.h5"), ("b/m.h5", "../c/x.h5"), ("c/x.h5", None)):
        (folder / name).parent.mkdir()
        if target:
            (folder / name).symlink_to(target)
        else:
            (folder / name).write_bytes(b"")
    if parts_at:
        (folder / parts_at).with_suffix(".parts").mkdir()
    return folder / "a/l.h5"


@pytest.mark.parametrize("parts_at", ["a/l.h5", "b/m.h5", "c/x.h5"])
def test_a_link_is_followed_to_where_the_parts_lie(tmp_path, parts_at):
    found = followed_link(linked_index(tmp_path, parts_at=parts_at))
    # not .resolve(): that would follow a link beside which the parts lie
    assert os.path.normpath(found) == str(tmp_path / parts_at)


def test_a_link_to_no_parts_and_one_to_itself_stay(tmp_path):
    link = linked_index(tmp_path, parts_at=None)
    assert followed_link(link) == link
    circle = tmp_path / "circle.h5"
    circle.symlink_to("circle.h5")
    assert followed_link(circle) == circle
    assert followed_link(tmp_path / "nowhere.h5") == tmp_path / "nowhere.h5"


def test_a_cache_is_read_and_verified_through_a_link(cache, tmp_path):
    link = tmp_path / "elsewhere/link.h5"
    link.parent.mkdir()
    link.symlink_to(cache)
    assert verify(link) == verify(cache) == []
    with open_cache(link) as through, open_cache(cache) as direct:
        assert list(through) == list(direct)
        for case_id in direct:
            np.testing.assert_array_equal(through[case_id].soft[:], direct[case_id].soft[:])
    cache.with_suffix(".parts").rename(tmp_path / "gone")
    with pytest.raises(CacheError, match=r"folder .*\.parts is missing"), open_cache(link) as lost:
        lost[next(iter(lost))].soft[:]


def _settings(text):
    return lambda file: put_text(file, "settings", text)


def _unwritten(name, dtype):
    """A dataset whose shape promises more than any memory holds."""

    def change(file):
        if name in file:
            del file[name]
        made = file.create_dataset(name, (2**40,), dtype, chunks=(1024,), fletcher32=True)
        made.attrs["chunks_allocated"] = np.int64(0)
        put_text(made, "sha256", hashlib.sha256().hexdigest())

    return change


def _findings(file):
    store(file, "findings", text_array(["null"]), (1,), "zstd")


HOSTILE = {
    "digits": _settings('{"n_segments": ' + "9" * 5000 + "}"),
    "no object": _settings("[1]"),
    "null": _settings("null"),
    "brackets": _settings("[" * 100_000 + "]" * 100_000),
    "a format that is a number": _settings('{"format": 7}'),
    "options that are a list": _settings('{"format": "pairs", "format_options": [1]}'),
    "no settings": _settings("{}"),
    "a surrogate": _settings('{"format": "pairs", "format_options": {"x": "\\ud800"}}'),
    "software": lambda file: put_text(file, "software", "{"),
    "a finding": _findings,
    "a folder of parts": lambda file: file.attrs.__setitem__("parts", np.int64(2**62)),
    "another one": lambda file: file.attrs.__setitem__("parts", np.int64(-3)),
    **{
        name: _unwritten(name, dtype)
        for name, dtype in (
            ("expected", "S8"), ("manifest/id", "S64"), ("classes/values", "i8"),
            ("classes/names", "S8"), ("channels", "S8"), ("statistics/pixels", "u8"),
            ("inputs/path", "S8"), ("findings", "S8"), ("manifest/facts", "S8"),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_what_a_stranger_wrote_into_an_index_is_a_sentence(cache, shared, change):
    with h5py.File(cache, "r+") as file:
        change(file)
    hostile = cache.read_bytes()
    data = str(shared.parent / "data")
    for command in (
        ["info", str(cache)],
        ["verify", str(cache)],
        ["index", str(cache)],
        ["generate", data, "-o", str(cache), "--n-segments", "24", "-j1", "-q"],
    ):
        cache.write_bytes(hostile)
        result = CliRunner().invoke(main, command)
        assert result.exception is None or isinstance(result.exception, SystemExit), command


# --- whose file it is -----------------------------------------------------------------------------


def test_files_of_ours_are_known_and_so_are_damaged_ones(cache, tmp_path):
    packed = tmp_path / "packed.h5"
    pack_cache(cache, packed)
    whole = packed.read_bytes()
    assert says_it_is_ours(cache) and says_it_is_ours(packed)
    assert says_it_is_ours(factories.part(cache, next(iter(open_cache(cache)))))
    packed.write_bytes(whole[:-100])
    assert says_it_is_ours(packed)
    lost = factories.copy_cache(cache, tmp_path / "another")
    lost.write_bytes(b"")  # the parts beside it tell
    assert says_it_is_ours(lost)


def test_files_of_others_are_not_ours(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.attrs["format"] = "nwb"
    (tmp_path / "b.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000))
    (tmp_path / "c.h5").mkdir()
    os.mkfifo(tmp_path / "d.h5")
    for name in "abcde":
        assert not says_it_is_ours(tmp_path / f"{name}.h5")
