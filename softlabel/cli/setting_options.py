"""Options of the command line that are settings: type, default and choices come from there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

import click
from click.core import ParameterSource

from softlabel.cli.options import Numbers, flag, option, without_none
from softlabel.cli.plugin_options import MethodName, given_plugin_options
from softlabel.errors import UsageError, any_of
from softlabel.generation.settings import CHOICES, Settings, idle_settings
from softlabel.preprocess import (
    PRESETS,
    STEPS,
    PreprocessOptions,
    plain_options,
    step_fields,
    word_fields,
)
from softlabel.readers import READERS
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
    kind = without_none(_KINDS[name])
    defaults: dict[str, Any] = {
        "type": click.Choice(CHOICES[name]) if name in CHOICES else kind,
        "default": default,
        "show_default": default is not None,
    }
    return option(section, flag(name), name, help=help, **defaults | attributes)


def superpixel_settings(command: F) -> F:
    """How superpixels are made."""
    return _all_of(
        command,
        setting(
            "Superpixels",
            "preset",
            "auto: size, compactness, sigma, percentiles and dimensions of superpixels by the "
            "shape of each case.",
        ),
        setting(
            "Superpixels",
            "n_segments",
            "Superpixels asked for in an image (in a slice with --slic-dims slice).",
            type=click.IntRange(min=1),
        ),
        setting(
            "Superpixels",
            "superpixel_size",
            "Pixels a superpixel instead of --n-segments: scales with the image.",
            metavar="PIXELS",
        ),
        setting(
            "Superpixels",
            "compactness",
            "Weight of space against intensity; from 0.3 on superpixels are nearly a grid.",
        ),
        setting("Superpixels", "sigma", "Smoothing before SLIC, in pixels of the finest axis."),
        input_settings,
        setting(
            "Superpixels",
            "mask_mode",
            "Take masked pixels out after SLIC, or by masked SLIC (slow).",
        ),
        setting(
            "Superpixels",
            "slic_code",
            "device: SLIC on the --device too; the same superpixels on every device, but not quite "
            "those of cpu.",
        ),
    )


def input_settings(command: F) -> F:
    """What SLIC is given of a case: whole volumes or slices, and which range of intensities."""
    return _all_of(
        command,
        setting("Superpixels", "slic_dims", "Superpixels of whole volumes or of each slice."),
        setting(
            "Superpixels",
            "slice_axis",
            "Axis across the slices. Default: that of the coarsest spacing.",
        ),
        setting(
            "Superpixels",
            "channel_percentiles",
            "Percentiles of each channel that SLIC sees as 0 and 1.",
            type=float,
            nargs=2,
            metavar="LOW HIGH",
        ),
    )


def softening_settings(command: F, leave_out: Collection[str] = ()) -> F:
    """How labels are softened."""
    by_distance = ", ".join(name for name, method in METHODS.items() if method.has_boundary)
    options = {
        "method": setting("Softening", "method", "Softening method.", type=MethodName()),
        "boundary": setting(
            "Softening", "boundary", f"[{by_distance}] What the boundary of a class is."
        ),
        "distance_unit": setting(
            "Softening", "distance_unit", "Unit of distances, --scale, --width and --blur."
        ),
        "scale": setting(
            "Softening",
            "scale",
            f"[{by_distance}] Distance at which a label is 3/4 or 1/4. Default: 1 pixel, or the "
            "finest spacing.",
        ),
        "normalize": setting("Softening", "normalize", "sum: divide by the sum over the classes."),
        "fuse": setting(
            "Softening",
            "fuse",
            "How label maps of several raters become one: the mean of their soft labels, or STAPLE "
            "of hard (--method hard) or soft labels.",
        ),
    }
    return _all_of(command, *(o for name, o in options.items() if name not in leave_out))


def boundary_settings(command: F) -> F:
    """How labels are softened by a command that knows the method ``superpixel`` only."""
    return _all_of(
        command,
        setting("Softening", "boundary", "What the boundary of a class is."),
        setting("Softening", "distance_unit", "Unit of distances and of --scale."),
        setting(
            "Softening",
            "scale",
            "Distance at which a label is 3/4 or 1/4. Default: 1 pixel, or the finest spacing.",
        ),
        setting("Softening", "normalize", "sum: divide by the sum over the classes."),
    )


def _all_of(command: F, *decorators: Callable[[F], F]) -> F:
    """Options in the order in which they stand."""
    for decorate in reversed(decorators):
        command = decorate(command)
    return command


def method_options(section: str, only: str | None = None) -> Callable[[F], F]:
    """The options that methods have beside the settings, with the methods that each belongs to.

    Parameters
    ----------
    section : str
        Heading in the help.
    only : str, optional
        The method of a command that has no other.
    """

    def decorate(command: F) -> F:
        every = {n: owners for n, owners in _owners().items() if only is None or only in owners}
        for name, owners in reversed(every.items()):
            options = METHODS[only or owners[0]].options
            field = next(f for f in fields(options) if f.name == name)
            kind = without_none(get_type_hints(options)[name])
            if "choices" in field.metadata:
                kind = click.Choice(field.metadata["choices"])
            is_flag = kind is bool
            silent = is_flag or field.default is None
            shown = "" if silent else f" Default: {field.default}."
            command = option(
                section,
                flag(name),
                f"method_{name}",
                default=None,
                help=("" if only else f"[{', '.join(owners)}] ") + field.metadata["help"] + shown,
                **({"is_flag": True} if is_flag else {"type": kind}),
            )(command)
        return command

    return decorate


def preprocessing_settings(section: str) -> Callable[[F], F]:
    """What is done to every case before superpixels: a preset, a word a step, the steps' options.

    The words and options are parameters ``step_NAME``, None where they are not given.
    """

    def decorate(command: F) -> F:
        usual = {name: plain_options(Settings(preprocess=name).preprocessing) for name in PRESETS}
        options = [setting(section, "preprocess", "Usual steps before superpixels, together.")]
        kinds = get_type_hints(PreprocessOptions)
        for name, field in word_fields().items():
            told = [f"{preset}: {plain[name]}" for preset, plain in usual.items() if name in plain]
            text = field.metadata["help"]
            text += f" With --preprocess {', '.join(told)}." if told else ""
            options.append(_step_option(section, name, text, field, kinds[name]))
        for name, owners in step_fields().items():
            (step, field), *_ = owners.items()
            kind = get_type_hints(STEPS[step].options)[name]
            silent = field.default is None or isinstance(field.default, bool) or field.default == ""
            shown = "" if silent else f" Default: {field.default}."
            text = f"[{', '.join(owners)}] {field.metadata['help']}{shown}"
            options.append(_step_option(section, name, text, field, kind))
        options.append(
            option(
                section, "--no-keep-original", "keep_original", flag_value=False, default=True,
                help="Do not keep the image before these steps.",
            )
        )  # fmt: skip
        return _all_of(command, *options)

    return decorate


def _step_option(
    section: str, name: str, help: str, field: Field[Any], kind: Any
) -> Callable[[F], F]:
    """The option of a field of the steps, without a default: what is not given is not recorded."""
    kind = without_none(kind)
    names, attributes = _step_flag(name), {"type": kind}
    if field.metadata.get("file"):
        attributes = {"type": click.Path(path_type=Path), "metavar": "FILE"}
    elif "choices" in field.metadata:
        attributes = {"type": click.Choice(list(field.metadata["choices"]))}
    elif kind is bool:
        names, attributes = f"{names}/--no-{names[2:]}", {}
    elif get_origin(kind) is tuple:
        attributes = {"type": Numbers()}
    return option(section, names, f"step_{name}", default=None, help=help, **attributes)


def _step_flag(name: str) -> str:
    """Flag of an option of a step; one that a reader, setting or method has as well gets a prefix.

    ``--wedges`` is one option for the Duke reader and for the step.
    """
    readers = {entry.name for reader in READERS.values() for entry in reader.options}
    taken = name in readers | set(_FIELDS) | set(_owners()) and name not in word_fields()
    return flag(f"step_{name}" if taken else name)


def given_step_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take the words and options of the steps out of a command's keyword arguments."""
    names = [name for name in options if name.startswith("step_")]
    taken = {name.removeprefix("step_"): options.pop(name) for name in names}
    return {name: value for name, value in taken.items() if value is not None}


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
    given = {name: options.get(f"method_{name}") for name in _owners()}
    given = {name: value for name, value in given.items() if value is not None}
    method, owners = options.get("method", _FIELDS["method"].default), _owners()
    for name in given:
        if method not in owners[name]:
            raise UsageError(
                f"{flag(name)} has no meaning with --method {method}; leave it out, or take "
                f"--method {any_of(owners[name])}."
            )
    given |= given_plugin_options(options)
    chosen = {name: options[name] for name in _FIELDS if name in options}
    settings = Settings(**chosen | others, method_options=given)
    context = click.get_current_context()
    if not settings.keep_original and not settings.preprocessing:
        raise UsageError(
            "--no-keep-original has no meaning without a step of preprocessing; leave it out, or "
            "ask for one, such as --preprocess oct."
        )
    for name, reasons in idle_settings(settings).items():
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(_without_meaning(name, reasons))
    return settings


def settings_of_methods(options: dict[str, Any], methods: Sequence[str]) -> dict[str, Settings]:
    """The settings of each of several methods among the keyword arguments of a command.

    An option goes to the methods that it has a meaning for.

    Parameters
    ----------
    options : dict
    methods : sequence of str
        Names in :data:`softlabel.softening.METHODS`.

    Raises
    ------
    UsageError
        For settings that cannot be, and for options that have a meaning for none of the methods.
    """
    given = {name: options[f"method_{name}"] for name in _owners()}
    given = {name: value for name, value in given.items() if value is not None}
    chosen = {name: options[name] for name in _FIELDS if name in options}
    found = {
        method: Settings(
            **chosen | {"method": method},
            method_options={n: v for n, v in given.items() if method in _owners()[n]},
        )
        for method in methods
    }
    for name in given:
        if not set(_owners()[name]) & set(methods):
            raise UsageError(
                f"{flag(name)} is an option of {', '.join(_owners()[name])}, which --methods "
                "leaves out; leave the option out, or add the method."
            )
    context = click.get_current_context()
    for name in chosen:
        idle = all(name in idle_settings(settings) for settings in found.values())
        if idle and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(
                f"{flag(name)} has no meaning for {', '.join(methods)} with these options; leave "
                "it out."
            )
    return found


def _without_meaning(name: str, others: Iterable[str]) -> str:
    """That an option has no meaning beside others, with what was given for them."""
    given = click.get_current_context().params
    reasons = []
    for other in others:
        value = given.get(other, given.get(f"method_{other}"))
        reasons.append(f"with {flag(other)} {value}" if value else f"without {flag(other)}")
    return f"{flag(name)} has no meaning {' and '.join(reasons)}; leave it out, or change that."


def _owners() -> dict[str, list[str]]:
    """Methods by the options that they have on the command line."""
    owners: dict[str, list[str]] = {}
    for method, entry in METHODS.items():
        for field in fields(entry.options):
            if "help" in field.metadata:
                owners.setdefault(field.name, []).append(method)
    return owners
