"""Options that several commands share, and the options of all readers under one name each."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from softlabel.cli.options import (
    SectionedCommand,
    given_reader_options,
    option,
    reader_options,
    verbosity_options,
)
from softlabel.readers import READERS


@click.command(cls=SectionedCommand)
@reader_options
@option("Numbers", "--count", type=int)
@option("Words", "--word")
@option("Numbers", "--share", type=float)
@verbosity_options
def command(**options):
    """Print what was given."""
    given = {n: v for n, v in sorted(options.items()) if v is not None and v is not False}
    click.echo(repr(given))


def run(*arguments):
    return CliRunner().invoke(command, arguments)


def test_every_option_of_every_reader_is_there_once():
    names = {entry.name for reader in READERS.values() for entry in reader.options}
    offered = [p.name for p in command.params if p.name.startswith("format_")]
    assert sorted(offered) == sorted(f"format_{name}" for name in names)


def test_the_help_says_which_formats_an_option_is_of():
    text = " ".join(run("--help").output.split())
    for reader in READERS.values():
        for entry in reader.options:
            flag = f"--{entry.name.replace('_', '-')} "
            assert flag in text
            assert reader.name in text[text.index(flag) :].partition("] ")[0] or entry.help in text


def test_options_stand_in_sections_in_the_order_of_their_definition():
    lines = run("--help").output.splitlines()
    headings = [line.rstrip(":") for line in lines if line and not line.startswith(" ")]
    assert headings[1:] == ["Options of the formats", "Numbers", "Words", "Options"]
    numbers = lines.index("Numbers:")
    assert [line.split()[0] for line in lines[numbers + 1 : numbers + 3]] == ["--count", "--share"]


def test_numbers_and_choices_are_checked():
    assert "format_row_base': 0" in run("--row-base", "0").output
    for wrong in (("--row-base", "x"), ("--grader", "3"), ("--classes", "/nowhere/c.json")):
        assert run(*wrong).exit_code == 2


def test_options_of_readers_are_taken_out():
    options = {"format_ignore": 255, "format_group": None, "out": "c.h5"}
    assert given_reader_options(options) == {"ignore": 255}
    assert options == {"out": "c.h5"}


@pytest.mark.parametrize(("flag", "name"), [("-v", "verbose"), ("-q", "quiet")])
def test_verbosity(flag, name):
    assert run(flag).output == f"{{'{name}': True}}\n"
