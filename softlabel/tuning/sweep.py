"""Superpixel settings tried on some cases of a data set, until the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from softlabel.errors import CaseError, SoftlabelError, first_of
from softlabel.generation.case_preprocessing import preprocess_case
from softlabel.generation.case_superpixels import slice_axis_of
from softlabel.generation.compute import hard_labels, header_of
from softlabel.generation.networks import networks_for
from softlabel.generation.settings import Settings
from softlabel.preprocess import DnCNN
from softlabel.readers import READERS, read_case
from softlabel.superpixels.quality import boundary_pixels, box_fill
from softlabel.superpixels.slic_cpu import compile_kernels
from softlabel.tuning.fit import Fit, Trial, fit
from softlabel.tuning.pieces import Excerpt, Scan, excerpt_of
from softlabel.tuning.rows import Row, row_of
from softlabel.types import CaseRef, ClassTable, Dataset, long_axes

SIZES_2D = (25.0, 50.0, 95.0, 190.0, 400.0)
SIZES_3D = (27.0, 64.0, 125.0, 343.0, 1000.0)
COMPACTNESS = (0.02, 0.05, 0.1, 0.2)
SIGMA = (0.0, 1.0, 2.0)

DEFAULT = Trial(None, Settings().compactness, Settings().sigma)
"""What ``softlabel generate`` does when nothing else is asked for."""


@dataclass(frozen=True)
class Grid:
    """The settings that are tried, every size with every compactness and sigma.

    Attributes
    ----------
    sizes : tuple of float, optional
        Pixels a superpixel. Default: :data:`SIZES_2D`, or :data:`SIZES_3D` for superpixels that
        reach across slices.
    compactness, sigma : tuple of float
    """

    sizes: tuple[float, ...] = ()
    compactness: tuple[float, ...] = COMPACTNESS
    sigma: tuple[float, ...] = SIGMA

    def trials(self, dims: int) -> tuple[Trial, ...]:
        """The defaults first, then all combinations; ``dims`` axes of a superpixel."""
        sizes = self.sizes or (SIZES_3D if dims == 3 else SIZES_2D)
        return DEFAULT, *(Trial(*one) for one in product(sizes, self.compactness, self.sigma))


@dataclass(frozen=True)
class LookedAt:
    """A case that settings were tried on: its shape, and that of the part that was looked at."""

    id: str
    shape: tuple[int, ...]
    part: tuple[int, ...]


@dataclass(frozen=True)
class Tuning:
    """What was measured.

    Attributes
    ----------
    rows : tuple of Row
        Of every setting that was tried, over the same cases.
    classes : mapping of int to str
        Names by label value.
    cases : tuple of LookedAt
        Those that the rows are of.
    of : int
        Cases that the data set has.
    failures : mapping of str to str
        Cases that could not be looked at, and why.
    dims : {2, 3}
        Axes of a superpixel; 2 also in a volume of one slice, which is an image.
    interrupted, out_of_time : bool
        It ended before all chosen cases were looked at, and why.
    complete : bool
        Every setting was tried on the first case at least.
    """

    rows: tuple[Row, ...]
    classes: Mapping[int, str]
    cases: tuple[LookedAt, ...]
    of: int
    failures: Mapping[str, str]
    dims: int
    interrupted: bool
    out_of_time: bool
    complete: bool


def tune(
    dataset: Dataset,
    settings: Settings,
    grid: Grid = Grid(),
    *,
    cases: int = 10,
    seconds: float = 60.0,
    weights: Path | None = None,
    stopped: Callable[[], bool] = lambda: False,
    progress: Callable[[], object] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> Tuning:
    """Try superpixel settings on cases that are spread over a data set.

    Parameters
    ----------
    dataset : Dataset
    settings : Settings
        Steps before superpixels, ``slic_dims``, ``slice_axis`` and ``channel_percentiles`` are
        those; size, compactness and sigma are tried.
    grid : Grid
    cases : int
        At most so many.
    seconds : float
        No case is begun that would not be done by then, but the first.
    weights : Path, optional
        The file of weights that a step needs and that does not come with softlabel.
    stopped : callable
        Asked before every setting whether to end with what there is.
    progress : callable
        Called after each case.
    clock : callable
        Seconds that pass.

    Raises
    ------
    CaseError
        When no case could be looked at, or none shows two classes.
    KeyboardInterrupt
        When it is to end before anything was measured.
    """
    networks = networks_for(settings.preprocessing, weights)
    compile_kernels()
    box_fill(np.zeros((2, 2), np.int32))  # compiled as well: that is no time of a case
    measured: list[_Measured] = []
    failures: dict[str, str] = {}
    names: dict[int, str] = dict(dataset.classes or ())
    began = clock()
    late = False
    chosen = spread(dataset.refs, cases)
    for ref in chosen:
        # a case takes about as long as those before
        spent = clock() - began
        late = bool(measured) and spent + spent / len(measured) > seconds
        if late or stopped():
            break
        try:
            excerpt, dims, table = _look_at(dataset, ref, settings, networks)
        except (SoftlabelError, ValueError) as error:
            failures[ref.id] = str(error)
            progress()
            continue
        names |= dict(table)
        fits, late = _tried(excerpt, grid.trials(dims), stopped,
                            lambda: clock() - began > seconds)  # fmt: skip
        measured.append(_Measured(excerpt, dims, fits))
        if late or stopped():
            break
        progress()
    return _summary(dataset, grid, measured, failures, names, stopped(), late)


def spread(refs: Sequence[CaseRef], count: int) -> list[CaseRef]:
    """Cases spread evenly over a data set, in an order in which the first few are so as well.

    Examples
    --------
    >>> refs = [CaseRef(letter, "", "", ()) for letter in "abcdefgh"]
    >>> [ref.id for ref in spread(refs, 4)]
    ['b', 'f', 'd', 'h']
    """
    count = min(count, len(refs))
    width = max(1, (count - 1).bit_length())
    order = sorted(range(count), key=lambda k: f"{k:0{width}b}"[::-1])
    return [refs[int((k + 0.5) * len(refs) / count)] for k in order]


@dataclass(frozen=True, eq=False)
class _Measured:
    excerpt: Excerpt
    dims: int
    fits: Mapping[Trial, Fit]


def _look_at(
    dataset: Dataset, ref: CaseRef, settings: Settings, networks: Mapping[str, DnCNN]
) -> tuple[Excerpt, int, ClassTable]:
    """The excerpt of a case, axes of its superpixels, and its classes."""
    reader = READERS[dataset.format]
    case = read_case(reader, dataset, ref, reader.open_source(dataset, ref.source))
    header = header_of(case, dataset.classes)
    case, _, _ = preprocess_case(case, header, settings, hard_labels, networks)
    axis = slice_axis_of(case, settings) if settings.slic_dims == "slice" else None
    spacing = case.spacing_mm or (1.0,) * len(case.shape)
    scan = Scan(
        case.id, case.image, hard_labels(case, header)[0], case.ignore, case.mask,
        tuple(s / min(spacing) for s in spacing), axis,
    )  # fmt: skip
    excerpt = excerpt_of(scan, settings.channel_percentiles)
    if not any(boundary_pixels(p.index, p.index >= 0).any() for p in excerpt.pieces):
        raise CaseError(f"{case.name}: it shows no boundary between classes.")
    dims = 2 if axis is not None or len(long_axes(case.shape)) <= 2 else 3
    return excerpt, dims, header.classes


def _tried(
    excerpt: Excerpt,
    trials: Sequence[Trial],
    stopped: Callable[[], bool],
    late: Callable[[], bool],
) -> tuple[dict[Trial, Fit], bool]:
    """What the settings do to an excerpt, and whether time was up before all were tried."""
    fits: dict[Trial, Fit] = {}
    for trial in trials:
        if fits and (stopped() or late()):
            return fits, not stopped()
        fits[trial] = fit(excerpt, trial)
    return fits, False


def _summary(
    dataset: Dataset,
    grid: Grid,
    measured: Sequence[_Measured],
    failures: Mapping[str, str],
    names: Mapping[int, str],
    interrupted: bool,
    late: bool,
) -> Tuning:
    """Rows over the cases on which all settings were tried, or over what there is of the first."""
    if not measured and interrupted:
        raise KeyboardInterrupt
    if not measured:
        reasons = {**dataset.problems, **failures}.values()
        raise CaseError(f"No case could be looked at: {first_of(reasons, 3)}")
    dims = measured[0].dims
    trials = grid.trials(dims)
    alike = [m for m in measured if m.dims == dims]
    whole = [m for m in alike if len(m.fits) == len(trials)]
    used = whole or alike[:1]
    there = [trial for trial in trials if all(trial in m.fits for m in used)]
    values = {v for m in used for v in m.excerpt.pieces[0].values}
    return Tuning(
        rows=tuple(row_of(trial, (m.fits[trial] for m in used)) for trial in there),
        classes={v: names.get(v, f"label {v}") for v in sorted(values)},
        cases=tuple(LookedAt(m.excerpt.id, m.excerpt.shape, m.excerpt.looked_at) for m in used),
        of=len(dataset.refs),
        failures=failures,
        dims=dims,
        interrupted=interrupted,
        out_of_time=late and not interrupted,
        complete=bool(whole),
    )
