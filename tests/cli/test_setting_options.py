"""Options of the command line that are settings."""

from __future__ import annotations

from dataclasses import fields

import click
import pytest
from click.testing import CliRunner

from softlabel.cli.generate import generate
from softlabel.cli.options import SectionedCommand
from softlabel.cli.setting_options import (
    Numbers,
    flag,
    given_step_options,
    method_options,
    preprocessing_settings,
    setting,
    settings_of,
    softening_settings,
    superpixel_settings,
)
from softlabel.generation.settings import CHOICES, Settings


@click.command(cls=SectionedCommand)
@setting("Numbers", "scale", "How far.")
@setting("Numbers", "n_segments", "How many.")
@setting("Words", "method", "By what.")
@method_options("Methods")
@preprocessing_settings("Steps")
def command(**options):
    """Print the settings."""
    steps = given_step_options(options)
    click.echo(repr(settings_of(options, preprocess_options=steps)))


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
        (
            ["--blur", "2"],
            "--blur has no meaning with --method superpixel; leave it out, or take --method "
            "gaussian.",
        ),
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


def test_options_of_steps_come_from_their_dataclasses():
    shown = " ".join(run("--help").output.split())
    assert "With --preprocess oct: tv." in shown and "[denoise] Weight of the total var" in shown
    given = run("--preprocess", "oct", "--denoise", "nlm", "--nlm-h", "2", "--no-keep-original")
    assert "preprocess_options={'denoise': 'nlm', 'nlm_h': 2.0}" in given.output
    assert "keep_original=False" in given.output
    assert "'bm3d' is not one of 'none', 'tv'" in run("--denoise", "bm3d").output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tv-weight", "3"], "no step of this preprocessing (none) has the option 'tv_weight'"),
        (["--denoise", "nlm", "--tv-weight", "3"], "tv_weight has no meaning beside denoise=nlm"),
        (["--no-keep-original"], "--no-keep-original has no meaning without a step"),
    ],
)
def test_an_option_of_a_step_without_a_meaning_is_refused(arguments, sentence):
    assert sentence in str(run(*arguments).exception)


def test_numbers_of_an_option():
    assert Numbers().convert("0.9,1,3", None, None) == (0.9, 1.0, 3.0)
    with pytest.raises(click.BadParameter, match="'wide' is no list of numbers such as"):
        Numbers().convert("wide", None, None)


def test_no_two_options_of_generate_have_one_flag():
    flags = [name for p in generate.params for name in (*p.opts, *p.secondary_opts)]
    assert len(flags) == len(set(flags))


@click.command(cls=SectionedCommand)
@superpixel_settings
@softening_settings
def superpixel_command(**options):
    """Print the settings."""
    click.echo(repr(settings_of(options)))


@pytest.mark.parametrize(
    "given",
    [
        ["--n-segments", "9"],
        ["--superpixel-size", "9"],
        ["--compactness", "0.2"],
        ["--slic-dims", "slice"],
        ["--channel-percentiles", "2", "98"],
    ],
)
def test_what_a_preset_takes_over_is_refused_beside_it(given):
    result = CliRunner().invoke(superpixel_command, ["--preset", "auto", *given])
    assert f"{given[0]} has no meaning with --preset auto" in str(result.exception)


def test_a_preset():
    def run(*given):
        return CliRunner().invoke(superpixel_command, given)

    assert "preset='auto'" in run("--preset", "auto").output
    refused = run("--preset", "auto", "--method", "svls").exception
    assert "--preset has no meaning with --method svls" in str(refused)
    assert run("--preset", "oct").exit_code == 2
