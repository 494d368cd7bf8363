"""How near soft labels come to the truth when the annotator erred: the study without training.

Run with ``python -m benchmarks.labels`` (about 15 minutes), with ``--only
oct|mri|real-oct|real-mri`` for one kind of images, with ``--map PNG`` for the noise × contrast maps
alone, with ``--fit`` to choose the constants again, with ``--data DIR`` to score the soft labels of
one annotator of a data set, such as Duke's, against the other.

A truth is known; a simulated annotator draws its boundaries wrong, by one of these laws of
equal root mean square, and soft labels are made of what was drawn:

=========== ========================================================================
contrast    larger where the image shows less (w = 1 / (½ + c / median c))
uniform     the same everywhere
bias        a constant, in or out, one for each boundary
swapped     larger where the image shows *more*
curvature   larger where the boundary bends more
shadow      larger where the image is darker (OCT)
thickness   larger where the thinner neighbour is thinner
=========== ========================================================================

Scores are means over the known pixels at most 8 pixels from a drawn boundary, of q / Σq: *Brier*
Σ_c (q_c − y_c)², and *log* −ln q of the true class, where q is mixed with 1 % of the uniform
distribution, since hard labels would score infinity. *ECE* is the expected calibration error of the
most probable class (15 bins).

Constants of published methods are the best on phantoms of seeds from 1000 on, for each kind of
image; ``posterior`` has its defaults everywhere. Real scans have no seeds: the labels that come
with them are the truth, and three annotators are drawn of each. ``evidence`` is a method that
softlabel does not have: Φ(d / s) with s = s0 / (1 + E / k), E the difference of the local means on
both sides of the nearest drawn boundary point over the local noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.measure import one_thread, show

one_thread()

import numpy as np  # noqa: E402
from scipy import ndimage, stats  # noqa: E402
from scipy.special import ndtr  # noqa: E402

import softlabel  # noqa: E402
from benchmarks import data  # noqa: E402
from softlabel.comparison.cases import (  # noqa: E402
    cases_of,
    compare_case,
    other_map,
    second_rater,
)
from softlabel.errors import CaseError  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.phantom import (  # noqa: E402
    Brain,
    Grader,
    OctSubject,
    Visibility,
    make_brain,
    make_oct_subject,
)
from softlabel.phantom import graders as law_of  # noqa: E402
from softlabel.phantom.oct import class_map  # noqa: E402
from softlabel.phantom.visibility import USUAL  # noqa: E402
from softlabel.readers import list_dataset, scan_classes  # noqa: E402
from softlabel.superpixels.front import scale_channels  # noqa: E402
from softlabel.types import Array  # noqa: E402

Row = dict[str, Any]

LAWS = ("contrast", "uniform", "bias", "swapped", "curvature", "shadow", "thickness")
OF_GRADER = ("uniform", "bias")
BAND_PX, FLOOR, BINS = 8, 0.01, 15
SEEDS, FIT_SEEDS = range(1, 11), range(1000, 1003)


@dataclass(frozen=True, eq=False)
class Drawn:
    """An image and what an annotator made of it.

    Attributes
    ----------
    image : ndarray of float32, shape (C, *spatial)
    drawn, truth : ndarray of int64, shape (*spatial)
    usable : ndarray of bool, shape (*spatial)
        False in registration wedges.
    subject : int
        Whose image it is: intervals are over subjects.
    """

    image: Array
    drawn: Array
    truth: Array
    usable: Array
    subject: int


@dataclass(frozen=True)
class Kind:
    """Images of one kind.

    Attributes
    ----------
    cases : callable (law, seeds, visibility) -> iterable of Drawn
    n_classes : int
    superpixel_size : float
        Pixels; what 2000 superpixels of a whole image of the kind have.
    laws : tuple of str
    blur, scale : float
        σ of the Gaussian and s of Φ(d / s) that are best on other seeds (``--fit``).
    evidence : (s0, k)
        Of ``evidence``, likewise.
    layers : bool
        The classes are layers, and the last of the table lies over them.
    """

    cases: Callable[[str, Sequence[int], Visibility], Iterable[Drawn]]
    n_classes: int
    superpixel_size: float
    laws: tuple[str, ...]
    blur: float
    scale: float
    evidence: tuple[float, float]
    layers: bool = False


# --- annotators -----------------------------------------------------------------------------------


def habit_of(law: str, rms_px: float, correlation_px: float = 20.0) -> Grader:
    """The grader of the phantoms whose noise a law weighs."""
    return Grader(law if law in OF_GRADER else "contrast", rms_px, correlation_px)


def oct_fields(subject: OctSubject, grader: Grader) -> dict[str, Array]:
    """What each law takes for the contrast along the boundaries, (boundaries, columns, B-scans)."""
    clean = subject.clean[..., subject.bscans]
    true = subject.boundaries[..., subject.bscans]
    contrast = law_of.curve_contrast(clean, true, grader.correlation_px)
    smooth = ndimage.gaussian_filter1d(true, 6, axis=1)
    bend = np.abs(np.gradient(np.gradient(smooth, axis=1), axis=1))
    bend = ndimage.gaussian_filter1d(bend, 6, axis=1)
    rows = np.clip(np.rint(true), 0, len(clean) - 1).astype(np.intp)
    columns, bscans = np.ogrid[: clean.shape[1], : clean.shape[2]]
    bright = ndimage.gaussian_filter(clean.astype(float), (4, 2, 0))[rows, columns, bscans]
    thick = np.diff(true, axis=0, prepend=true[:1] - 100, append=true[-1:] + 100)
    return {
        "contrast": contrast,
        "swapped": inverse(contrast),
        "curvature": inverse(bend),
        "shadow": np.maximum(bright - 60, 1) ** 2,
        "thickness": np.minimum(np.minimum(thick[:-1], thick[1:]) + 0.5, 60),
    }


def inverse(field: Array) -> Array:
    """Large where a field is small."""
    return np.asarray(1 / (field + 0.1 * (np.median(field) or 1.0)))


def draw_oct(subject: OctSubject, law: str, rms_px: float) -> tuple[Array, Array]:
    """What an annotator draws of a subject, and where (columns, B-scans)."""
    grader = habit_of(law, rms_px)
    rng = np.random.default_rng([subject.seed, LAWS.index(law)])
    habit = np.where(np.random.default_rng([subject.seed, 1]).random(8) < 0.5, -1.0, 1.0)
    true = subject.boundaries[..., subject.bscans]
    column = np.arange(true.shape[1])[None, :, None]
    first, end = subject.annotated_columns.T
    where = np.broadcast_to((column >= first) & (column < end), true.shape)
    fields = oct_fields(subject, grader)
    curves = law_of.displace_curves(
        true, fields.get(law, fields["contrast"]), grader, rng, habit, where
    )
    fluid = np.moveaxis(subject.fluid[..., subject.bscans], -1, 0)
    if fluid.any():
        clean = np.moveaxis(subject.clean[..., subject.bscans], -1, 0)
        pairs = law_of.pair_habit(16, np.random.default_rng([subject.seed, 2]))
        borders = law_of.find_borders(fluid, clean[None], grader)
        fluid = law_of.displace_regions(borders, grader, rng, pairs)
    return class_map(curves, np.moveaxis(fluid, 0, -1), len(subject.images)), where[0]


def region_fields(labels: Array, borders: law_of.RegionBorders) -> dict[str, Array]:
    """What each law takes for the contrast around the borders of regions, (slices, rows, columns).

    A class has about half of a window on a straight border, less where it bulges.
    """
    share, thick = (np.zeros(labels.shape, np.float32) for _ in range(2))
    for k in np.unique(labels):
        own = labels == k
        share[own] = ndimage.gaussian_filter(own.astype(np.float32), (0, 3, 3))[own]
        depth = np.stack([
            ndimage.distance_transform_edt(np.pad(plane, 1))[1:-1, 1:-1] for plane in own
        ])  # fmt: skip
        thick[own] = ndimage.maximum_filter(depth, (1, 13, 13))[own]
    bend = ndimage.gaussian_filter(np.abs(share - 0.55), (0, 2, 2))
    edge = np.median(borders.contrast[borders.border]) if borders.border.any() else 1.0
    return {
        "contrast": borders.contrast,
        "swapped": 1 / (borders.contrast + 0.1 * edge),
        "curvature": 1 / (bend + 0.02),
        "thickness": ndimage.minimum_filter(thick, (1, 3, 3)),
    }


def draw_regions(
    labels: Array, clean: Array, law: str, rms_px: float, seed: int, correlation_px: float = 20.0
) -> Array:
    """What an annotator draws of label maps (slices, rows, columns), slice by slice."""
    grader = habit_of(law, rms_px, correlation_px)
    borders = law_of.find_borders(labels, clean, grader)
    if law not in OF_GRADER:
        field = region_fields(labels, borders)[law]
        borders = replace(borders, contrast=field.astype(np.float32))
    pairs = law_of.pair_habit(int(labels.max()) + 2, np.random.default_rng([seed, 2]))
    rng = np.random.default_rng([seed, LAWS.index(law)])
    return law_of.displace_regions(borders, grader, rng, pairs)


# --- images ---------------------------------------------------------------------------------------


@cache
def _oct_subject(seed: int, visibility: Visibility) -> OctSubject:
    return make_oct_subject(seed, 1, (320, 256, 1), 1, visibility)


@cache
def _brain(seed: int, visibility: Visibility) -> Brain:
    return make_brain(seed, 1, (120, 120, 24), visibility)


def oct_cases(law: str, seeds: Sequence[int], visibility: Visibility = USUAL) -> Iterator[Drawn]:
    """A B-scan of each seed, within the columns that were annotated."""
    for seed in seeds:
        subject = _oct_subject(seed, visibility)
        drawn, where = draw_oct(subject, law, rms_px=1.5)
        for b, bscan in enumerate(subject.bscans):
            within = np.s_[:, np.flatnonzero(where[:, b])[0] : np.flatnonzero(where[:, b])[-1] + 1]
            image = subject.images[..., bscan][within]
            labels = drawn[..., b][within], subject.labels[..., b][within]
            yield Drawn(
                image[None].astype(np.float32), *(a.astype(int) for a in labels), image < 255, seed
            )


def mri_cases(law: str, seeds: Sequence[int], visibility: Visibility = USUAL) -> Iterator[Drawn]:
    """Three slices of each seed's brain, 1.9 mm in the plane, three channels."""
    planes = [8, 12, 16]
    for seed in seeds:
        brain = _brain(seed, visibility)
        labels = np.ascontiguousarray(np.moveaxis(brain.labels, -1, 0)[planes])
        images, clean = (
            np.moveaxis(a, -1, 1)[:, planes].astype(np.float32) for a in (brain.images, brain.clean)
        )
        drawn = draw_regions(labels, clean, law, 1.0, seed)
        for i in range(len(planes)):
            usable = np.ones(labels[i].shape, bool)
            yield Drawn(images[:, i], drawn[i].astype(int), labels[i].astype(int), usable, seed)


@cache
def _real_oct() -> list[tuple[Array, Array]]:
    """Real B-scans around the retina, every second row: pixels of 4 µm."""
    found = []
    for image, labels in data.real_bscans().values():
        rows = np.flatnonzero((labels != 8).any(axis=1))
        within = slice(max(rows[0] - 30, 0), rows[-1] + 31, 2)
        found.append((image[within], labels[within].astype(np.uint8)))
    return found


def real_oct_cases(law: str, seeds: Sequence[int], visibility: Visibility) -> Iterator[Drawn]:
    """Each real B-scan by some annotators, who err as in the phantoms."""
    for number, (image, labels) in enumerate(_real_oct()):
        clean = ndimage.gaussian_filter(image, 1)[None, None]
        for seed in seeds:
            drawn = draw_regions(labels[None], clean, law, 1.5, 100 * seed + number, 10.0)[0]
            usable = np.ones(labels.shape, bool)
            yield Drawn(image[None], drawn.astype(int), labels.astype(int), usable, number)


TISSUES = {2: 1, 41: 1, 3: 2, 42: 2, 4: 3, 43: 3, 5: 3, 44: 3, 14: 3, 15: 3, 24: 3, 10: 4, 49: 4,
           11: 5, 50: 5, 12: 6, 51: 6, 13: 7, 52: 7, 17: 8, 53: 8, 18: 9, 54: 9, 0: 0}  # fmt: skip
"""FreeSurfer's labels without sides; the rest is class 10."""


@cache
def _real_slices() -> list[tuple[Array, Array]]:
    """Slices of a real brain and their tissues."""
    brain = data.real_brain()
    if brain is None:
        return []
    tissue = np.full(256, 10, np.uint8)
    tissue[list(TISSUES)] = list(TISSUES.values())
    labels = tissue[brain[1]]
    return [(1000 * brain[0][:, z], labels[:, z]) for z in (95, 105, 115, 125)]


def real_mri_cases(law: str, seeds: Sequence[int], visibility: Visibility) -> Iterator[Drawn]:
    """Each real slice by some annotators, who err as in the phantoms."""
    for number, (image, labels) in enumerate(_real_slices()):
        clean = ndimage.gaussian_filter(image, 0.7)[None, None]
        for seed in seeds:
            drawn = draw_regions(labels[None], clean, law, 1.0, 100 * seed + number)[0]
            usable = np.ones(labels.shape, bool)
            yield Drawn(image[None], drawn.astype(int), labels.astype(int), usable, number)


REGION_LAWS = tuple(law for law in LAWS if law != "shadow")

KINDS: dict[str, Kind] = {
    "oct": Kind(oct_cases, 10, 190, LAWS, 1.5, 1.5, (3.0, 0.8), layers=True),
    "mri": Kind(mri_cases, 11, 29, REGION_LAWS, 0.7, 1.0, (3.0, 0.8)),
    "real-oct": Kind(real_oct_cases, 9, 190, REGION_LAWS, 1.5, 1.5, (3.0, 0.8)),
    "real-mri": Kind(real_mri_cases, 11, 29, REGION_LAWS, 0.7, 1.0, (3.0, 0.8)),
}


# --- methods --------------------------------------------------------------------------------------


def superpixels_of(case: Drawn, size: float) -> Array:
    """As ``softlabel generate`` makes them with its defaults, of so many pixels."""
    count = max(1, round(case.drawn.size / size))
    channels = scale_channels(case.image)
    return softlabel.slic(channels, n_segments=count, compactness=0.1, sigma=1, channel_axis=0)


def grid_of(case: Drawn, size: float) -> Array:
    """Squares of so many pixels."""
    edge = max(1, round(size**0.5))
    rows, columns = (np.arange(n) // edge for n in case.drawn.shape)
    return np.asarray(rows[:, None] * (columns[-1] + 1) + columns)


def soft_maps(case: Drawn, kind: Kind, full: bool = True) -> Iterator[tuple[str, Array]]:
    """Name and dense soft maps (K, *spatial) of every method; without ``full`` the usual few."""

    def soften(method: str, superpixels: Array | None = None, **options: Any) -> Array:
        if method in ("posterior", "geols"):
            options["image"] = case.image
        if method == "posterior":
            options["mask"] = case.usable
        classes = range(kind.n_classes)
        return softlabel.soften(
            case.drawn, superpixels, method=method, classes=classes, **options
        ).dense()

    symmetric = {"boundary": "symmetric"}
    slic, grid = (f(case, kind.superpixel_size) for f in (superpixels_of, grid_of))
    posterior = soften("posterior")
    yield "hard", soften("hard")
    yield f"gaussian, σ {kind.blur:g}", soften("gaussian", blur=kind.blur)
    yield "superpixel, SLIC", soften("superpixel", slic, **symmetric)
    yield "superpixel, grid", soften("superpixel", grid, **symmetric)
    yield "posterior", posterior
    if not full:
        return
    yield "gaussian, σ 1", soften("gaussian")
    yield "smoothing", soften("smoothing")
    yield "svls", soften("svls")
    yield "dilation", soften("dilation")
    yield "distance", soften("distance", **symmetric)
    yield "superpixel, paper", soften("superpixel", slic)
    probit = {"conversion": "probit", "boundary": "edge", "scale": kind.scale}
    yield f"Φ(d / {kind.scale:g})", soften("distance", **probit)
    yield f"superpixel, Φ(d / {kind.scale:g})", soften("superpixel", slic, **probit)
    yield "geols", soften("geols")
    if kind.layers:
        over = kind.n_classes - 1
        yield (
            f"surface-cdf, σ {kind.scale:g}",
            soften("surface-cdf", over=over, surface_sigma=kind.scale),
        )
    yield "evidence", evidence(case, kind.n_classes, *kind.evidence)
    yield "posterior, flips", soften("posterior", allow_flips=True)
    for name, ids in (("SLIC", slic), ("grid", grid)):
        hard = np.eye(kind.n_classes)[case.drawn].transpose(2, 0, 1)
        yield f"posterior in mixed {name}", np.where(mixed(case.drawn, ids), posterior, hard)


def mixed(labels: Array, ids: Array) -> Array:
    """Pixels of superpixels with more than one class."""
    each = np.arange(ids.max() + 1)
    low, high = (f(labels, ids, each) for f in (ndimage.minimum, ndimage.maximum))
    return np.asarray((low != high)[ids])


def evidence(case: Drawn, n_classes: int, s0: float, k: float, window: float = 3.0) -> Array:
    """Soft maps of the method ``evidence``, as the head of this module has it."""

    def smooth(values: Array) -> Array:
        return np.asarray(ndimage.gaussian_filter(values, window, mode="nearest", truncate=3))

    q = np.zeros((n_classes, *case.drawn.shape))
    for c in range(n_classes):
        own = case.drawn == c
        if not own.any() or own.all():
            q[c] = own
            continue
        far_in, to_out = ndimage.distance_transform_edt(own, return_indices=True)
        far_out, to_in = ndimage.distance_transform_edt(~own, return_indices=True)
        sides = [(s, np.maximum(smooth(s), 1e-9)) for s in (own.astype(float), 1.0 - own)]
        strength = np.zeros(own.shape)
        for channel in case.image:
            means = [smooth(s * channel) / w for s, w in sides]
            squares = [smooth(s * channel**2) - w * m**2
                       for (s, w), m in zip(sides, means, strict=True)]  # fmt: skip
            strength += (means[0] - means[1]) ** 2 / np.maximum(sum(squares), 1e-9)
        nearest = np.where(own, np.sqrt(strength)[tuple(to_out)], np.sqrt(strength)[tuple(to_in)])
        signed = np.where(own, far_in - 0.5, 0.5 - far_out)
        q[c] = ndtr(signed / (s0 / (1 + nearest / k)))
    return q


# --- scores ---------------------------------------------------------------------------------------


def band_of(case: Drawn) -> Array:
    """Usable pixels at most BAND_PX from a drawn boundary."""
    edge = np.zeros(case.drawn.shape, bool)
    for axis in range(case.drawn.ndim):
        differs = np.diff(case.drawn, axis=axis) != 0
        for start in (0, 1):
            at = [slice(None)] * case.drawn.ndim
            at[axis] = slice(start, case.drawn.shape[axis] - 1 + start)
            edge[tuple(at)] |= differs
    return np.asarray((ndimage.distance_transform_edt(~edge) <= BAND_PX) & case.usable)


def scores(q: Array, truth: Array, band: Array) -> tuple[float, float, float]:
    """Brier score, log score and calibration error of soft maps in a band."""
    q, true = q[:, band].astype(np.float64), truth[band]
    total = q.sum(0)
    q /= np.where(total > 0, total, 1)
    at = np.arange(len(true))
    brier = (q**2).sum(0) - 2 * q[true, at] + 1
    log = -np.log((1 - FLOOR) * q[true, at] + FLOOR / len(q))
    sure, right = q.max(0), q.argmax(0) == true
    in_bin = np.minimum((sure * BINS).astype(int), BINS - 1)
    gap = np.bincount(in_bin, sure - right, BINS)
    return float(brier.mean()), float(log.mean()), float(np.abs(gap).sum() / len(true))


Scores = dict[str, dict[int, list[tuple[float, float, float]]]]
"""Of each method, by subject."""


def scores_of(
    kind: Kind, law: str, seeds: Sequence[int], visibility: Visibility = USUAL, full: bool = True
) -> Scores:
    """Scores of every method under a law."""
    found: Scores = {}
    for case in kind.cases(law, seeds, visibility):
        band = band_of(case)
        for name, q in soft_maps(case, kind, full):
            of_subject = found.setdefault(name, {}).setdefault(case.subject, [])
            of_subject.append(scores(q, case.truth, band))
    return found


def by_subject(of_method: dict[int, list[tuple[float, float, float]]]) -> Array:
    """Means of each subject, shape (subjects, 3)."""
    return np.array([np.mean(values, axis=0) for values in of_method.values()])


OURS = ("evidence", "posterior")


def score_rows(images: str, found: dict[str, Scores]) -> list[Row]:
    """A row for each method, Brier / log under each law, and the mean calibration error."""
    rows: list[Row] = []
    for name in next(iter(found.values())):
        means = {law: by_subject(of_law[name]).mean(0) for law, of_law in found.items()}
        row: Row = {"images": images, "method": name}
        row |= {law: f"{m[0]:.3f} / {m[1]:.3f}" for law, m in means.items()}
        rows.append(row | {"ECE": float(np.mean([m[2] for m in means.values()]))})
    return rows


def verdict_rows(images: str, found: dict[str, Scores]) -> list[Row]:
    """What ``posterior`` gains over the best published method under each law.

    The best is that of the score in question, which may be another one under another law.
    """
    rows = []
    for law, of_law in found.items():
        ours = by_subject(of_law["posterior"])
        row: Row = {"images": images, "law": law}
        for place, score in enumerate(("Brier", "log")):
            published = {
                name: by_subject(values)[:, place] for name, values in of_law.items()
                if not name.startswith(OURS)
            }  # fmt: skip
            best = min(published, key=lambda name: published[name].mean())
            row[f"best, {score}"] = best
            row[f"gain, {score}"] = gain(ours[:, place], published[best])
        rows.append(row)
    return rows


def gain(ours: Array, theirs: Array) -> str:
    """Relative gain in percent, with the 95 % interval of the bootstrap over subjects from five on.

    Examples
    --------
    >>> gain(np.array([0.9]), np.array([1.0]))
    '+10.0 %'
    """
    text = f"{100 * (1 - ours.mean() / theirs.mean()):+.1f} %"
    if len(ours) < 5:
        return text
    interval = stats.bootstrap(
        (ours, theirs), lambda a, b, axis: 1 - a.mean(axis) / b.mean(axis), paired=True,
        n_resamples=2000, rng=np.random.default_rng(0), method="percentile",
    ).confidence_interval  # fmt: skip
    return f"{text} ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


# --- noise and contrast ---------------------------------------------------------------------------

NOISE, CONTRAST, SIZES = (0.5, 1.0, 1.7), (0.25, 0.5, 1.0), (48, 190, 760)
MAP_SEEDS, MAP_LAWS = range(1, 4), ("uniform", "swapped")


def visibility_rows(name: str) -> list[Row]:
    """Gains by noise, contrast and superpixel size: is it the image that helps?"""
    rows = []
    for noise in NOISE:
        for contrast in CONTRAST:
            for size in SIZES:
                kind = replace(
                    KINDS[name], superpixel_size=size * KINDS[name].superpixel_size / 190
                )
                brier = mean_brier(kind, Visibility(noise, contrast))
                plain = brier[f"gaussian, σ {kind.blur:g}"]
                rows.append({
                    "noise": noise, "contrast": contrast, "superpixel": kind.superpixel_size,
                    "SLIC over grid": 1 - brier["superpixel, SLIC"] / brier["superpixel, grid"],
                    "SLIC over Gaussian": 1 - brier["superpixel, SLIC"] / plain,
                    "posterior over Gaussian": 1 - brier["posterior"] / plain,
                })  # fmt: skip
    return rows


def mean_brier(kind: Kind, visibility: Visibility) -> dict[str, float]:
    """Brier score of the usual few methods, over the seeds and laws of the map."""
    found = [scores_of(kind, law, MAP_SEEDS, visibility, full=False) for law in MAP_LAWS]
    return {
        name: float(np.mean([by_subject(of_law[name])[:, 0].mean() for of_law in found]))
        for name in found[0]
    }


def draw_map(rows: dict[str, list[Row]], path: Path) -> None:
    """A picture of the gains: noise × contrast, a panel for each comparison and superpixel size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    columns = [(c, k) for c in ("SLIC over grid", "posterior over Gaussian") for k in range(3)][:4]
    figure, axes = plt.subplots(
        len(rows), len(columns), figsize=(11, 2.9 * len(rows)), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for line, (name, found) in zip(axes, rows.items(), strict=True):
        sizes = sorted({row["superpixel"] for row in found})
        for ax, (comparison, place) in zip(line, columns, strict=True):
            chosen = [row for row in found if row["superpixel"] == sizes[place]]
            values = np.array([[
                next(r[comparison] for r in chosen if (r["noise"], r["contrast"]) == (n, c))
                for c in CONTRAST] for n in NOISE])  # fmt: skip
            shown = ax.imshow(100 * values, cmap="PuOr", vmin=-30, vmax=30)
            for (i, j), value in np.ndenumerate(values):
                ink = "white" if abs(value) > 0.2 else "black"
                ax.text(j, i, f"{100 * value:+.1f}", ha="center", va="center", color=ink)
            ax.set_xticks(range(len(CONTRAST)), [f"{c:g}" for c in CONTRAST])
            ax.set_yticks(range(len(NOISE)), [f"{n:g}" for n in NOISE])
            title = f"{name.upper()}: {comparison}"
            of_size = "" if "posterior" in comparison else f"\n{sizes[place]:.0f} px a superpixel"
            ax.set_title(title + of_size, fontsize=9)
            ax.set_xlabel("contrast")
            ax.set_ylabel("noise")
    figure.colorbar(shown, ax=axes, label="gain in Brier score, %", shrink=0.7)
    figure.savefig(path, dpi=110)
    plt.close(figure)


# --- two annotators -------------------------------------------------------------------------------

COMPARED = ("hard", "gaussian", "svls", "distance", "superpixel", "posterior")


def rater_rows(folder: Path) -> list[Row]:
    """Soft labels of the first annotator of a data set against what the second one drew.

    Methods have their defaults. Scores are means over the cases of those that ``softlabel compare``
    prints, near boundaries of the first annotator.
    """
    settings = {name: Settings(method=name) for name in COMPARED}
    settings["superpixel, grid"] = Settings(superpixels="grid")
    dataset = list_dataset(folder)
    classes = scan_classes(dataset)
    found: dict[str, list[tuple[float, float]]] = {}
    for case in cases_of(dataset, dataset.refs):
        if isinstance(case, CaseError):
            raise SystemExit(str(case))
        name = second_rater(case)
        if name is None:
            continue
        compared = compare_case(case, settings, classes=classes, truth=other_map(case, name))
        for method, s in compared.scores.items():
            found.setdefault(method, []).append((s.near_brier, s.near_log))
    if not found:
        raise SystemExit(f"No case of {folder} has the label map of a second annotator.")
    means = {method: np.mean(values, axis=0) for method, values in found.items()}
    count = len(next(iter(found.values())))
    return [
        {"method": method, "cases": count, "Brier": m[0], "log": m[1]}
        for method, m in means.items()
    ]


# --- constants ------------------------------------------------------------------------------------


def fit_rows(name: str) -> list[Row]:
    """Mean scores of constants on phantoms of the seeds kept for that, under the graders' laws."""
    kind = KINDS[name]
    rows = []
    for law in ("contrast", "uniform", "bias"):
        for case in kind.cases(law, FIT_SEEDS, USUAL):
            band = band_of(case)
            for label, q in candidates(case, kind):
                rows.append((label, scores(q, case.truth, band)))
    labels = dict.fromkeys(label for label, _ in rows)
    means = {label: np.mean([s for other, s in rows if other == label], axis=0) for label in labels}
    return [
        {"constants": label, "Brier": m[0], "log": m[1], "ECE": m[2]} for label, m in means.items()
    ]


def candidates(case: Drawn, kind: Kind) -> Iterator[tuple[str, Array]]:
    """Soft maps of the constants that may be chosen."""
    table = range(kind.n_classes)
    for blur in (0.7, 1.0, 1.5, 2.0, 3.0):
        maps = softlabel.soften(case.drawn, method="gaussian", classes=table, blur=blur)
        yield f"gaussian, σ {blur}", maps.dense()
    for scale in (0.7, 1.0, 1.5, 2.0, 3.0):
        maps = softlabel.soften(
            case.drawn, method="distance", classes=table, boundary="edge", scale=scale,
            conversion="probit",
        )  # fmt: skip
        yield f"Φ(d / {scale})", maps.dense()
    for s0, k in ((1.5, 1.4), (2.0, 1.4), (3.0, 0.8), (5.0, 0.8), (6.8, 0.8)):
        yield f"evidence, s0 {s0}, k {k}", evidence(case, kind.n_classes, s0, k)
    for sd in (1.0, 1.5, 2.0, 2.5):
        for temper in (1.5, 2.0, 3.0):
            for sigma in (0.0, 0.5, 1.0):
                maps = softlabel.soften(
                    case.drawn, method="posterior", classes=table, image=case.image,
                    mask=case.usable, boundary_sd=sd, temper=temper, image_sigma=sigma,
                )  # fmt: skip
                yield f"posterior, s {sd}, τ {temper}, σ {sigma}", maps.dense()


def main(repeats: int = 1, only: Sequence[str] = ()) -> list[Row]:
    """Print the tables of each kind of images and return their rows; nothing is timed."""
    of_scores: list[Row] = []
    of_verdict: list[Row] = []
    for name, kind in KINDS.items():
        if only and name not in only:
            continue
        seeds = SEEDS if not name.startswith("real") else range(1, 4)
        found = {law: scores_of(kind, law, seeds) for law in kind.laws}
        if not next(iter(found.values())):
            continue  # no real scans at hand
        rows = score_rows(name, found)
        show(f"{name}: Brier / log by how the annotator errs", rows)
        of_scores += rows
        of_verdict += verdict_rows(name, found)
    show("posterior against the best published method", of_verdict)
    return [*of_scores, *of_verdict]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=list(KINDS), action="append", default=[])
    parser.add_argument("--map", type=Path, metavar="PNG", help="draw the noise × contrast maps")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="score against the second annotator of a data set"
    )
    parser.add_argument("--fit", action="store_true", help="scores of other constants")
    options = parser.parse_args()
    if options.data:
        show("Soft labels of one annotator against the other", rater_rows(options.data))
    elif options.fit:
        for phantom in ("oct", "mri"):
            show(f"{phantom}: constants", fit_rows(phantom))
    elif options.map:
        maps = {phantom: visibility_rows(phantom) for phantom in ("oct", "mri")}
        for phantom, of_map in maps.items():
            show(f"{phantom}: gain in Brier score", of_map)
        draw_map(maps, options.map)
    else:
        main(only=options.only)
