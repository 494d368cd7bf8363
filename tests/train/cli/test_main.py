"""The commands: exit status, what they print, errors in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from softlabel_train.cli import COMMANDS, from_worker

from ..factories import call


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


@pytest.mark.slow
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


def test_a_library_that_is_missing_is_named_with_the_fix():
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


def test_errors_of_worker_processes_lose_their_traceback():
    text = (
        "Caught CacheError in DataLoader worker process 0.\nOriginal Traceback (most recent call "
        'last):\n  File "x.py", line 1\nsoftlabel.errors.CacheError: a.h5 is damaged: fix it.\n'
    )
    assert from_worker(RuntimeError(text)) == "a.h5 is damaged: fix it."
    assert from_worker(RuntimeError("something else")) is None


@pytest.mark.parametrize("arguments", [
    ["fit", "smoke", "loss.betta=1"], ["sweep", "smoke", "loss.betta=1,2"],
    ["sweep", "smoke", "seed=0,1", "--set", "loss.beta=much"],
])  # fmt: skip
def test_keys_are_looked_at_before_torch_is_imported(arguments):
    code = f"""
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules))
from softlabel_train.cli import main
main({arguments})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "loss.bet" in done.stderr
    assert done.stdout.strip() == "False"
