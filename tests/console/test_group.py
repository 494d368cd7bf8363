"""A group of commands in modules of their own: exit statuses, and errors as sentences."""

from __future__ import annotations

import errno
import io
import sys
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from softlabel.console.group import LazyGroup, system_error

ABOUT = {"say-hello": "Say hello.", "never": "Never imported."}


@pytest.fixture
def group(monkeypatch):
    """A group of two commands; of the second there is no module."""

    @click.command("say-hello")
    @click.option("--fails-with", type=click.UNPROCESSED)
    def say_hello(fails_with):
        """Say hello."""
        if fails_with is not None:
            raise fails_with
        click.echo("hello Σ")

    package, module = ModuleType("commands"), ModuleType("commands.say_hello")
    package.__path__ = []
    module.say_hello = say_hello
    monkeypatch.setitem(sys.modules, "commands", package)
    monkeypatch.setitem(sys.modules, "commands.say_hello", module)
    return LazyGroup("tool", package="commands", about=ABOUT)


def run(group, *arguments, **options):
    return CliRunner().invoke(group, arguments, **options)


def test_a_command_is_found_in_the_module_of_its_name(group):
    result = run(group, "say-hello")
    assert (result.exit_code, result.output) == (0, "hello Σ\n")


def test_help_names_every_command_in_order_without_importing_one(group, monkeypatch):
    monkeypatch.setattr("softlabel.console.group.import_module", lambda name: pytest.fail(name))
    text = run(group, "--help").output
    assert text.index("say-hello") < text.index("never")
    assert "Say hello." in text and "Never imported." in text


@pytest.mark.parametrize(
    ("word", "end"), [("say-helo", "; did you mean say-hello?"), ("zzz", "."), ("SAY-HELLO", "?")]
)
def test_an_unknown_command_is_wrong_usage(group, word, end):
    result = run(group, word)
    assert result.exit_code == 2 and f"No such command '{word}'" in result.stderr
    assert result.stderr.endswith(f"{end}\n")


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (errno.ENOSPC, "; free some space and run the same command again."),
        (errno.EACCES, "; check that you may read or write it and run the same command again."),
        (errno.EIO, "."),
    ],
)
def test_errors_of_the_system_are_one_sentence(group, code, end):
    error = OSError(code, "It is so", "a.h5")
    assert system_error(error) == f"a.h5: It is so{end}"
    command = group.get_command(click.Context(group), "say-hello")
    result = run(group, "say-hello", default_map={"say-hello": {"fails_with": error}})
    assert command is not None
    assert (result.exit_code, result.stderr) == (1, f"Error: a.h5: It is so{end}\n")


def test_errors_of_the_system_without_a_file_or_a_number():
    assert system_error(OSError("odd")) == "The system: odd."
    assert system_error(TimeoutError()) == "The system: TimeoutError."


def test_streams_that_do_not_know_a_character_get_escapes(group, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="latin-1"))
    group.main(["say-hello"], standalone_mode=False)
    sys.stdout.flush()
    assert written.getvalue() == b"hello \\u03a3\n"
