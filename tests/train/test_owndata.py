"""A run goes on with the images and labels that it was started with, or not at all."""

from __future__ import annotations

import os
from dataclasses import replace

import h5py
import pytest
from factories import dead_pid
from softlabel_train.checkpoint import load_checkpoint, save_checkpoint
from softlabel_train.dryrun import dry_run
from softlabel_train.loop import fit
from softlabel_train.owndata import require_same_data
from softlabel_train.prepare import open_data

from softlabel.cache import open_cache, read_index, rebuild_index
from softlabel.cache.digest import case_digest
from softlabel.cache.files import put_text, seal
from softlabel.errors import UsageError
from softlabel.files.atomic import TEMPORARY_PREFIX, temporary_name

from .factories import copy_of, recipe_for

ONE, TWO = ("train.steps=1",), ("train.steps=2",)


@pytest.fixture(scope="module")
def trained(oct_cache, tmp_path_factory):
    """A run of one step, and the cache that it was started with."""
    folder = tmp_path_factory.mktemp("own")
    cache = copy_of(oct_cache, folder)
    fit(recipe_for(cache, *ONE), folder / "run", show=False)
    return folder / "run", cache


def changed(path, name):
    """Change a value of a part as softlabel would have written it: all digests are right."""
    with h5py.File(path, "r+") as file:
        dataset = file["case"][name]
        where = (0,) * dataset.ndim
        dataset[where] = 1 if dataset[where] == 0 else 0
        seal(dataset)
        put_text(file["case"], "digest", case_digest(file["case"]))


def refused(run, cache, words):
    """Both a run and a trial of it are refused, and the run stays as it was."""
    before = (run / "last.pt").read_bytes()
    for start in (fit, dry_run):
        options = {"show": False} if start is fit else {}
        with pytest.raises(UsageError, match=words) as told:
            start(recipe_for(cache, *TWO), run, **options)
    assert (run / "last.pt").read_bytes() == before
    assert "\n" not in str(told.value) and "another folder for a new run" in str(told.value)


@pytest.mark.parametrize("name", ["image", "soft", "labels"])
def test_another_image_or_soft_label_is_refused(trained, tmp_path, name):
    run, cache = trained[0], copy_of(trained[1], tmp_path)
    with open_cache(cache) as opened:
        split = open_data(recipe_for(cache), cache).split
        path = opened[split.train[1]].path
    changed(path, name)
    rebuild_index(cache, read_index(cache))
    refused(run, cache, rf"1 case has other images or labels \({split.train[1]}\); give the cache")


def test_a_case_fewer_or_more_of_the_same_patients_is_refused(trained, tmp_path):
    run, cache = trained[0], copy_of(trained[1], tmp_path)
    split = open_data(recipe_for(cache), cache).split
    with open_cache(cache) as opened:
        opened[split.train[0]].path.unlink()
    rebuild_index(cache, read_index(cache))
    refused(run, cache, rf"1 case is gone \({split.train[0]}\)")
    fit(recipe_for(cache, *ONE), tmp_path / "run", show=False)
    refused(tmp_path / "run", trained[1], rf"1 case is new \({split.train[0]}\)")


def test_what_a_run_does_not_train_on_may_change(trained, tmp_path):
    run, cache = copy_run(trained[0], tmp_path), copy_of(trained[1], tmp_path)
    split = open_data(recipe_for(cache), cache).split
    with open_cache(cache) as opened:
        changed(opened[split.evaluation[0]].path, "soft")
    rebuild_index(cache, read_index(cache))
    assert fit(recipe_for(cache, *TWO), run, show=False).steps == 2
    held = load_checkpoint(run / "last.pt").data
    assert set(held) == {*split.train, *split.validation} and all(held.values())


def copy_run(run, folder):
    (folder / "copy").mkdir(parents=True)
    for file in run.iterdir():
        if file.is_file():
            (folder / "copy" / file.name).write_bytes(file.read_bytes())
    return folder / "copy"


def test_a_checkpoint_without_digests_goes_on_with_a_warning(trained, tmp_path, capsys):
    run, cache = copy_run(trained[0], tmp_path), trained[1]
    old = replace(load_checkpoint(run / "last.pt"), data={})
    save_checkpoint(run / "last.pt", old)
    fit(recipe_for(cache, *TWO), run, show=True)
    told = " ".join(capsys.readouterr().err.split())
    assert "warning:" in told and "did not record its images and labels" in told
    assert load_checkpoint(run / "last.pt").data
    fit(recipe_for(cache, "train.steps=3"), run, show=True)
    assert "did not record" not in " ".join(capsys.readouterr().err.split())


def test_many_cases_are_counted_and_some_named(oct_cache, tmp_path):
    before = {f"s{i}": "x" for i in range(7)}
    with pytest.raises(
        UsageError, match=r"7 cases are gone \(s0, s1, s2, s3, s4 and 2 more\), 1 c"
    ):
        require_same_data(tmp_path, oct_cache, before, {"t": "x"})


def test_a_cache_whose_index_tells_no_digest_is_known_by_its_parts(oct_cache, tmp_path):
    cache = copy_of(oct_cache, tmp_path)
    with open_cache(cache) as opened:
        expected = {case_id: case.content_digest() for case_id, case in opened.items()}
        assert all(len(digest) == 64 for digest in expected.values())
    content = replace(read_index(cache), unsettled=frozenset(expected))
    rebuild_index(cache, content)
    with open_cache(cache) as opened:
        assert not any(case.digest for case in opened.values())
        assert {case_id: case.content_digest() for case_id, case in opened.items()} == expected


def test_what_killed_processes_left_is_swept_at_the_next_start(trained, tmp_path):
    run, cache = copy_run(trained[0], tmp_path), trained[1]
    dead = temporary_name().replace(f"-{os.getpid()}-", f"-{dead_pid()}-")
    (run / "evaluation").mkdir()
    left = [run / dead, run / "evaluation" / dead]
    for path in left:
        path.write_bytes(b"half")
    alive = run / temporary_name()
    alive.write_bytes(b"half")
    fit(recipe_for(cache, *ONE), run, show=False)
    assert not any(path.exists() for path in left)
    assert alive.exists(), "its writer lives"


@pytest.mark.slow
def test_a_run_that_was_killed_while_it_wrote_its_first_file_may_begin_again(trained, tmp_path):
    dead = temporary_name().replace(f"-{os.getpid()}-", f"-{dead_pid()}-")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / dead).write_bytes(b"half")
    assert fit(recipe_for(trained[1], *ONE), tmp_path / "run", show=False).steps == 1
    assert not list((tmp_path / "run").glob(f"{TEMPORARY_PREFIX}*"))
