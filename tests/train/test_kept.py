"""Cases are decoded once for all processes, and nothing stays behind."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import namedtuple
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from softlabel_train import compact, data, kept
from softlabel_train.compact import CompactCase, read_compact
from softlabel_train.data import CacheDataset
from softlabel_train.kept import KeptCases

from softlabel.cache import open_cache
from softlabel.files.processes import machine_name


@pytest.fixture(autouse=True)
def temporary_folder(monkeypatch, tmp_path_factory):
    tmp_path_factory.getbasetemp()  # pytest's own is not to lie in it, and to go with it
    # with a short path: the sockets that processes share lie there, and theirs is limited
    folder = Path(tempfile.mkdtemp(prefix="kept-"))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["oct_cache", "mri_cache"])
def case(request):
    with open_cache(request.getfixturevalue(request.param)) as cache:
        return read_compact(next(iter(cache.values())), cache.classes, cache.ignore)


def assert_same(found: CompactCase, expected: CompactCase):
    for field in fields(CompactCase):
        a, b = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(a, b)
        if isinstance(b, np.ndarray):
            assert a.dtype == b.dtype and a.shape == b.shape


def test_a_case_comes_back_as_it_was(case):
    cases = KeptCases(limit_mb=100)
    assert cases.get("é/../x") is None and len(cases) == 0
    assert_same(cases.keep("é/../x", case), case)
    assert_same(cases.get("é/../x"), case)
    assert cases.get("another") is None and len(cases) == 1
    assert cases.folder.stat().st_mode & 0o777 == 0o700


def test_a_case_without_entries(tmp_path):
    index = np.full((3, 5), 255, np.uint8)
    empty = CompactCase(
        index[None], index, 2, 0.925, 0.0375, np.zeros(7, np.int64), np.zeros(0, np.uint16),
        np.zeros(0, np.float32),
    )  # fmt: skip
    assert_same(KeptCases(1).keep("a", empty), empty)


def decode_in(dataset, method):
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        return pool.apply(first_values, (dataset,))


def first_values(dataset):
    return dataset[0].values, len(dataset.kept)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_other_processes_do_not_decode_again(oct_cache, method, monkeypatch):
    with open_cache(oct_cache) as cache:
        dataset = CacheDataset(oct_cache, list(cache)[:2])
    values, count = decode_in(dataset, method)
    assert count == 1
    monkeypatch.setattr(data, "read_compact", lambda *a: pytest.fail("decoded again"))
    np.testing.assert_array_equal(dataset[0].values, values)
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again[0].values, values)


def test_each_process_has_its_share_of_the_space(case, monkeypatch):
    monkeypatch.setattr(kept, "get_worker_info", lambda: namedtuple("Info", "num_workers")(4))
    cases = KeptCases(limit_mb=1)
    count = 0
    while cases.has_room():
        cases.keep(str(count), case)
        count += 1
    stored = sum(f.stat().st_size for f in cases.folder.glob("*/*.npy"))
    assert 1 << 18 <= stored < (1 << 18) + 2 * case.nbytes


def test_no_more_than_half_of_what_is_free(case, monkeypatch):
    usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda folder: usage(0, 0, 100))
    cases = KeptCases(limit_mb=100)
    cases.keep("a", case)
    assert not cases.has_room()


def test_without_space_cases_are_read_anew_and_one_warning_says_so(oct_cache, monkeypatch):
    with open_cache(oct_cache) as cache:
        dataset = CacheDataset(oct_cache, list(cache)[:2])
    expected = [dataset[i].values for i in range(2)]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.Path, "rename", full)
    with open_cache(oct_cache) as cache:
        dataset = CacheDataset(oct_cache, list(cache)[:2])
    with pytest.warns(RuntimeWarning, match=r"No space left on device.*TMPDIR") as warned:
        for _ in range(2):
            for i in range(2):
                np.testing.assert_array_equal(dataset[i].values, expected[i])
    assert len(warned) == 1


def test_a_write_that_fails_leaves_nothing(case, monkeypatch):
    cases = KeptCases(limit_mb=100)
    monkeypatch.setattr(kept.Path, "rename", lambda *a: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.warns(RuntimeWarning, match="full"):
        assert cases.keep("a", case) is case
    assert list(cases.folder.iterdir()) == []


def test_two_processes_that_decode_a_case_at_once_keep_it_once(case):
    cases = KeptCases(limit_mb=100)
    cases.keep("a", case)
    other = pickle.loads(pickle.dumps(cases))
    assert_same(other.keep("a", case), case)
    assert other._written == 0 and other.has_room()
    assert [p.suffix for p in cases.folder.iterdir()] == [".case"]


def test_a_temporary_folder_without_space_is_no_error(case, temporary_folder, monkeypatch):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.Path, "mkdir", full)
    with pytest.warns(RuntimeWarning, match=r"cannot be kept in .*No space left.*TMPDIR"):
        cases = KeptCases(limit_mb=100)
    assert cases.get("a") is None and not cases.has_room()
    del cases
    assert list(temporary_folder.iterdir()) == []


def test_nothing_is_made_when_nothing_is_kept(temporary_folder):
    assert not KeptCases(limit_mb=0).has_room()
    assert list(temporary_folder.iterdir()) == []


def test_the_folder_goes_with_its_owner(case):
    cases = KeptCases(limit_mb=100)
    cases.keep("a", case)
    folder = cases.folder
    assert folder.is_dir()
    mapped = cases.get("a")
    del cases
    assert list(folder.parent.iterdir()) == []
    assert_same(mapped, case)  # who has it open keeps it


def test_a_fork_that_loses_the_object_leaves_the_folder(case):
    cases = KeptCases(limit_mb=100)
    cases.keep("a", case)
    if (child := os.fork()) == 0:
        status = 1
        try:
            folder = cases.folder
            del cases
            status = 0 if folder.is_dir() else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    KeptCases(limit_mb=100)  # sweeps; the child took no lock along
    assert len(cases) == 1


SCRIPT = """
    import sys
    from softlabel_train.data import CacheDataset, StepSampler, make_loader
    from softlabel.cache import open_cache

    if __name__ == "__main__":
        dataset = CacheDataset(sys.argv[1], list(open_cache(sys.argv[1])))
        for batch in make_loader(dataset, StepSampler(len(dataset), 2, 4), workers=2):
            pass
        print(dataset.kept.folder, len(dataset.kept), flush=True)
        if sys.argv[2] == "wait":
            import time
            time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["normal", "killed"])
def test_a_process_takes_its_folder_along_or_the_next_one_sweeps_it(
    oct_cache, end, tmp_path, temporary_folder
):
    script = tmp_path / "run.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen(
        [sys.executable, script, oct_cache, "wait" if end == "killed" else "go"],
        stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(temporary_folder)},
    )  # fmt: skip
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    name, count = process.stdout.readline().rsplit(" ", 1)
    folder = Path(name)
    assert int(count) > 0
    if end == "killed":
        process.send_signal(signal.SIGKILL)
    process.wait()
    watchdog.cancel()
    process.stdout.close()
    assert folder.exists() == (end == "killed")
    deadline = time.monotonic() + 30
    while folder.exists() and time.monotonic() < deadline:
        KeptCases(limit_mb=100)
    assert list(temporary_folder.glob(f"{kept.PREFIX}*")) == []


def test_only_folders_of_this_machine_that_nobody_holds_are_swept(case, temporary_folder):
    living = KeptCases(limit_mb=1)
    living.keep("a", case)
    dead, foreign = (
        temporary_folder / f"{kept.PREFIX}{machine}-{'0' * 16}"
        for machine in (machine_name(), "elsewhere")
    )
    for folder in (dead, foreign):
        folder.mkdir()
        Path(f"{folder}.lock").touch()
    KeptCases(limit_mb=1)
    assert not dead.exists() and not Path(f"{dead}.lock").exists()
    assert foreign.is_dir() and Path(f"{foreign}.lock").exists()
    assert living.folder.is_dir() and len(living) == 1


def mapped_cases(folder):
    """How many cases of a folder this process has mapped, as the system sees it."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    files = (Path(line.split(maxsplit=5)[-1]) for line in lines if str(folder) in line)
    return len({file.parent for file in files})


def test_few_cases_are_mapped_at_a_time(case, monkeypatch):
    monkeypatch.setattr(kept, "MOST_MAPPED", 2)
    cases = KeptCases(limit_mb=100)
    for name in "abcd":
        cases.keep(name, case)
    assert len(cases) == 4 and 1 <= mapped_cases(cases.folder) <= 2
    assert_same(cases.get("a"), case)


def signatures():
    """How many types of arguments each kernel of the compact cases was compiled for."""
    return {n: len(k.signatures) for n, k in vars(compact).items() if hasattr(k, "py_func")}


def test_kernels_are_not_compiled_again_for_what_is_mapped(case):
    mapped = KeptCases(limit_mb=100).keep("a", case)
    case.entries()
    before = signatures()
    mapped.entries()
    assert signatures() == before and any(before.values())
