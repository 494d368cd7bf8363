"""Who owns an output: one purpose at a time, shared by its runs, taken over from the dead."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

import factories
import pytest

from softlabel.files import owner
from softlabel.files.owner import LostClaimError, OwnedError, claimed, owners
from softlabel.files.processes import machine_name


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(owner, "PATIENCE_SECONDS", 0.2)


@pytest.fixture
def output(tmp_path):
    return tmp_path / "new" / "c.h5"


def claim_of(output, purpose="b", machine=None, pid=None, age=0.0):
    """A claim that another process left."""
    folder = output.with_suffix(".lock")
    folder.mkdir(parents=True, exist_ok=True)
    machine = machine_name() if machine is None else machine
    path = folder / f"{purpose}.{machine}-{os.getpid() if pid is None else pid}-0123456789ab"
    path.touch()
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_two_purposes_exclude_each_other_and_one_is_shared(output):
    with claimed(output, "a") as first, claimed(output, "a") as second:
        assert first.path != second.path and owners(output) == ["a", "a"]
        with (
            pytest.raises(OwnedError, match=rf"c\.h5 is being written .*process {os.getpid()}"),
            claimed(output, "b"),
        ):
            pass
        first.require()
        second.require()
    assert owners(output) == []
    with claimed(output, "b"):
        assert owners(output) == ["b"]


def test_nothing_is_left_behind(output):
    with claimed(output, "a"):
        assert [p.name for p in output.parent.iterdir()] == ["c.lock"]
    assert list(output.parent.iterdir()) == []
    with pytest.raises(ZeroDivisionError), claimed(output, "a"):
        raise ZeroDivisionError
    assert list(output.parent.iterdir()) == []


def test_whoever_ends_soon_is_waited_for(output, monkeypatch):
    monkeypatch.setattr(owner, "PATIENCE_SECONDS", 20)
    other = claim_of(output)
    sleeps = []

    def sleep(seconds):
        sleeps.append(seconds)
        other.unlink(missing_ok=True)

    monkeypatch.setattr(time, "sleep", sleep)
    with claimed(output, "a"):
        assert len(sleeps) == 1


@pytest.mark.skipif(os.name != "posix", reason="only POSIX tells who is alive")
def test_a_process_of_this_machine_that_has_died_is_taken_over_at_once(output):
    dead = claim_of(output, pid=factories.dead_pid())
    with claimed(output, "a"):
        assert not dead.exists()


@pytest.mark.parametrize(("age", "owned"), [(30, True), (owner.DEAD_SECONDS + 60, False)])
def test_a_process_of_another_machine_lives_as_long_as_its_heart_beats(output, age, owned):
    other = claim_of(output, machine="node7-01234567", pid=1, age=age)
    if owned:
        with pytest.raises(OwnedError, match="process 1 on node7, last sign of life 3"):
            claimed(output, "a").__enter__()
        assert other.exists()
    else:
        with claimed(output, "a"):
            assert not other.exists()


def test_ages_are_those_of_the_file_system(output, monkeypatch):
    """Clocks of machines differ by minutes; the files of one file system have one clock."""
    other = claim_of(output, machine="node7-01234567", pid=1, age=30)
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 2 * owner.DEAD_SECONDS)
    with pytest.raises(OwnedError):
        claimed(output, "a").__enter__()
    assert other.exists()


def test_the_heart_beats(output, monkeypatch):
    monkeypatch.setattr(owner, "HEARTBEAT_SECONDS", 0.01)
    with claimed(output, "a") as claim:
        os.utime(claim.path, (1, 1))
        deadline = time.monotonic() + 30
        while claim.path.stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_lost_claim_is_noticed_and_not_made_again(output, monkeypatch):
    monkeypatch.setattr(owner, "HEARTBEAT_SECONDS", 0.01)
    with claimed(output, "a") as claim:
        claim.path.unlink()
        time.sleep(0.1)
        with pytest.raises(LostClaimError, match=r"c\.h5 was taken over"):
            claim.require()
    assert not claim.path.exists()


def test_files_of_others_in_the_folder_are_left_alone(output):
    note = claim_of(output).with_name("note.txt")
    note.write_text("mine")
    claim_of(output).unlink()
    with claimed(output, "a"):
        pass
    assert note.read_text() == "mine"


COMPETITOR = """
import sys, time
from pathlib import Path
from softlabel.files import owner
owner.PATIENCE_SECONDS = 60
output, purpose, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
inside = output.with_name("inside")
for _ in range(rounds):
    with owner.claimed(output, purpose):
        mine = inside / f"{purpose}-{time.monotonic_ns()}-{id(output)}"
        mine.touch()
        there = {p.name.split("-")[0] for p in inside.iterdir()}
        assert there == {purpose}, there
        time.sleep(0.002)
        mine.unlink()
"""


def test_processes_of_different_purposes_are_never_inside_together(tmp_path):
    """Three purposes, two processes each, again and again."""
    (tmp_path / "inside").mkdir()
    started = [
        subprocess.Popen(
            [sys.executable, "-c", COMPETITOR, tmp_path / "c.h5", purpose, "15"],
            stderr=subprocess.PIPE, text=True,
        )
        for purpose in ("a", "b", "c") for _ in range(2)
    ]  # fmt: skip
    complaints = [process.communicate(timeout=factories.PATIENCE)[1] for process in started]
    assert complaints == [""] * 6
    assert list((tmp_path / "inside").iterdir()) == []


def _hold(output, ready):
    with claimed(Path(output), "b"):
        ready.set()
        time.sleep(factories.PATIENCE)


@pytest.mark.skipif(os.name != "posix", reason="only POSIX tells who is alive")
def test_a_killed_owner_is_taken_over(output):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(output, ready))
    process.start()
    assert ready.wait(factories.PATIENCE)
    with pytest.raises(OwnedError, match=f"process {process.pid} "):
        claimed(output, "a").__enter__()
    process.kill()
    process.join()
    with claimed(output, "a"):
        assert owners(output) == ["a"]
