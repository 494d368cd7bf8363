"""Packing: one file with the values, checksums and digests of the parts, or none."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import factories
import h5py
import numpy as np
import pytest

import softlabel
from softlabel.cache import open_cache, pack_cache, read_index, rebuild_index, unpack_cache
from softlabel.cache import read as read_module
from softlabel.cache import stream as stream_module
from softlabel.cache.files import open_for_reading, put_text, store, text_array
from softlabel.cache.repair import repair
from softlabel.cache.verify import verify
from softlabel.errors import CacheError, UsageError
from softlabel.files.atomic import publish
from softlabel.files.owner import claimed

OLD = Path(__file__).parents[1] / "data/cache_0_1_0/cache.h5"
"""A cache of format 1, without digests and manifest."""

CACHES = {
    "everything": lambda folder: factories.full_cache(
        folder, [factories.full_case(), factories.full_case("zweiter", 1)]
    ),
    "steps": factories.oct_cache,
    "none": lambda folder: factories.full_cache(folder, []),
    "old": lambda folder: OLD,
}


@pytest.fixture(params=CACHES)
def any_cache(request, tmp_path):
    """A cache of each kind."""
    (tmp_path / "any").mkdir()
    return CACHES[request.param](tmp_path / "any")


def objects(group):
    """Every group and dataset below a group: attributes as stored, types, stored chunks."""
    found = {}

    def look(name, node):
        attributes = {n: (node.attrs.get_id(n).dtype, node.attrs[n]) for n in node.attrs}
        plain = {
            n: (str(kind), np.asarray(value).tobytes()) for n, (kind, value) in attributes.items()
        }
        if isinstance(node, h5py.Dataset):
            chunks = {}
            node.id.chunk_iter(lambda c: chunks.update({c.chunk_offset: c.filter_mask}))
            stored = {o: node.id.read_direct_chunk(o) for o in chunks}
            plain["dataset"] = (node.shape, str(node.dtype), node.chunks, node._filters, stored)
            plain["fill"] = node.fillvalue
        found[name] = plain

    group.visititems(look)
    look(".", group)
    return found


def test_a_packed_file_holds_what_the_parts_hold(any_cache, tmp_path):
    packed = pack_cache(any_cache, tmp_path / "p.h5")
    assert packed == tmp_path / "p.h5" and verify(packed) == []
    assert factories.same(factories.read_everything(packed), factories.read_everything(any_cache))
    with (
        open_cache(any_cache) as cache,
        open_cache(packed) as one,
        open_for_reading(packed) as file,
    ):
        assert file.attrs["kind"] == b"packed" and list(one) == list(cache) == sorted(file["cases"])
        assert (one.header, one.findings, one.missing) == (
            cache.header, cache.findings, cache.missing,
        )  # fmt: skip
        for case_id in cache:
            with open_for_reading(cache[case_id].path) as part:
                assert objects(file["cases"][case_id]) == objects(part["case"])
            assert one.facts(case_id) == cache.facts(case_id)


def test_an_unpacked_cache_has_the_bytes_of_the_first_one(any_cache, tmp_path):
    packed = pack_cache(any_cache, tmp_path / "p.h5")
    back = unpack_cache(packed, tmp_path / "back" / any_cache.name)
    assert verify(back) == []
    assert factories.files_of(back) == factories.files_of(any_cache)
    if any_cache != OLD:  # whose index knows no facts
        assert back.read_bytes() == any_cache.read_bytes()
    assert sorted(p.name for p in back.parent.iterdir()) == sorted(
        [back.name, back.with_suffix(".parts").name]
    )


def test_the_same_cache_gives_the_same_bytes(cache, tmp_path):
    other = factories.copy_cache(cache, tmp_path / "elsewhere")
    first, second = (pack_cache(c, tmp_path / f"{n}.h5") for n, c in enumerate((cache, other)))
    assert first.read_bytes() == second.read_bytes()


def test_a_part_of_other_software_keeps_its_bytes(cache, tmp_path):
    path = factories.part(cache, "s2")
    with h5py.File(path, "r+") as file:
        put_text(file, "generator", "softlabel 0.0.9")
    rebuild_index(cache, read_index(cache))
    packed = pack_cache(cache, tmp_path / "p.h5")
    back = unpack_cache(packed, tmp_path / "back.h5")
    generators = {}
    for case_id in ("s1", "s2"):
        with h5py.File(factories.part(back, case_id)) as file:
            generators[case_id] = file.attrs["generator"]
    assert generators == {
        "s1": f"softlabel {softlabel.__version__}".encode(), "s2": b"softlabel 0.0.9",
    }  # fmt: skip
    assert verify(packed) == verify(back) == []


def test_a_cache_that_was_unpacked_is_gone_on_with(tmp_path):
    cache = factories.make_cache(tmp_path, ("a", "b"))
    packed = pack_cache(cache, tmp_path / "p.h5")
    shutil.rmtree(cache.with_suffix(".parts"))
    cache.unlink()
    unpack_cache(packed, cache)
    factories.write_scenes(tmp_path / "data", ("a", "b", "c"))
    assert factories.computed(factories.again(cache)) == (1, 2)


# --- damage ---------------------------------------------------------------------------------------


def stored_chunk(path, name):
    """Where the first chunk of a dataset lies in a file: (offset, size)."""
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(0)
        return chunk.byte_offset, chunk.size


def flip(path, position):
    """Flip a bit of a file."""
    content = bytearray(path.read_bytes())
    content[position] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["image", "labels", "superpixels", "soft"])
def test_damage_stops_with_the_name_of_the_case(cache, tmp_path, name):
    offset, size = stored_chunk(factories.part(cache, "s2"), f"case/{name}")
    flip(factories.part(cache, "s2"), offset + size // 2)
    with pytest.raises(
        CacheError, match=f"{name} has other bytes.*so the case 's2' cannot.*verify"
    ):
        pack_cache(cache, tmp_path / "p.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy"]


def test_an_attribute_that_was_changed_stops(cache, tmp_path):
    with h5py.File(factories.part(cache, "s2"), "r+") as file:
        file["case"].attrs["soft_sum"] += 1
    with pytest.raises(CacheError, match=r"digest is not that .*'s2'"):
        pack_cache(cache, tmp_path / "p.h5")


def test_a_part_that_is_not_the_one_of_the_index_stops(cache, tmp_path):
    other = factories.make_cache(tmp_path / "other", ("s2",))
    shutil.copy(factories.part(other, "s2"), factories.part(cache, "s2"))
    with pytest.raises(CacheError, match="is not the part that the index was written for"):
        pack_cache(cache, tmp_path / "p.h5")
    factories.part(cache, "s2").unlink()
    with pytest.raises(CacheError, match="There is no cache file"):
        pack_cache(cache, tmp_path / "p.h5")
    assert not (tmp_path / "p.h5").exists()


def test_a_table_of_the_index_that_was_changed_stops(cache, tmp_path):
    offset, size = stored_chunk(cache, "statistics/pixels")
    flip(cache, offset + size // 2)
    with pytest.raises(CacheError, match=r"statistics/pixels has other bytes.*softlabel index"):
        pack_cache(cache, tmp_path / "p.h5")


def test_damage_of_a_packed_file_is_found_and_never_unpacked(cache, tmp_path):
    packed = pack_cache(cache, tmp_path / "p.h5")
    offset, size = stored_chunk(packed, "cases/s2/soft")
    flip(packed, offset + size // 2)
    (finding,) = verify(packed)
    assert (finding.case, finding.where) == ("s2", f"{packed}:soft")
    assert "SHA-256 differs" in finding.problem and "softlabel pack" in finding.problem
    with (
        open_cache(packed) as opened,
        pytest.raises(CacheError, match=r"The case 's2' .*soft has other bytes.*softlabel pack"),
    ):
        opened["s2"].soft[...]
    with pytest.raises(CacheError, match="so the case 's2' cannot be copied"):
        unpack_cache(packed, tmp_path / "back.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "p.h5"]


def _add_to_statistics(file):
    file["statistics/pixels"][...] += 1


def _lead_elsewhere(file):
    del file["cases/s2"]
    file["cases/s2"] = h5py.SoftLink("/cases/s1")


def _exchange(file):
    file.move("cases/s1", "cases/x")
    file.move("cases/s2", "cases/s1")
    file.move("cases/x", "cases/s2")


def _change_attribute(file):
    file["cases/s2"].attrs["softened_pixels"] += np.uint64(1)


@pytest.mark.parametrize(
    "change, words",
    [
        (_add_to_statistics, "SHA-256 differs"),
        (_lead_elsewhere, "leads elsewhere"),
        (_exchange, "is 's2', expected 's1'"),
        (_change_attribute, "is not that of the attributes"),
        (lambda file: file.move("cases/s2", "cases/s3"), "is 's2', expected 's3'"),
    ],
)
def test_verify_finds_what_was_changed(cache, tmp_path, change, words):
    packed = pack_cache(cache, tmp_path / "p.h5")
    with h5py.File(packed, "r+") as file:
        change(file)
    findings = verify(packed)
    assert any(words in finding.problem for finding in findings)
    assert all("softlabel pack" in finding.problem for finding in findings)


@pytest.mark.parametrize("record", ["[1, 2]", "{", "[]", '["softlabel 0.0.9", null]'])
def test_a_table_of_software_that_is_none_is_damage(cache, tmp_path, record):
    packed = pack_cache(cache, tmp_path / "p.h5")
    with h5py.File(packed, "r+") as file:
        for name, text in (("id", "s2"), ("record", record)):
            store(file, f"made_by/{name}", text_array([text]), (1,), "zstd")
    with pytest.raises(CacheError, match="is damaged"):
        unpack_cache(packed, tmp_path / "back.h5")


def test_verify_compares_statistics_and_manifest_with_the_cases(cache, tmp_path):
    packed = pack_cache(cache, tmp_path / "p.h5")
    with h5py.File(packed, "r+") as file:
        del file["cases/s2"]
    with pytest.raises(CacheError, match=r"another digest than its .* and cases.*softlabel pack"):
        open_cache(packed)
    factories.reseal_index(packed)
    (finding,) = verify(packed)
    assert "statistics are not the sums" in finding.problem and "softlabel pack" in finding.problem


# --- at once or not at all ------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.3, 0.6, 0.9, 0.99])
def test_a_full_disk_is_an_error_and_leaves_nothing(cache, tmp_path, monkeypatch, share):
    room, taken = share * pack_cache(cache, tmp_path / "whole.h5").stat().st_size, []

    def pwrite(handle, data, offset, real=os.pwrite):
        if sum(taken) + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.append(len(data))
        return real(handle, data, offset)

    monkeypatch.setattr(stream_module.os, "pwrite", pwrite)
    with pytest.raises(OSError, match="No space left") as raised:
        pack_cache(cache, tmp_path / "p.h5")
    assert raised.value.filename == str(tmp_path / "p.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "whole.h5"]


def test_a_full_disk_leaves_no_unpacked_cache(cache, tmp_path, monkeypatch):
    packed = pack_cache(cache, tmp_path / "p.h5")
    factories.fill_disk_after(monkeypatch, 2)
    with pytest.raises(OSError, match="No space left"):
        unpack_cache(packed, tmp_path / "back.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "p.h5"]


@pytest.mark.parametrize("function", [pack_cache, unpack_cache])
def test_ctrl_c_stops_between_cases_and_leaves_nothing(cache, tmp_path, function):
    packed = pack_cache(cache, tmp_path / "p.h5")
    seen = []

    def told(case_id):
        seen.append(case_id)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        function(cache if function is pack_cache else packed, tmp_path / "out.h5", told)
    assert seen == ["s1"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "p.h5"]


@pytest.mark.slow
def test_a_killed_process_leaves_no_file_of_the_final_name(tmp_path):
    cache = factories.make_cache(tmp_path, [f"s{i}" for i in range(60)], shape=(12, 12))
    code = (
        "import softlabel, sys; softlabel.pack_cache(*sys.argv[1:], lambda i: print(i, flush=True))"
    )
    expected = pack_cache(cache, tmp_path / "whole.h5").read_bytes()
    target = tmp_path / "out" / "p.h5"
    for lines in (0, 1, 20, 50, 59):
        with subprocess.Popen(
            [sys.executable, "-c", code, cache, target], stdout=subprocess.PIPE
        ) as process:
            for _ in range(lines):
                process.stdout.readline()
            time.sleep(0.01)
            process.kill()
        assert not target.exists() or target.read_bytes() == expected
        target.unlink(missing_ok=True)
    pack_cache(cache, target)
    assert [p.name for p in target.parent.iterdir()] == ["p.h5"], "what was left is swept"


# --- what is refused ------------------------------------------------------------------------------


def test_outputs_that_are_there_are_refused(cache, tmp_path):
    packed = pack_cache(cache, tmp_path / "p.h5")
    (tmp_path / "q.parts.3").mkdir()
    for function, source in ((pack_cache, cache), (unpack_cache, packed)):
        for out, words in (
            (packed, "p.h5 exists"),
            (cache, "c.h5 exists"),
            (tmp_path / "q.h5", "q.parts.3 exists"),
            (tmp_path / "q.hdf5", "must end in .h5; for example q.h5"),
        ):
            with pytest.raises(UsageError, match=words):
                function(source, out)


def test_a_cache_of_the_wrong_kind_is_refused(cache, tmp_path):
    packed = pack_cache(cache, tmp_path / "p.h5")
    with pytest.raises(CacheError, match="is packed already; copy the file"):
        pack_cache(packed, tmp_path / "q.h5")
    with pytest.raises(CacheError, match="is an ordinary cache already"):
        unpack_cache(cache, tmp_path / "q.h5")


def test_a_cache_that_is_being_written_is_refused(cache, tmp_path):
    with claimed(cache, "generate"), pytest.raises(CacheError, match="is being written by another"):
        pack_cache(cache, tmp_path / "p.h5")
    content = read_index(cache)
    rebuild_index(cache, replace(content, unsettled=frozenset({"s2"})))
    with pytest.raises(CacheError, match="does not vouch for the part of 's2'"):
        pack_cache(cache, tmp_path / "p.h5")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("parts_beside", [False, True])
def test_nothing_writes_into_a_packed_file(tmp_path, overwrite, parts_beside):
    cache = factories.make_cache(tmp_path, ("a",))
    packed = pack_cache(cache, tmp_path / "p.h5")
    if parts_beside:
        shutil.copytree(cache.with_suffix(".parts"), packed.with_suffix(".parts"))
    content = packed.read_bytes()
    with pytest.raises(UsageError, match=r"packed cache.*softlabel unpack"):
        softlabel.generate(tmp_path / "data", packed, factories.QUICK, overwrite=overwrite)
    with pytest.raises(CacheError, match=r"packed cache.*softlabel unpack"):
        repair(packed, [])
    with pytest.raises(CacheError, match=r"packed cache.*softlabel unpack"):
        read_index(packed)
    assert packed.read_bytes() == content


# --- reading --------------------------------------------------------------------------------------


def test_few_cases_of_a_packed_file_are_kept_open(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(read_module, "KNOWN_CASES", 2)
    expected = factories.read_everything(cache)
    with open_cache(pack_cache(cache, tmp_path / "p.h5")) as opened:
        for case_id in ("s1", "s2", "s10", "s1"):
            np.testing.assert_array_equal(opened[case_id].soft, expected[f"{case_id}/soft"])
        assert [node for _, node in opened._handles._checked] == ["/cases/s10", "/cases/s1"]


def test_a_packed_file_is_read_beside_a_link_to_it(cache, tmp_path):
    packed = pack_cache(cache, tmp_path / "p.h5")
    (tmp_path / "link.h5").symlink_to(packed)
    publish(tmp_path / "moved.h5", packed.read_bytes())
    for path in ("link.h5", "moved.h5"):
        with open_cache(tmp_path / path) as opened:
            assert opened["s1"].labels[...].any()
