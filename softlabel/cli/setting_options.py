"""Options of the command line that are settings: type, default and choices come from there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import Field, fields
from typing import Any, TypeVar, get_args, get_type_hints

import click
from click.core import ParameterSource

from softlabel.cli.options import option
from softlabel.errors import UsageError
from softlabel.generation.settings import CHOICES, Settings, idle_settings
from softlabel.softening import METHODS

F = TypeVar("F", bound=Callable[..., Any])

_FIELDS: dict[str, Field[Any]] = {f.name: f for f in fields(Settings)}
_KINDS = get_type_hints(Settings)


def setting(section: str, name: str, help: str, **attributes: Any) -> Callable[[F], F]:
    """The option of a field of :class:`Settings`.

    Parameters
    ----------
    section : str
        Heading in the help.
    name : str
        The field; the option has dashes for its underscores.
    help : str
        One sentence.
    **attributes
        Further attributes of the option, or others than the field gives it.
    """
    default = _FIELDS[name].default
    kind = next((k for k in get_args(_KINDS[name]) if k is not type(None)), _KINDS[name])
    defaults: dict[str, Any] = {
        "type": click.Choice(CHOICES[name]) if name in CHOICES else kind,
        "default": default,
        "show_default": default is not None,
    }
    return option(section, flag(name), name, help=help, **defaults | attributes)


def method_options(section: str) -> Callable[[F], F]:
    """The options that methods have beside the settings, with the methods that each belongs to."""

    def decorate(command: F) -> F:
        for name, owners in reversed(_owners().items()):
            field = next(f for f in fields(METHODS[owners[0]].options) if f.name == name)
            is_flag = isinstance(field.default, bool)
            shown = "" if is_flag else f" Default: {field.default:g}."
            command = option(
                section,
                flag(name),
                f"method_{name}",
                default=None,
                help=f"[{', '.join(owners)}] {field.metadata['help']}{shown}",
                **({"is_flag": True} if is_flag else {"type": type(field.default)}),
            )(command)
        return command

    return decorate


def settings_of(options: dict[str, Any], **others: Any) -> Settings:
    """The settings among the keyword arguments of a command.

    Parameters
    ----------
    options : dict
    **others
        Settings that the command found out itself.

    Raises
    ------
    UsageError
        For settings that cannot be, and for options that the others leave without a meaning.
    """
    given = {name: options[f"method_{name}"] for name in _owners()}
    given = {name: value for name, value in given.items() if value is not None}
    for name in given:
        if options["method"] not in _owners()[name]:
            raise UsageError(_without_meaning(name, ["method"]))
    chosen = {name: options[name] for name in _FIELDS if name in options}
    settings = Settings(**chosen | others, method_options=given)
    context = click.get_current_context()
    for name, reasons in idle_settings(settings).items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(_without_meaning(name, reasons))
    return settings


def _without_meaning(name: str, others: Iterable[str]) -> str:
    """That an option has no meaning beside others, with what was given for them."""
    given = click.get_current_context().params
    reasons = []
    for other in others:
        value = given.get(other, given.get(f"method_{other}"))
        reasons.append(f"with {flag(other)} {value}" if value else f"without {flag(other)}")
    return f"{flag(name)} has no meaning {' and '.join(reasons)}; leave it out, or change that."


def flag(name: str) -> str:
    """The option of a Python name."""
    return f"--{name.replace('_', '-')}"


def _owners() -> dict[str, list[str]]:
    """Methods by the options that they have on the command line."""
    owners: dict[str, list[str]] = {}
    for method, entry in METHODS.items():
        for field in fields(entry.options):
            if "help" in field.metadata:
                owners.setdefault(field.name, []).append(method)
    return owners
