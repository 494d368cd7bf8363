"""What soft labels are to be made by: every argument of ``soften`` but the arrays, checked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np

from softlabel.softening.fusions import fusion_problem
from softlabel.softening.methods import Method
from softlabel.softening.normalize import NORMALIZATIONS
from softlabel.softening.plugins import method_named
from softlabel.types import Array, ClassTable, class_table, spacing_in_order


@dataclass(frozen=True)
class SoftenRequest:
    """How label maps are to be softened.

    Attributes
    ----------
    method, classes, spacing, boundary, scale, normalize, ignore, rater_axis, fuse
        As for :func:`softlabel.soften`.
    method_options : mapping
        Options of the method beside ``boundary``.

    Raises
    ------
    ValueError
        When the method, its options, ``scale`` or ``normalize`` cannot be.

    Examples
    --------
    >>> SoftenRequest(boundary="edge").options.boundary
    'edge'
    >>> SoftenRequest(method="svls", method_options={"blur": 2})
    Traceback (most recent call last):
    ValueError: The method svls has no option 'blur'; it has none.
    """

    method: str = "superpixel"
    classes: ClassTable | Mapping[int, str] | Iterable[int] | None = None
    spacing: tuple[float, ...] | None = None
    boundary: str = "inner"
    scale: float | None = None
    normalize: str = "none"
    ignore: int | None = None
    rater_axis: int | None = None
    fuse: str = "mean"
    method_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.entry  # noqa: B018 - a method that is none, or of a broken package, is found here
        check_normalize(self.normalize)
        if problem := fusion_problem(self.fuse, self.method):
            raise ValueError(f"{problem}.")
        if self.fuse != "mean" and self.rater_axis is None:
            raise ValueError(
                f"the fusion {self.fuse} takes label maps of several raters, and there is one; "
                "leave fuse out."
            )
        if self.scale is not None:
            check_scale(self.scale)
        self.options  # noqa: B018 - options that cannot be are found here, before any array

    @property
    def entry(self) -> Method:
        """The method of that name."""
        return method_named(self.method)

    @cached_property
    def options(self) -> Any:
        """Options of the method, as its dataclass."""
        kind = self.entry.options
        known = {f.name for f in fields(kind)}
        given = dict(self.method_options)
        if "boundary" in known:
            given = {"boundary": self.boundary, **given}
        unknown = sorted(set(given) - known)
        if unknown:
            raise ValueError(
                f"The method {self.method} has no option {unknown[0]!r}; it has"
                f"{': ' if known else ' none'}{', '.join(sorted(known))}."
            )
        return kind(**given)

    def step(self, ndim: int) -> tuple[float, ...]:
        """Distance between pixels along each of ``ndim`` axes; 1 without a spacing."""
        return spacing_in_order(self.spacing, ndim)

    def width(self, ndim: int) -> float:
        """The scale of Eq. 1: by default one pixel, with a spacing the smallest of it."""
        return min(self.step(ndim)) if self.scale is None else float(self.scale)

    def table(self, maps: list[Array]) -> ClassTable:
        """The class table that was given, else the values that label maps hold.

        Raises
        ------
        ValueError
            When there is none and the maps hold ignored pixels only.
        """
        if self.classes is not None:
            return class_table(self.classes)
        found = {int(v) for m in maps for v in np.unique(m)} - {self.ignore}
        if not found:
            raise ValueError("labels hold only ignored pixels; give classes=.")
        return ClassTable.from_values(found)


def check_normalize(normalize: str) -> None:
    """Refuse an unknown normalisation by a ValueError."""
    if normalize not in NORMALIZATIONS:
        raise ValueError(
            f"normalize must be one of {', '.join(NORMALIZATIONS)}; got {normalize!r}."
        )


def check_scale(scale: float) -> None:
    """Refuse a scale that is no positive number by a ValueError."""
    if not 0 < float(scale) < np.inf:
        raise ValueError(f"scale must be a positive number; got {scale}.")
