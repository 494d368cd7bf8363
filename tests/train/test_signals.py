"""Ctrl-C and a request to terminate save the run, which the same command continues."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from softlabel_train.checkpoint import load_checkpoint
from softlabel_train.loop import fit

from .factories import SCRIPT, recipe_for


@pytest.mark.slow
@pytest.mark.parametrize("ask, to_all, devices", [
    (signal.SIGINT, True, 1),
    (signal.SIGTERM, False, 1),
    (signal.SIGTERM, True, 1),  # as a cluster's scheduler does it
    (signal.SIGTERM, False, 2),
    (signal.SIGTERM, True, 2),  # which the processes that train get a second time from their parent
])  # fmt: skip
def test_a_signal_saves_and_the_same_again_goes_on(
    oct_cache, tmp_path, request, ask, to_all, devices
):
    recipe = recipe_for(oct_cache, "train.steps=400", "train.checkpoint_steps=1000",
                        "train.validate_epochs=1000", "data.workers=1",
                        f"train.devices={devices}")  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe.model_dump(mode="json")))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "recipe.yaml"), str(tmp_path / "run")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        # a shell that runs the tests in the background has them ignore Ctrl-C, and their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    request.addfinalizer(process.kill)  # in case that the test fails
    metrics = tmp_path / "run" / "metrics.csv"
    deadline = time.time() + 300
    while time.time() < deadline and not (metrics.is_file() and len(metrics.read_text()) > 400):
        time.sleep(0.1)
        assert process.poll() is None, process.stderr.read()
    os.killpg(process.pid, ask) if to_all else process.send_signal(ask)
    out, err = process.communicate(timeout=120)
    assert out.startswith("interrupted"), err
    assert "Traceback" not in err, err
    step = load_checkpoint(tmp_path / "run" / "last.pt").loop["step"]
    assert 0 < step < 400 and int(out.split()[1]) == step
    longer = recipe_for(oct_cache, f"train.steps={step + 1}", "train.checkpoint_steps=1000",
                        "train.validate_epochs=1000")  # fmt: skip
    assert fit(longer, tmp_path / "run", show=False).steps == step + 1
