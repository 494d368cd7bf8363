"""Options of the command line that are settings."""

from __future__ import annotations

from dataclasses import fields

import click
import pytest
from click.testing import CliRunner

from softlabel.cli.options import SectionedCommand
from softlabel.cli.setting_options import flag, method_options, setting, settings_of
from softlabel.generation.settings import CHOICES, Settings


@click.command(cls=SectionedCommand)
@setting("Numbers", "scale", "How far.")
@setting("Numbers", "n_segments", "How many.")
@setting("Words", "method", "By what.")
@method_options("Methods")
def command(**options):
    """Print the settings."""
    click.echo(repr(settings_of(options)))


def run(*arguments):
    return CliRunner().invoke(command, arguments)


def test_defaults_are_those_of_the_settings():
    assert run().output == f"{Settings()!r}\n"
    given = {parameter.name: parameter.default for parameter in command.params}
    for name in ("scale", "n_segments", "method"):
        assert given[name] == getattr(Settings(), name)


def test_choices_and_types_are_those_of_the_settings():
    result = run("--method", "magic")
    assert result.exit_code == 2 and all(repr(name) in result.output for name in CHOICES["method"])
    assert "is not a valid float" in run("--scale", "wide").output
    assert "is not a valid int" in run("--n-segments", "2.5").output


def test_options_of_methods_come_from_their_dataclasses():
    assert "[gaussian]" in run("--help").output
    assert "method_options={'blur': 2.0}" in run("--method", "gaussian", "--blur", "2").output
    assert "method_options={'in_plane': True}" in run("--in-plane").output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--blur", "2"], "--blur has no meaning with --method superpixel; leave it out"),
        (
            ["--method", "gaussian", "--n-segments", "9"],
            "--n-segments has no meaning with --method gaussian; leave it out",
        ),
    ],
)
def test_an_option_without_a_meaning_is_refused(arguments, sentence):
    assert sentence in str(run(*arguments).exception)


def test_every_setting_has_the_flag_of_its_name():
    assert [flag(f.name) for f in fields(Settings)][:2] == ["--superpixels", "--n-segments"]
