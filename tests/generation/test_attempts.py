"""A worker that dies leaves the name of the case that it was computing."""

from __future__ import annotations

import os
import subprocess
import sys

import factories
import pytest

from softlabel.files.owner import claimed
from softlabel.generation.attempts import Attempts, attempts_of

DIE = """
import os, sys
from pathlib import Path
from softlabel.generation.attempts import Attempts
attempts = Attempts(Path(sys.argv[1]))
with attempts.attempt("a"):
    pass
with attempts.attempt("b"):
    os._exit(9)
"""


def test_a_death_is_told_by_the_next_who_looks(tmp_path):
    attempts = Attempts(tmp_path)
    for deaths in (1, 2):
        process = subprocess.run([sys.executable, "-c", DIE, tmp_path], check=False)
        assert process.returncode == 9
        assert [attempts.deaths(name) for name in "abc"] == [0, deaths, 0]
    with attempts.attempt("b"):
        assert attempts.deaths("b") == 3
    assert attempts.deaths("b") == 0 and not list(tmp_path.iterdir())


def test_an_error_is_no_death(tmp_path):
    attempts = Attempts(tmp_path)
    with pytest.raises(ZeroDivisionError), attempts.attempt("a"):
        raise ZeroDivisionError
    assert attempts.deaths("a") == 0


def test_the_folder_goes_with_its_run_and_those_of_the_dead_go_too(tmp_path):
    out = tmp_path / "c.h5"
    dead = tmp_path / f"c.attempts/p.{os.uname().nodename}-{factories.dead_pid()}-{'0' * 12}"
    dead.mkdir(parents=True)
    with claimed(out, "p") as claim, claimed(out, "p") as other:
        with attempts_of(other) as theirs, attempts_of(claim) as attempts:
            assert not dead.exists() and theirs.folder.is_dir()
            with attempts.attempt("a"):
                assert attempts.folder.parent == tmp_path / "c.attempts"
        assert not (tmp_path / "c.attempts").exists()
