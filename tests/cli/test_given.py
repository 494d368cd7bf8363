"""Options that a command was given, as words."""

from __future__ import annotations

import click
import pytest

from softlabel.cli.given import command_line, given_words
from softlabel.cli.setting_options import Numbers


@click.command()
@click.option("-n", "--number", default=3)
@click.option("--pair", type=float, nargs=2)
@click.option("--several", multiple=True)
@click.option("--list", "numbers", type=Numbers())
@click.option("--flag", is_flag=True)
@click.option("--yes/--no", "answer", default=None)
@click.option("--off", "kept", flag_value=False, default=True)
@click.argument("source")
def command(**given):
    pass


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--number", "4"],
        ["--pair", "1.0", "99.5", "--several", "a b", "--several", "c"],
        ["--list", "0.9,0.9,3.0", "--flag"],
        ["--yes"],
        ["--no", "--off"],
        ["--several=-x", "--list=-160.0,240.0"],
    ],
)
def test_what_was_given_comes_back(words):
    context = command.make_context("command", [*words, "data"])
    found = given_words(context)
    assert found == words
    assert command.make_context("command", [*found, "data"]).params == context.params


def test_what_the_other_command_does_not_take_is_left_out():
    context = command.make_context("command", ["-n", "4", "--flag", "data"])
    assert given_words(context, leave_out=["flag"]) == ["--number", "4"]


def test_a_command_line_is_quoted():
    line = command_line("softlabel generate", "-odd $name", ["--map", "0=a b"])
    assert line == "softlabel generate './-odd $name' --map '0=a b'"
