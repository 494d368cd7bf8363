"""A run goes on with what it began with, and a mistake costs nothing that was trained."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from softlabel_train import runfolder
from softlabel_train.checkpoint import load_checkpoint
from softlabel_train.config import load_recipe
from softlabel_train.loop import fit
from softlabel_train.runfolder import check_folder, left_out_of

from softlabel.cache import open_cache
from softlabel.errors import SoftlabelError, UsageError
from softlabel.generation.run import generate
from softlabel.generation.settings import Settings


def recipe_for(cache, *overrides):
    return load_recipe(
        "smoke", [f"data.cache={cache}", "generate={}", "train.threads=1", "train.pictures=0",
                  "train.steps=1", *overrides]
    )  # fmt: skip


@pytest.fixture
def run(oct_cache, tmp_path):
    fit(recipe_for(oct_cache), tmp_path / "run", show=False)
    return tmp_path / "run"


def content(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("wrong", [
    "data.cache=typo.h5", "model.encoder=xceptoin", "evaluate.classes=[77]", "data.classes=3",
    "train.accelerator=cuda",
])  # fmt: skip
def test_overwriting_begins_when_everything_is_checked(run, oct_cache, wrong, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    before = content(run)
    wrong = [wrong, "model.architecture=unet"] if "encoder" in wrong else [wrong]
    with pytest.raises(SoftlabelError):
        fit(recipe_for(oct_cache, *wrong), run, overwrite=True, show=False)
    assert content(run) == before


def test_overwriting_leaves_what_no_run_wrote(run, oct_cache):
    (run / "notes.txt").write_text("mine")
    (run / "evaluation_validation").mkdir()
    fit(recipe_for(oct_cache, "loss.beta=2"), run, overwrite=True, show=False)
    assert (run / "notes.txt").is_file() and not (run / "evaluation_validation").exists()
    assert load_checkpoint(run / "last.pt").recipe.loss.beta == 2


def test_a_folder_that_is_no_run_is_never_overwritten(oct_cache, tmp_path):
    folder = tmp_path / "project"
    (folder / "pictures").mkdir(parents=True)
    (folder / "pictures" / "holiday.jpg").write_bytes(b"x")
    (folder / "recipe.yaml").write_text("eggs: 3")
    before = content(folder)
    with pytest.raises(UsageError, match="something else than a run"):
        fit(recipe_for(oct_cache), folder, overwrite=True, show=False)
    assert content(folder) == before


def test_keys_that_the_earlier_recipe_did_not_have_differ_too(run, oct_cache):
    for new in ("generate.scale=3", "model.options.dropout=0.5"):
        with pytest.raises(UsageError, match=rf"{new.split('=')[0]}=None and now has"):
            fit(recipe_for(oct_cache, "train.steps=2", new), run, show=False)


def test_a_run_goes_on_with_its_patients_only(run, oct_cache, tmp_path):
    smaller = tmp_path / "smaller.h5"
    with open_cache(oct_cache) as cache:
        first = cache[next(iter(cache))].group
        keep = [i for i in cache if cache[i].group != first]
    copy_cache(oct_cache, smaller, keep)
    with pytest.raises(UsageError, match=rf"started with the train patients {first} and now has"):
        fit(recipe_for(smaller, "train.steps=2"), run, show=False)
    moved = tmp_path / "elsewhere" / "same.h5"
    moved.parent.mkdir()
    with open_cache(oct_cache) as cache:
        copy_cache(oct_cache, moved, list(cache))
    assert fit(recipe_for(moved, "train.steps=2"), run, show=False).steps == 2
    assert json.loads((run / "about.json").read_text())["cache"] == str(moved.resolve())


def copy_cache(source, target, ids):
    """A cache of some of the cases."""
    from softlabel.cache import PartsFolder, parts_folder, read_index, rebuild_index

    parts_folder(target).mkdir()
    with open_cache(source) as cache:
        for case_id in ids:
            shutil.copy(cache[case_id].path, parts_folder(target))
    rebuild_index(target, read_index(source), PartsFolder(parts_folder(target)))


def test_a_run_goes_on_with_its_soft_labels_only(run, oct_data, tmp_path):
    generate(oct_data, tmp_path / "other.h5", Settings(n_segments=60))
    with pytest.raises(UsageError, match="soft labels of other settings or classes"):
        fit(recipe_for(tmp_path / "other.h5", "train.steps=2"), run, show=False)


@pytest.mark.slow
def test_a_run_that_was_killed_while_its_folder_was_made_may_begin_again(run, oct_cache):
    for name in ("last.pt", "best.pt", "about.json"):
        (run / name).unlink()
    assert fit(recipe_for(oct_cache), run, show=False).steps == 1


@pytest.mark.slow
def test_two_processes_do_not_train_in_one_folder(oct_cache, tmp_path):
    recipe, run = recipe_for(oct_cache, "train.steps=1"), tmp_path / "run"
    holder = rf"process {os.getpid()} of the host {socket.gethostname()} is training in {run}"
    with runfolder.held(run):
        for _ in range(2):  # the first refusal does not hide the holder from the second
            with pytest.raises(UsageError, match=holder):
                fit(recipe, run, show=False)
        assert [p.name for p in run.iterdir()] == [runfolder.LOCK]
    assert not (run / runfolder.LOCK).exists()
    # a file that was left says nothing, whatever it holds: the system knows that nobody holds it
    for left in (f"{os.getpid()}\n{socket.gethostname()}\n", "1\nother-host\n", "", "\udcff"):
        (run / runfolder.LOCK).write_bytes(left.encode("utf-8", "surrogateescape"))
        fit(recipe, run, show=False)
        assert not (run / runfolder.LOCK).exists()


NO_FLOCK = """
import errno, fcntl

def flock(*arguments):
    raise OSError(errno.ENOLCK, "No locks available")
"""

HOLDER = """
import multiprocessing, sys, time
from pathlib import Path
from softlabel_train.runfolder import held

with held(Path(sys.argv[1])):
    loader = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), daemon=True)
    loader.start()
    print(loader.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def no_flock(monkeypatch):
    """A file system that locks no files."""
    names = {}
    exec(NO_FLOCK, names)
    monkeypatch.setattr("fcntl.flock", names["flock"])


@pytest.mark.slow
@pytest.mark.parametrize("flock", ["with flock", "without"])
def test_a_process_that_was_killed_holds_no_folder_while_its_loaders_live_on(
    tmp_path, flock, request
):
    script = HOLDER
    if flock == "without":
        request.getfixturevalue("no_flock")
        script = f"{NO_FLOCK}\nfcntl.flock = flock\n{HOLDER}"
    run = tmp_path / "run"
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(run)], stdout=subprocess.PIPE, text=True
    )
    watchdog = threading.Timer(120, holder.kill)
    watchdog.start()
    loader = int(holder.stdout.readline())
    with pytest.raises(UsageError, match=rf"process {holder.pid} of the host"):
        runfolder.held(run).__enter__()
    holder.kill()
    holder.wait()
    watchdog.cancel()
    holder.stdout.close()
    try:
        os.kill(loader, 0)  # it lives
        with runfolder.held(run):
            pass
    finally:
        os.kill(loader, signal.SIGKILL)
    assert list(run.iterdir()) == []


def test_where_the_file_system_locks_nothing_a_file_says_who_holds_the_folder(tmp_path, no_flock):
    run = tmp_path / "run"
    marker = run / runfolder.SOFT_LOCK
    held_by = rf"process {os.getpid()} of .*or delete {marker}"
    with runfolder.held(run), pytest.raises(UsageError, match=held_by):
        runfolder.held(run).__enter__()
    assert list(run.iterdir()) == []
    marker.write_text("1\nother-host\n")
    with pytest.raises(UsageError, match=rf"process 1 of the host other-host .*delete {marker}"):
        runfolder.held(run).__enter__()
    assert marker.read_text() == "1\nother-host\n"


def test_other_errors_of_the_lock_are_not_taken_for_a_file_system_without(tmp_path, monkeypatch):
    def flock(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(OSError, match="Input/output"):
        runfolder.held(tmp_path / "run").__enter__()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the rights of a process are POSIX")
def test_a_read_only_folder_is_refused_before_anything_is_read():
    with tempfile.TemporaryDirectory(prefix="run-") as name:  # in a folder that all may enter
        folder = Path(name)
        folder.chmod(0o555)
        if (child := os.fork()) == 0:
            status = 1
            try:
                if os.getuid() == 0:  # who may write everywhere
                    os.setuid(65534)
                with pytest.raises(UsageError, match=rf"choose another folder than {folder}"):
                    check_folder(folder / "run", None, overwrite=False)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused_at_once(oct_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="may not be written to; choose another folder than"):
        fit(recipe_for(oct_cache), tmp_path / "run", show=False)


@pytest.mark.parametrize(
    "text",
    ["{", "[1]", '{"cache": 3}', '{"left_out": [{"x": 1}]}', '{"left_out": 5}', "[" * 99_999],
)
def test_a_damaged_memory_of_a_run_is_a_sentence(tmp_path, text):
    (tmp_path / "about.json").write_text(text)
    with pytest.raises(UsageError, match=r"about\.json is damaged .*restore it"):
        left_out_of(tmp_path)
