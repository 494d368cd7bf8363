"""``softlabel-train fit``."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time

import pytest

from softlabel import interrupt
from softlabel.generation import worker

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


@pytest.mark.slow
def test_a_run_that_leaks_says_so_everywhere(oct_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call("fit", "smoke", *QUICK, "data.split=paper", "--cache", oct_cache)
    assert result.exit_code == 0, result.output
    says = "leaks: the evaluated patients steer the learning rate"
    assert f"warning: This run {says}" in " ".join(result.output.split())
    assert "Memory on cpu: at least about" in result.output
    run = tmp_path / "runs" / "smoke-superpixel-leaks"
    assert json.loads((run / "about.json").read_text())["leaks"] is True
    scored = call("evaluate", run, "bootstrap=0", "-q")
    assert says in " ".join(scored.output.split())
    assert json.loads((run / "evaluation" / "scores.json").read_text())["leaks"] is True
    call("evaluate", run, "bootstrap=0", "-q", "--part", "train")
    assert not json.loads((run / "evaluation_train" / "scores.json").read_text())["leaks"]


def test_the_same_command_again_finds_the_run_finished(run, oct_cache):
    result = call("fit", "smoke", *QUICK, "--cache", oct_cache, "-o", run, "-q")
    assert result.exit_code == 0 and "2 steps" in result.output


def test_a_network_that_cannot_be_made_leaves_no_folder(oct_cache, tmp_path):
    for wrong in ("model.architecture=unett", "evaluate.classes=[77]"):
        result = call("fit", "smoke", wrong, "--cache", oct_cache, "-o", tmp_path / "run", "-q")
        assert result.exit_code == 2, result.output
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_fit_is_saved_and_says_how_to_go_on(oct_cache, tmp_path, number, status):
    command = [sys.executable, "-m", "softlabel_train", "fit", "smoke", "train.steps=100000",
               "train.checkpoint_steps=100000", "train.validate_epochs=100000", *QUICK[1:],
               "--cache", str(oct_cache), "-o", str(tmp_path / "run"), "-q"]  # fmt: skip
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    metrics, deadline = tmp_path / "run" / "metrics.csv", time.monotonic() + 120
    while not (metrics.is_file() and len(metrics.read_text()) > 400):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == status, stderr
    assert re.fullmatch(
        rf"Error: Interrupted after \d+ of 100000 steps; {tmp_path}/run is saved\. Run the same "
        r"command again to go on\.\n",
        stderr,
    )
    assert (tmp_path / "run" / "last.pt").is_file()


def test_a_fit_that_is_stopped_while_it_generates_says_so(oct_data, tmp_path, monkeypatch):
    monkeypatch.setattr(interrupt, "_asked_by", signal.SIGINT)
    real = worker.build_part

    def build_part(*arguments):
        signal.raise_signal(signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(worker, "build_part", build_part)
    result = call("fit", "smoke", *QUICK, "--source", oct_data, "--cache", tmp_path / "c.h5",
                  "-o", tmp_path / "run")  # fmt: skip
    assert result.exit_code == 143
    assert result.output == "Error: Interrupted; run the same command again to go on.\n"
    assert len(list((tmp_path / "c.parts").glob("*.h5"))) == 1
