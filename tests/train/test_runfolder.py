"""A run goes on with what it began with, and a mistake costs nothing that was trained."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from softlabel_train import runfolder
from softlabel_train.checkpoint import load_checkpoint
from softlabel_train.config import load_recipe
from softlabel_train.loop import fit

from softlabel.cache import open_cache
from softlabel.errors import SoftlabelError, UsageError
from softlabel.files.processes import machine_name
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


def test_a_run_that_was_killed_while_its_folder_was_made_may_begin_again(run, oct_cache):
    for name in ("last.pt", "best.pt", "about.json"):
        (run / name).unlink()
    assert fit(recipe_for(oct_cache), run, show=False).steps == 1


def test_two_processes_do_not_train_in_one_folder(oct_cache, tmp_path, monkeypatch):
    recipe, run = recipe_for(oct_cache, "train.steps=1"), tmp_path / "run"
    with runfolder.held(run):
        with pytest.raises(UsageError, match=rf"process {os.getpid()} is training in {run}"):
            fit(recipe, run, show=False)
        assert [p.name for p in run.iterdir()] == [runfolder.LOCK]
    assert not (run / runfolder.LOCK).exists()
    # left by a process that was killed, or by one of another machine
    # one that was killed may have had the number that this process has now
    for left in (f"{machine_name()} {2**22 + 1}.7", f"{machine_name()} {os.getpid()}.1",
                 "other-host 1", "", "nonsense", "\udcff"):  # fmt: skip
        (run / runfolder.LOCK).write_bytes(left.encode("utf-8", "surrogateescape"))
        fit(recipe, run, show=False)
        assert not (run / runfolder.LOCK).exists()


def test_a_folder_that_cannot_be_written_is_refused_at_once(oct_cache, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="may not be written to; choose another folder than"):
        fit(recipe_for(oct_cache), tmp_path / "run", show=False)
