"""``--method`` and the options of methods that other packages register.

Packages are imported when their method is asked for, or the help is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, get_origin, get_type_hints

import click

from softlabel.cli.options import Numbers, SectionedCommand, SectionOption, flag, without_none
from softlabel.errors import UsageError
from softlabel.softening import METHODS, registered_names
from softlabel.softening.plugins import load_plugin

SECTION = "Softening"

_ADDED, _BROKEN = f"{__name__}.added", f"{__name__}.broken"
"""Keys of a context's ``meta``."""

_PREFIX = "plugin_"
"""Of the parameters, before the name of the option."""


class MethodName(click.Choice[str]):
    """A method of softlabel, or of another package."""

    def __init__(self) -> None:
        super().__init__(tuple(METHODS))

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str | None:
        """All methods, for the help."""
        return _all_methods().get_metavar(param, ctx)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Look at other packages only for what is no method of softlabel."""
        if value in METHODS:
            return str(value)
        return str(_all_methods().convert(value, param, ctx))


def _all_methods() -> click.Choice[str]:
    return click.Choice(tuple(dict.fromkeys([*METHODS, *registered_names()])))


class MethodCommand(SectionedCommand):
    """A command with ``--method``: it has the options of other packages' methods as well."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find out which packages the arguments ask for, then parse them.

        Raises
        ------
        UsageError
            When the method that is asked for cannot be used.
        """
        known = registered_names() if set(args) & set(ctx.help_option_names) else ()
        asked = method_asked_for(args)
        taken = {text for p in super().get_params(ctx) for text in (*p.opts, *p.secondary_opts)}
        ctx.meta[_ADDED], ctx.meta[_BROKEN] = [], {}
        for name in known:
            try:
                ctx.meta[_ADDED] += options_of(name, taken)
            except UsageError as error:
                ctx.meta[_BROKEN][name] = str(error)
        if not known and asked is not None and asked in registered_names():
            ctx.meta[_ADDED] = options_of(asked, taken)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, and those of the packages that are asked for."""
        return [*super().get_params(ctx), *ctx.meta.get(_ADDED, ())]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, and which packages cannot be used."""
        super().format_options(ctx, formatter)
        if broken := ctx.meta.get(_BROKEN):
            with formatter.section("Methods that cannot be used"):
                formatter.write_dl(list(broken.items()))


def method_asked_for(args: Sequence[str]) -> str | None:
    """The last ``--method`` of the arguments, where it is none of softlabel's.

    Examples
    --------
    >>> method_asked_for(["data", "--method", "median"]), method_asked_for(["--method=hard"])
    ('median', None)
    """
    asked = None
    for position, text in enumerate(args):
        if text == "--method" and position + 1 < len(args):
            asked = args[position + 1]
        elif text.startswith("--method="):
            asked = text.removeprefix("--method=")
    return None if asked in METHODS else asked


def options_of(name: str, taken: Collection[str]) -> list[click.Parameter]:
    """The options that the method of another package has on the command line.

    They are ``--METHOD-OPTION``, so that an option that softlabel gets later renames none.

    Parameters
    ----------
    name : str
    taken : collection of str
        Options of the command itself.

    Raises
    ------
    UsageError
        When the method cannot be used.
    """
    try:
        plugin = load_plugin(name)
    except ValueError as error:
        raise UsageError(str(error)) from error
    options = plugin.method.options
    kinds = get_type_hints(options)
    shown = [field for field in fields(options) if "help" in field.metadata]
    for text in (flag(f"{name}-{field.name}") for field in shown):
        if text in taken:
            raise UsageError(
                f"The package {plugin.release} registers the softening method {name!r}, whose "
                f"option would be {text}, which softlabel has itself; uninstall the package, or "
                "register another name."
            )
    return [_option(name, field, kinds[field.name]) for field in shown]


def _option(name: str, field: Field[Any], kind: Any) -> SectionOption:
    """One option; it has no default: what is not given is not passed on."""
    kind = without_none(kind)
    attributes: dict[str, Any] = {"type": kind}
    if "choices" in field.metadata:
        attributes = {"type": click.Choice(list(field.metadata["choices"]))}
    elif kind is bool:
        attributes = {"is_flag": True}
    elif get_origin(kind) is tuple:
        attributes = {"type": Numbers()}
    silent = field.default is None or isinstance(field.default, bool)
    shown = "" if silent else f" Default: {field.default}."
    return SectionOption(
        [flag(f"{name}-{field.name}"), f"{_PREFIX}{field.name}"],
        section=SECTION,
        default=None,
        help=f"[{name}] {field.metadata['help']}{shown}",
        **attributes,
    )


def given_plugin_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of another package's method among the keyword arguments of a command."""
    return {
        name.removeprefix(_PREFIX): value
        for name, value in options.items()
        if name.startswith(_PREFIX) and value is not None
    }
