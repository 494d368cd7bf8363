"""Every setting that the soft labels of a data set depend on, in one frozen dataclass.

A cache is made with one set of settings and records it; another set is another cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import wraps
from typing import Any, TypeVar

from softlabel.coerce import make_plain
from softlabel.distance.boundary import BOUNDARIES
from softlabel.errors import UsageError, any_of, did_you_mean
from softlabel.preprocess import (
    PRESETS,
    Plan,
    chosen_options,
    plain_options,
    plan_of,
    step_fields,
    word_fields,
)
from softlabel.softening import (
    FUSIONS,
    METHODS,
    NORMALIZATIONS,
    fusion_problem,
    method_named,
    release_of,
)

CHOICES: dict[str, tuple[str, ...]] = {
    "superpixels": ("slic", "grid", "file"),
    "slic_dims": ("volume", "slice"),
    "mask_mode": ("after", "slic"),
    "slic_code": ("cpu", "device"),
    "method": tuple(METHODS),
    "boundary": tuple(BOUNDARIES),
    "distance_unit": ("pixel", "mm"),
    "normalize": NORMALIZATIONS,
    "fuse": tuple(FUSIONS),
    "compression": ("zstd", "gzip"),
    "preprocess": tuple(PRESETS),
    "preset": ("none", "auto"),
}
"""Values of the settings that are words; other packages may have further methods."""

OF_PRESET = (
    "n_segments", "superpixel_size", "compactness", "sigma", "channel_percentiles", "slic_dims",
)  # fmt: skip
"""Settings that a preset takes over (:mod:`softlabel.generation.preset`)."""

OF_SLIC = (
    "compactness", "sigma", "max_num_iter", "channel_percentiles", "mask_mode", "slic_code",
)  # fmt: skip
"""Settings that SLIC has and a regular grid has not."""

OF_MADE = ("n_segments", "superpixel_size", "slic_dims", "preset")
"""Settings of superpixels that are made, by SLIC or as a grid, and not read from files."""

OF_SUPERPIXELS = ("superpixels", *OF_SLIC, *OF_MADE, "slice_axis")
"""All settings that superpixels depend on."""

OF_SOURCE = ("format", "format_options")
"""What a record says beside the settings: how the data set was read."""

PLUGIN = "plugin"
"""What a record says beside the settings where the method is that of another package: its name and
version."""

S = TypeVar("S")


def _refusing_the_unknown(cls: type[S]) -> type[S]:
    """Suggest the name that was meant where a dataclass only refuses an unknown one."""
    init = cls.__init__

    @wraps(init)  # help and editors show the fields
    def __init__(self: S, *args: Any, **given: Any) -> None:
        names = [f.name for f in fields(cls)]  # type: ignore[arg-type]  # S is a dataclass
        for name in given:
            if name not in names:
                raise UsageError(_unknown(name, names))
        init(self, *args, **given)

    cls.__init__ = __init__  # type: ignore[assignment]
    return cls


@_refusing_the_unknown
@dataclass(frozen=True)
class Settings:
    """Settings of ``generate``.

    Attributes
    ----------
    superpixels : {"slic", "grid", "file"}
        Where superpixels come from; ``grid`` and ``file`` are the controls that show what the
        image contributes.
    n_segments : int
        Superpixels asked for in an image (in a slice with ``slic_dims="slice"``).
    superpixel_size : float or None
        Pixels a superpixel; replaces ``n_segments`` and scales with the image.
    compactness, sigma, max_num_iter
        See :func:`softlabel.slic`.
    slic_dims : {"volume", "slice"}
        Superpixels of whole volumes, or of each slice on its own.
    slice_axis : int or None
        Axis across the slices; None is the axis of the coarsest spacing, the last of equals.
    channel_percentiles : (low, high)
        Percentiles of each channel that are mapped to 0 and 1 before SLIC; (0, 100) is min–max.
    mask_mode : {"after", "slic"}
        Masked pixels are taken out of the superpixels afterwards, or by scikit-image's masked
        SLIC (slow), whose scattered pieces become superpixels and whose tiny pieces join a
        neighbour.
    slic_code : {"cpu", "device"}
        ``device`` makes superpixels by the tensor code of
        :mod:`softlabel.superpixels.slic_tensor`, on the device of the run: the same labels on
        every device, but not quite those of ``cpu``.
    method : str
        Name in :data:`softlabel.softening.METHODS`, or of a method that another package
        registers.
    boundary, scale, normalize
        See :func:`softlabel.soften`.
    fuse : {"mean", "staple", "soft-staple"}
        How label maps of several raters become one (:mod:`softlabel.softening.fusions`).
    distance_unit : {"pixel", "mm"}
    method_options : mapping
        Further options of the method: ``{"in_plane": True}``, ``{"min_minority": 0.05}``,
        ``{"blur": 2}`` (Gaussian); see the dataclasses in :data:`softlabel.softening.METHODS`.
    compression : {"zstd", "gzip"}
    preprocess : {"none", "oct", "mri"}
        Usual steps before superpixels, together (:data:`softlabel.preprocess.PRESETS`).
    preprocess_options : mapping
        Words that add, change or leave out a step, and options of the steps: ``{"denoise": "nlm",
        "nlm_h": 2.0, "crop": "none"}``; see :class:`softlabel.preprocess.PreprocessOptions`.
    keep_original : bool
        Keep the image before the steps as well.
    preset : {"none", "auto"}
        ``auto`` chooses size, compactness, sigma, percentiles and dimensions of superpixels for
        each case by its shape; those settings have no say then. The part of each case records
        what was chosen.
    """

    superpixels: str = "slic"
    n_segments: int = 2000
    superpixel_size: float | None = None
    compactness: float = 0.1
    sigma: float = 1.0
    max_num_iter: int = 10
    slic_dims: str = "volume"
    slice_axis: int | None = None
    channel_percentiles: tuple[float, float] = (0.0, 100.0)
    mask_mode: str = "after"
    slic_code: str = "cpu"
    method: str = "superpixel"
    boundary: str = "inner"
    distance_unit: str = "pixel"
    scale: float | None = None
    normalize: str = "none"
    fuse: str = "mean"
    method_options: Mapping[str, Any] = field(default_factory=dict)
    compression: str = "zstd"
    preprocess: str = "none"
    preprocess_options: Mapping[str, Any] = field(default_factory=dict)
    keep_original: bool = True
    preset: str = "none"

    def __post_init__(self) -> None:
        try:
            make_plain(self)
        except ValueError as error:
            raise UsageError(str(error)) from error
        self._check_words()
        self._check_numbers()
        options = self.checked_method_options()
        given = {name: options[name] for name in self.method_options}
        object.__setattr__(self, "method_options", given)
        object.__setattr__(self, "preprocess_options", self._plain_preprocess_options())
        if problem := fusion_problem(self.fuse, self.method):
            raise UsageError(f"{problem}.")
        if self.slic_code == "device" and self.mask_mode == "slic":
            raise UsageError(
                'slic_code="device" knows no masked SLIC; use mask_mode="after" or slic_code="cpu".'
            )

    @property
    def preprocessing(self) -> Plan:
        """The steps before superpixels.

        Raises
        ------
        UsageError
            When there is no such word or option, or it has no meaning beside the others.
        """
        try:
            return plan_of(chosen_options(self.preprocess, self.preprocess_options))
        except ValueError as error:
            raise UsageError(f"preprocess_options: {error}") from error

    def _plain_preprocess_options(self) -> dict[str, Any]:
        """What was given, as plain values; an option of several steps is the same for all."""
        plain: dict[str, Any] = {}
        for step in self.preprocessing:
            plain |= vars(step.options)
        chosen = chosen_options(self.preprocess, self.preprocess_options)
        plain |= {name: getattr(chosen, name) for name in word_fields()}
        return {n: plain[n] for n, value in self.preprocess_options.items() if value is not None}

    def _check_words(self) -> None:
        try:
            method_named(self.method)
        except ValueError as error:
            raise UsageError(str(error)) from error
        for name, allowed in CHOICES.items():
            value = getattr(self, name)
            if value not in allowed and name != "method":
                raise UsageError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")

    def _check_numbers(self) -> None:
        for name in ("n_segments", "superpixel_size", "compactness", "max_num_iter", "scale"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name} must be positive; got {value}.")
        for name in ("n_segments", "max_num_iter"):
            if getattr(self, name) >= 2**63:  # a cache records them as int64
                raise UsageError(f"{name} must be below 2^63; got {getattr(self, name):.3g}.")
        if not 0 <= self.sigma < float("inf"):
            raise UsageError(f"sigma must not be negative; got {self.sigma}.")
        low, high = self.channel_percentiles
        if not 0 <= low < high <= 100:
            raise UsageError(
                f"channel_percentiles must be two numbers with 0 <= low < high <= 100; "
                f"got {low} and {high}."
            )

    def as_json(self, source: Mapping[str, Any]) -> str:
        """Canonical JSON of these settings and of how the source is read.

        What is at its default, or has no say beside the others (``n_segments`` beside
        ``superpixel_size``), is left out: the same results always have the same record, and a
        setting that a later version adds changes no record. With the method of another package
        everything is written down, and the version of the package: the record can then be read
        without it.

        Parameters
        ----------
        source : mapping
            The reader's name and options.
        """
        record = self.recorded()
        if PLUGIN not in record:
            record = {n: v for n, v in record.items() if v != DEFAULTS[n]}
            del record["method_options"]  # its defaults are those of the method
            if given := self._chosen_method_options():
                record["method_options"] = given
        return json.dumps(record | dict(source), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings of a record: inverse of :meth:`as_json`, and of the records of format 1.

        Raises
        ------
        UsageError
            When it records a setting that this version does not know, or the method of a package
            that is not installed in that version.
        """
        record = _known(text)
        record.pop(PLUGIN, None)
        settings = cls(**{name: _plain(value) for name, value in record.items()})
        try:
            require_same_plugin(text, settings.method)
        except ValueError as error:
            raise UsageError(str(error)) from error
        return settings

    def recorded(self) -> dict[str, Any]:
        """Every setting that has a say, and all options of the method, with their values.

        Steps before superpixels are there as the options that ask for them without a preset, and
        absent where there is none. ``plugin`` is the package of the method and its version, where
        it is not softlabel's own.

        Examples
        --------
        >>> sorted(set(Settings().recorded()) - set(Settings(method="gaussian").recorded()))[:3]
        ['boundary', 'channel_percentiles', 'compactness']
        """
        record: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        record["method_options"] = self.checked_method_options()
        record["preprocess_options"] = plain_options(self.preprocessing)
        idle = {*idle_settings(self), "preprocess"}
        if not record["preprocess_options"]:
            idle |= {"preprocess_options", "keep_original"}
        if self.superpixel_size is None:
            idle.add("superpixel_size")
        if self.preset == "none":
            idle.add("preset")
        release = release_of(self.method)
        plugin = {} if release is None else {PLUGIN: release}
        return {name: value for name, value in record.items() if name not in idle} | plugin

    def _chosen_method_options(self) -> dict[str, Any]:
        """Options of the method that are not at their defaults."""
        defaults = replace(self, method_options={}).checked_method_options()
        return {n: v for n, v in self.checked_method_options().items() if v != defaults[n]}

    def checked_method_options(self) -> dict[str, Any]:
        """All options of the method beside ``boundary``, with their values.

        Raises
        ------
        UsageError
            When the method has no such option, or not of this value.
        """
        kind = method_named(self.method).options
        known = [f.name for f in fields(kind) if f.name != "boundary"]
        for name in self.method_options:
            if name not in known:
                raise UsageError(
                    f"The method {self.method} has no option {name!r}; it has"
                    f"{': ' if known else ' none'}{', '.join(known)}."
                )
        try:
            options = kind(**self.method_options)
            make_plain(options)  # those of another package may not be
        except ValueError as error:
            raise UsageError(f"The options of the method {self.method}: {error}") from error
        return {name: value for name, value in asdict(options).items() if name in known}


DEFAULTS = {f.name: f.default for f in fields(Settings)}
"""Of the settings; those with a factory have none."""


def recorded_settings(text: str) -> dict[str, Any]:
    """What a record says, with what it leaves out since it is at its default.

    As :meth:`Settings.recorded`, but where the method is that of another package, that package
    need not be installed.

    Raises
    ------
    UsageError
        When it records a setting that this version does not know.
    """
    record = _known(text)
    return record if PLUGIN in record else Settings.from_json(text).recorded()


def require_same_plugin(text: str, method: str) -> None:
    """Refuse a method of another package than a record names, or of another version of it.

    Workers may be on machines that have other packages than the one that planned the run.

    Raises
    ------
    ValueError
    """
    recorded, here = json.loads(text).get(PLUGIN), release_of(method)
    if here != recorded:
        raise ValueError(
            f"the cache is made with the method {method} of {recorded or 'softlabel'}, and here "
            f"it is that of {here or 'softlabel'}; install what the cache is made with."
        )


def _known(text: str) -> dict[str, Any]:
    """A record without what it says about the source.

    Raises
    ------
    UsageError
        When it records a setting that this version does not know.
    """
    record = json.loads(text)
    unknown = sorted(set(record) - {*DEFAULTS, *OF_SOURCE, PLUGIN})
    if unknown:
        raise UsageError(
            f"The cache records the setting {unknown[0]!r}, which this softlabel does not "
            "know; install the newer one that made the cache."
        )
    return {name: value for name, value in record.items() if name not in OF_SOURCE}


def _plain(value: Any) -> Any:
    """JSON has lists where settings have tuples."""
    return tuple(value) if isinstance(value, list) else value


def idle_settings(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Settings that have no effect beside the others.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    dict of str to tuple of str
        Name of an idle setting → names of the settings, or of the method's options, that leave it
        no say by the values that they have.

    Examples
    --------
    >>> idle_settings(Settings(superpixel_size=190, method_options={"in_plane": True}))
    {'n_segments': ('superpixel_size',)}
    >>> idle_settings(Settings())
    {'slice_axis': ('slic_dims', 'in_plane')}
    """
    options = settings.checked_method_options()
    in_plane = options.get("in_plane", False)
    idle: dict[str, tuple[str, ...]] = {}
    if settings.superpixel_size is not None:
        idle["n_segments"] = ("superpixel_size",)
    if settings.preset != "none":
        idle |= dict.fromkeys(OF_PRESET, ("preset",))
    per_slice = settings.slic_dims == "slice" and settings.preset == "none"
    if not per_slice and not in_plane:
        idle["slice_axis"] = ("slic_dims", "in_plane")
    if settings.superpixels != "slic":
        idle |= dict.fromkeys(OF_SLIC, ("superpixels",))
    if settings.superpixels == "file":
        idle |= dict.fromkeys(OF_MADE, ("superpixels",))
        if not in_plane:
            idle["slice_axis"] = ("superpixels", "in_plane")
    method = method_named(settings.method)
    if not method.needs_superpixels:
        idle |= dict.fromkeys(("superpixels", *OF_SLIC, *OF_MADE), ("method",))
    if not method.needs_superpixels and not in_plane:
        idle["slice_axis"] = ("method", "in_plane") if "in_plane" in options else ("method",)
    if not method.has_boundary:
        idle |= dict.fromkeys(("boundary", "scale"), ("method",))
    if not method.uses_spacing:
        idle["distance_unit"] = ("method",)
    return idle


def _unknown(name: str, settings: list[str]) -> str:
    """Whether the name is an option of a method, or near one of a setting."""
    methods = [
        m for m, method in METHODS.items() if name in {f.name for f in fields(method.options)}
    ]
    if methods:
        return (
            f"{name} is no setting but an option of the method {any_of(methods)}; give "
            f"method_options={{{name!r}: …}}."
        )
    if name in word_fields() or name in step_fields():
        return (
            f"{name} is no setting but an option of preprocessing; give "
            f"preprocess_options={{{name!r}: …}}."
        )
    return f"{name} is no setting{did_you_mean(name, settings) or '.'}"
