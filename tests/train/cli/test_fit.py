"""``softlabel-train fit``."""

from __future__ import annotations

import pytest

from ..factories import QUICK, call


@pytest.fixture(scope="module")
def run(oct_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = call("fit", "smoke", *QUICK, "--cache", oct_cache, "-o", folder, "-q")
    assert result.exit_code == 0, result.output
    assert f"softlabel-train evaluate {folder}" in result.output
    return folder


def test_a_path_is_a_path_whatever_it_looks_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("2020", "a: b", "[x]", "null"):
        result = call("fit", "smoke", "--cache", name)
        assert result.exit_code == 2 and f"The cache {name} does not exist" in result.output


def test_the_same_command_again_finds_the_run_finished(run, oct_cache):
    result = call("fit", "smoke", *QUICK, "--cache", oct_cache, "-o", run, "-q")
    assert result.exit_code == 0 and "2 steps" in result.output


def test_a_network_that_cannot_be_made_leaves_no_folder(oct_cache, tmp_path):
    for wrong in ("model.architecture=unett", "evaluate.classes=[77]"):
        result = call("fit", "smoke", wrong, "--cache", oct_cache, "-o", tmp_path / "run", "-q")
        assert result.exit_code == 2, result.output
        assert not (tmp_path / "run").exists()
