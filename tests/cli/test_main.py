"""The command line as a whole: help, errors, exit statuses."""

from __future__ import annotations

import subprocess

import factories
import pytest
from click.testing import CliRunner

import softlabel
from softlabel.cli import COMMANDS, main

WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "softlabel_train"}:
            raise ImportError(f"{name} must not be needed")
sys.meta_path.insert(0, Refuse())
from softlabel.cli import main
try:
    main(sys.argv[1:], prog_name="softlabel")
except SystemExit as end:
    assert not end.code, end.code
heavy = {"numpy", "numba", "h5py", "skimage", "joblib", "matplotlib"} & set(sys.modules)
print("HEAVY", sorted(heavy))
"""


def test_help_of_the_whole_is_quick_and_names_every_command():
    output = factories.run_python(WITHOUT_TORCH, "--help")
    assert all(name in output and words in output for name, words in COMMANDS.items())
    assert "HEAVY []" in output
    assert "130 interrupted" in output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_needs_no_torch(command):
    output = factories.run_python(WITHOUT_TORCH, command, "--help")
    assert f"softlabel {command}" in output and "--help" in output
    assert "joblib" not in output.rpartition("HEAVY")[2]


def test_version():
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"softlabel, version {softlabel.__version__}\n"


def test_an_unknown_command_is_wrong_usage():
    for command, end in (("genrate", "; did you mean generate?"), ("zzz", ".")):
        result = CliRunner().invoke(main, [command])
        assert result.exit_code == 2
        assert result.stderr.endswith(f"Error: No such command '{command}'{end}\n")


@pytest.mark.parametrize("command", ["info", "verify", "index"])
def test_what_is_no_cache_is_one_sentence_and_exit_2(tmp_path, command):
    (tmp_path / "x.h5").write_text("text")
    for path in (tmp_path / "x.h5", tmp_path / "absent.h5", tmp_path):
        result = CliRunner().invoke(main, [command, str(path)])
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
        assert str(path) in result.stderr or str(path.with_suffix(".parts")) in result.stderr


def test_errors_of_the_system_are_one_sentence(monkeypatch, tmp_path):
    cache = factories.make_cache(tmp_path, ("a",))

    def fail(*args):
        raise PermissionError(13, "Permission denied", str(cache))

    monkeypatch.setattr("softlabel.cli.info.open_cache", fail)
    result = CliRunner().invoke(main, ["info", str(cache)])
    assert (result.exit_code, result.stderr) == (
        1,
        f"Error: {cache}: Permission denied; "
        "check that you may read or write it and run the same command again.\n",
    )


def test_ctrl_c_anywhere_is_exit_130(monkeypatch, tmp_path):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("softlabel.cli.info.open_cache", interrupt)
    result = CliRunner().invoke(main, ["info", "x.h5"])
    assert (result.exit_code, result.stderr) == (130, "Error: Interrupted.\n")


def test_a_closed_pipe_is_no_traceback(tmp_path):
    cache = factories.make_cache(tmp_path, ("a", "b"))
    run = subprocess.Popen([*factories.COMMAND, "info", cache, "--json"],
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    run.stdout.close()
    assert b"Traceback" not in run.stderr.read()
    run.stderr.close()
    assert run.wait(60) in (0, 1)


def test_terminals_that_know_only_ascii_get_escapes(tmp_path):
    cache = factories.full_cache(tmp_path)
    done = subprocess.run([*factories.COMMAND, "info", cache], capture_output=True, check=False,
                          env={"PYTHONIOENCODING": "ascii", "PATH": ""}, timeout=60)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Fall 1" in done.stdout and b"\\u03a3q" in done.stdout
