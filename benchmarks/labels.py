"""How near soft labels come to the truth when the annotator erred: the study without training.

Run with ``python -m benchmarks.labels`` (five and a half minutes on a calm machine), with ``--only
oct|mri|real-oct|real-mri`` for one kind of images, with ``--map PNG`` for the noise × contrast maps
alone, with ``--fit`` to choose the constants again, with ``--data DIR`` to score the soft labels of
one annotator of a data set, such as Duke's, against the other.

A truth is known; a simulated annotator draws its boundaries wrong, by one of the laws of
:mod:`benchmarks.annotators`, and soft labels are made of what was drawn.

Scores are means over the known pixels at most 8 pixels from a drawn boundary, of q / Σq: *Brier*
Σ_c (q_c − y_c)², and *log* −ln q of the true class, where q is mixed with 1 % of the uniform
distribution, since hard labels would score infinity. *ECE* is the expected calibration error of the
most probable class (15 bins).

Constants of published methods have the best Brier score on phantoms of seeds from 1000 on, for each
kind of image; ``posterior`` has its defaults everywhere, which are not its best (``--fit``). Real
scans have no seeds: the labels that come with them are the truth, and three annotators are drawn of
each. ``evidence`` is a method that softlabel does not have: Φ(d / s) with s = s0 / (1 + E / k), E
the difference of the local means on both sides of the nearest drawn boundary point over the local
noise.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import one_thread, show

one_thread()

import numpy as np  # noqa: E402
from scipy import ndimage, stats  # noqa: E402
from scipy.special import ndtr  # noqa: E402

import softlabel  # noqa: E402
from benchmarks.annotators import (  # noqa: E402
    LAWS,
    REGION_LAWS,
    Drawn,
    mri_cases,
    oct_cases,
    real_mri_cases,
    real_oct_cases,
)
from softlabel.comparison.cases import (  # noqa: E402
    cases_of,
    compare_case,
    other_map,
    second_rater,
)
from softlabel.comparison.scores import near_boundary  # noqa: E402
from softlabel.errors import CaseError  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.phantom import Visibility  # noqa: E402
from softlabel.phantom.visibility import USUAL  # noqa: E402
from softlabel.readers import list_dataset, scan_classes  # noqa: E402
from softlabel.superpixels.front import scale_channels  # noqa: E402
from softlabel.types import Array  # noqa: E402

Row = dict[str, Any]

BAND_PX, FLOOR, BINS = 8, 0.01, 15
SEEDS, FIT_SEEDS = range(1, 11), range(1000, 1003)


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
    return near_boundary(case.drawn.astype(np.uint8), BAND_PX) & case.usable


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

    # the size of superpixels has no say in the posterior
    columns = [*(("SLIC over grid", k) for k in range(3)), ("posterior over Gaussian", 0)]
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
