"""The commands: exit status, what they print, errors in one sentence."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from PIL import Image
from softlabel_train.cli import COMMANDS, from_worker, main
from softlabel_train.demo import Size, train_oct

from softlabel import interrupt
from softlabel.generation import worker

QUICK = ["train.steps=2", "train.pictures=0", "train.threads=1", "generate={}"]


def call(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def run(oct_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "run"
    result = call("fit", "smoke", *QUICK, "--cache", oct_cache, "-o", folder, "-q")
    assert result.exit_code == 0, result.output
    assert f"softlabel-train evaluate {folder}" in result.output
    return folder


def test_help_is_quick_and_lists_every_command():
    code = "import sys; from softlabel_train.cli import main; main(['--help'])"
    check = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stdout.strip().endswith("False"), "torch is not imported for the help"


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_explains_itself(command):
    result = call(command, "--help")
    assert result.exit_code == 0 and "Usage" in result.output


def test_an_unknown_command_is_wrong_usage():
    for command, end in (("evalute", "; did you mean evaluate?"), ("zzz", ".")):
        result = call(command)
        assert result.exit_code == 2
        assert result.output.endswith(f"Error: No such command '{command}'{end}\n")


def test_a_path_is_a_path_whatever_it_looks_like(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("2020", "a: b", "[x]", "null"):
        result = call("fit", "smoke", "--cache", name)
        assert result.exit_code == 2 and f"The cache {name} does not exist" in result.output


def test_the_same_command_again_finds_the_run_finished(run, oct_cache):
    result = call("fit", "smoke", *QUICK, "--cache", oct_cache, "-o", run, "-q")
    assert result.exit_code == 0 and "2 steps" in result.output


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


def test_evaluate_prints_tables_or_json(run):
    result = call(
        "evaluate", run, "bootstrap=50", "--against", "labels", "--against", "truth", "-q"
    )
    assert result.exit_code == 0, result.output
    assert "against truth" in result.output and "calibration" in result.output
    result = call("evaluate", run, "bootstrap=0", "--json", "-q")
    assert json.loads(result.output)["part"] == "evaluation"
    result = call("evaluate", run, "convention=best")
    assert result.exit_code == 2 and "evaluate.convention" in result.output


def test_predict_tells_what_failed(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("L", (50, 40)).save(folder / "a.png")
    assert call("predict", run, folder, "-o", tmp_path / "out", "-q").exit_code == 0
    (folder / "b.png").write_bytes(b"no image")
    result = call("predict", run, folder, "-o", tmp_path / "out", "-q")
    assert result.exit_code == 1
    assert "1 file written" in result.output and "failed: b" in result.output


@pytest.mark.parametrize("encoding, arguments, status, what", [
    ("ascii", ["recipes"], 0, b"\\u03b1"),
    ("latin-1", ["recipes"], 0, b"\\u03b1"),
    ("latin-1", ["recipes", "Ω"], 2, b"Error: There is no recipe '\\u03a9'"),
    ("latin-1", ["Ω"], 2, b"Error: No such command '\\u03a9'"),
])  # fmt: skip
def test_terminals_without_utf8_get_escapes(encoding, arguments, status, what):
    code = "from softlabel_train.cli import main; main(prog_name='softlabel-train')"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True,
                          check=False, timeout=60,
                          env=os.environ | {"PYTHONIOENCODING": encoding})  # fmt: skip
    assert done.returncode == status, done.stderr
    assert what in done.stdout + done.stderr and b"Traceback" not in done.stderr


def test_a_library_that_is_missing_is_named_with_the_mend():
    code = """
import sys
sys.modules["lightning_fabric"] = None
from softlabel_train.cli import main
main(["fit", "smoke"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "Error: The trainer needs lightning-fabric, which is not installed; run pip install "
        "'.[train]' in the clone of softlabel, or pip install lightning-fabric.\n"
    )


def test_recipes_are_listed_and_shown():
    assert "oct_dme" in call("recipes").output
    assert json.loads(call("recipes", "--json").output)["oct_dme"]["arms"]
    assert "beta: 1.0" in call("recipes", "smoke").output
    keys = {row["key"]: row for row in json.loads(call("recipes", "--keys", "--json").output)}
    assert keys["loss.beta"]["about"] == "weight of KL" and keys["data.batch_size"]["default"] == 16


def test_sweep_prints_its_table(oct_cache, tmp_path):
    result = call("sweep", "smoke", "arm=hard,superpixel", "seed=0", f"data.cache={oct_cache}",
                  *(f"--set={o}" for o in (*QUICK, "evaluate.bootstrap=0")), "-o", tmp_path / "s",
                  "-q")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "hard" in result.output and "superpixel" in result.output
    assert call("sweep", "smoke", "seed=a,b").exit_code == 2


@pytest.mark.parametrize("arguments, status, what", [
    (["fit", "nonesuch"], 2, "no recipe 'nonesuch'"),
    (["fit", "smoke"], 2, "names no data"),
    (["fit", "smoke", "loss.betta=1"], 2, r"did you mean loss.beta"),
    (["fit", "smoke", "--cache", "nowhere.h5"], 2, "does not exist"),
    (["fit", "smoke", "generate.metod=gaussian"], 2, "did you mean method?\n"),
    (["evaluate", "nowhere"], 2, "does not exist"),
    (["evaluate", "."], 2, "has no best.pt or last.pt"),
    (["predict", "nowhere", "x.png", "-o", "out"], 2, "does not exist"),
])  # fmt: skip
def test_errors_are_one_sentence_and_a_status(arguments, status, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == status and what in result.output, result.output
    assert "Traceback" not in result.output
    assert result.output.startswith("Error: ")


def test_a_network_that_cannot_be_made_leaves_no_folder(oct_cache, tmp_path):
    for wrong in ("model.architecture=unett", "evaluate.classes=[77]"):
        result = call("fit", "smoke", wrong, "--cache", oct_cache, "-o", tmp_path / "run", "-q")
        assert result.exit_code == 2, result.output
        assert not (tmp_path / "run").exists()


def test_errors_of_worker_processes_lose_their_traceback():
    text = (
        "Caught CacheError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "x.py", line 1\nsoftlabel.errors.CacheError: a.h5 is damaged: mend it.\n'
    )
    assert from_worker(RuntimeError(text)) == "a.h5 is damaged: mend it."
    assert from_worker(RuntimeError("something else")) is None


def test_train_oct_goes_from_nothing_to_the_table(tmp_path):
    size = Size("smoke", 4, 2, (224, 144, 2), 80)
    overrides = ["train.steps=2", "evaluate.bootstrap=0", "train.pictures=0"]
    # smoke has arms of the same meaning under shorter names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("softlabel_train.demo.ARMS", ("hard", "superpixel"))
        for _ in range(2):
            result = train_oct(tmp_path, size=size, overrides=overrides, show=False,
                               say=lambda text: None)  # fmt: skip
    assert [a.arm.name for a in result.arms] == ["hard", "superpixel"]
    assert {against for against, _ in result.arms[0].values} == {"labels", "truth"}
    assert not result.failures
    bad = call("train-oct", "--data", tmp_path / "none", "-o", tmp_path / "x")
    assert bad.exit_code == 2 and "no folder" in bad.output


def test_train_oct_on_files_is_scored_against_the_other_grader(oct_data, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("softlabel_train.demo.ARMS", ("hard", "superpixel"))
        result = train_oct(
            tmp_path, data=oct_data, size=Size("smoke", 0, 0, (0, 0, 0), 0), show=False,
            overrides=["train.steps=1", "evaluate.bootstrap=0", "generate.n_segments=80"],
            say=lambda text: None,
        )  # fmt: skip
    assert not result.failures
    assert {against for against, _ in result.arms[0].values} == {"labels", "grader2"}
    assert not (tmp_path / "phantoms").exists()
