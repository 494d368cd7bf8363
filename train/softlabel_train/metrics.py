"""Scores of a segmentation against a label map: overlap, surface distances, calibration.

Formulas after Taha & Hanbury, BMC Medical Imaging 2015; distances equal MedPy 0.5.2. With P the
predicted and G the true pixels of a class, S(·) their surfaces and d the distance from one
surface pixel to the nearest pixel of the other surface:

=========== ============================================================== ====================
name        meaning                                                        absent from P or G
=========== ============================================================== ====================
dice        2 |P∩G| / (|P| + |G|)                                          0
vs          volumetric similarity, 1 − ||P| − |G|| / (|P| + |G|)           0
precision   |P∩G| / |P|                                                    NaN for empty P
recall      |P∩G| / |G|                                                    NaN for empty G
hd95        95th percentile of the distances of both directions, pooled    NaN
asd         mean distance from S(P) to S(G)                                NaN
assd        mean distance of both directions, pooled                       NaN
nsd         share of both surfaces within a tolerance of the other one     0
=========== ============================================================== ====================

A class absent from both is NaN throughout. A surface pixel has a face neighbour outside the
class, and outside the image is outside the class; surface pixels that only an ignored area
creates are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from softlabel.softmaps import translate_labels
from softlabel.types import ClassTable, spacing_in_order

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Convention = Literal["medpy", "evalseg", "mrbrains18", "mrbrains18-slices", "medpy040"]
"""How distances are summarised.

``medpy``
    As in the table above.
``evalseg``
    EvaluateSegmentation (Taha & Hanbury): distances of all pixels of one region to the other
    region. ``asd`` is their mean over P, ``assd`` the mean of both directions' means, ``hd95``
    the lower 95th percentile over the pixels of each region that the other one misses. (The
    tool's own percentile depends on a random shuffle; this is what it approximates.)
``mrbrains18``
    ``hd95`` is the larger of the two directed 95th percentiles, the rest as ``medpy``.
``mrbrains18-slices``
    The same on the surfaces of the challenge's ``evaluation.py``: in each slice (the last axis
    counts the slices), over edges and corners, and the image border is no surface.
``medpy040``
    As MedPy 0.4.0 had it: ``assd`` is the mean of both directions' means, the rest as ``medpy``.
"""


@dataclass(frozen=True)
class ClassSet:
    """Classes that a publication averages over.

    Attributes
    ----------
    values : tuple of int
        Label values that are scored.
    excluded : tuple of int
        Pixels whose true label is one of these become background in both maps, and do not count
        in calibration.
    """

    values: tuple[int, ...]
    excluded: tuple[int, ...] = ()


CLASS_SETS: dict[str, ClassSet] = {
    "oct": ClassSet((1, 2, 3, 4, 5, 6, 7, 9)),
    "mrbrains18": ClassSet(tuple(range(1, 9)), excluded=(9, 10)),
}

OVERLAPS = ("dice", "vs", "precision", "recall")
SURFACES = ("hd95", "asd", "assd", "nsd")
DISTANCES = ("hd95", "asd", "assd")
"""Metrics in units of the spacing, undefined when a class is absent from one side."""
HIGHER_IS_BETTER = ("dice", "vs", "precision", "recall", "nsd")
BOUNDARY_PX = 5.0
"""Calibration near boundaries looks at pixels at most this far from one."""


def metric_of(name: str) -> str:
    """The metric in a name that may have a convention beside it.

    Examples
    --------
    >>> metric_of("hd95"), metric_of("hd95 (medpy)")
    ('hd95', 'hd95')
    """
    return name.partition(" ")[0]


def evaluate(
    pred: Array,
    truth: Array,
    classes: str | ClassSet | ClassTable | Mapping[int, str] | Iterable[int],
    spacing: Sequence[float] | None = None,
    *,
    ignore: int | None = None,
    probabilities: Array | None = None,
    class_values: Sequence[int] | None = None,
    convention: Convention = "medpy",
    tolerance: float | None = None,
    distances: bool = True,
) -> dict[int | str, dict[str, float]]:
    """Score every class of one predicted label map.

    Parameters
    ----------
    pred, truth : ndarray of an integer type, shape (*spatial)
        Label values, coded alike.
    classes : str, ClassSet, ClassTable, mapping or iterable of int
        The classes to score: the name of a set in :data:`CLASS_SETS`, a table, ``{value: name}``
        or label values.
    spacing : sequence of float, optional
        Distance between pixels along each axis; distances are in its unit, in pixels without it.
    ignore : int, optional
        Value in ``truth`` of pixels that count nowhere.
    probabilities : ndarray of float, shape (K, *spatial), optional
        Adds ``brier`` and ``ece`` of each class against the rest, over all pixels and, as
        ``brier_boundary`` and ``ece_boundary``, within :data:`BOUNDARY_PX` of the class's true
        boundary.
    class_values : sequence of K int, optional
        Label values along axis 0 of ``probabilities``; by default those of ``classes``.
    convention : {"medpy", "evalseg", "mrbrains18", "mrbrains18-slices", "medpy040"}
        See :data:`Convention`.
    tolerance : float, optional
        For ``nsd``, in the unit of the spacing; by default the smallest spacing, one pixel.
    distances : bool
        False leaves out the four metrics of surfaces, which take most of the time.

    Returns
    -------
    dict of dict of float
        ``{class: {"dice", "vs", "precision", "recall", "hd95", "asd", "assd", "nsd"}}``. Classes
        are named as given: by name from a table or a mapping, else by value.

    Raises
    ------
    ValueError
        When shapes or options do not fit.

    Examples
    --------
    >>> truth, pred = np.array([0, 0, 1, 1, 1, 0, 0]), np.array([0, 1, 1, 1, 0, 0, 0])
    >>> {name: round(value, 3) for name, value in evaluate(pred, truth, [1])[1].items()}
    {'dice': 0.667, 'vs': 1.0, 'precision': 0.667, 'recall': 0.667,
     'hd95': 1.0, 'asd': 1.0, 'assd': 1.0, 'nsd': 1.0}
    """
    pred, truth = np.asarray(pred), np.asarray(truth)
    _check_maps(pred, truth, convention)
    names, excluded = _named_values(classes)
    steps = spacing_in_order(spacing, truth.ndim)
    tau = min(steps) if tolerance is None else float(tolerance)
    if not tau >= 0:
        raise ValueError(f"tolerance must not be negative; got {tolerance}.")

    ignored = None if ignore is None else truth == ignore
    hidden = np.zeros(truth.shape, bool) if ignored is None else ignored.copy()
    for value in excluded:
        hidden |= truth == value
    p_index, g_index = (_indices(m, list(names.values()), hidden) for m in (pred, truth))
    p_boxes = ndimage.find_objects(p_index, max_label=len(names))
    g_boxes = ndimage.find_objects(g_index, max_label=len(names))

    scores: dict[int | str, dict[str, float]] = {}
    for i, name in enumerate(names):
        box = _union(p_boxes[i], g_boxes[i], truth.shape)
        if box is None:
            scores[name] = dict.fromkeys(OVERLAPS + (SURFACES if distances else ()), np.nan)
            continue
        p, g = p_index[box] == i + 1, g_index[box] == i + 1
        scores[name] = _overlap(p, g)
        if distances:
            scores[name] |= _surface_scores(
                p, g, None if ignored is None else ignored[box], steps, convention, tau
            )
    if probabilities is not None:
        channels = _channels(probabilities, truth, class_values, list(names.values()))
        for name, value in names.items():
            scores[name] |= _one_against_rest(
                np.asarray(probabilities[channels.index(value)]), truth == value, hidden
            )
    return scores


def _check_maps(pred: Array, truth: Array, convention: str) -> None:
    if pred.shape != truth.shape:
        raise ValueError(
            f"The prediction has shape {pred.shape} and the truth {truth.shape}; they must agree."
        )
    if pred.dtype.kind not in "iub" or truth.dtype.kind not in "iub":
        raise ValueError(
            f"Label maps must hold integers; got {pred.dtype} (prediction) and {truth.dtype} "
            "(truth)."
        )
    if convention not in get_args(Convention):
        raise ValueError(
            f"convention must be one of {', '.join(get_args(Convention))}; got {convention!r}."
        )


def _named_values(
    classes: str | ClassSet | ClassTable | Mapping[int, str] | Iterable[int],
) -> tuple[dict[int | str, int], tuple[int, ...]]:
    """Key in the result → label value, and the excluded label values."""
    if isinstance(classes, str):
        if classes not in CLASS_SETS:
            raise ValueError(
                f"There is no class set {classes!r}; the sets are {', '.join(CLASS_SETS)}."
            )
        classes = CLASS_SETS[classes]
    if isinstance(classes, ClassSet):
        return {v: v for v in classes.values}, classes.excluded
    if isinstance(classes, ClassTable):
        return {name: value for value, name in classes}, ()
    if isinstance(classes, Mapping):
        return {str(name): int(value) for value, name in classes.items()}, ()
    return {int(v): int(v) for v in classes}, ()


def _indices(labels: Array, values: list[int], hidden: Mask) -> Array:
    """Label values → 1, 2, … in the order of ``values``; 0 for all others and where hidden."""
    numbers = {value: i for i, value in enumerate(values, 1)}
    index = translate_labels(labels, numbers, 0, np.uint8 if len(values) < 256 else np.int32)
    index[hidden] = 0
    return index


def _union(
    a: tuple[slice, ...] | None, b: tuple[slice, ...] | None, shape: tuple[int, ...]
) -> tuple[slice, ...] | None:
    """The box around both, grown by one pixel so that it holds every face neighbour."""
    if a is None or b is None:
        a = b = a or b
    if a is None or b is None:
        return None
    return tuple(
        slice(max(min(s.start, t.start) - 1, 0), min(max(s.stop, t.stop) + 1, n))
        for s, t, n in zip(a, b, shape, strict=True)
    )


def _overlap(p: Mask, g: Mask) -> dict[str, float]:
    n_p, n_g = int(np.count_nonzero(p)), int(np.count_nonzero(g))
    both = int(np.count_nonzero(p & g))
    return {
        "dice": 2 * both / (n_p + n_g),
        "vs": 1 - abs(n_p - n_g) / (n_p + n_g),
        "precision": both / n_p if n_p else np.nan,
        "recall": both / n_g if n_g else np.nan,
    }


def _surface_scores(
    p: Mask,
    g: Mask,
    ignored: Mask | None,
    spacing: tuple[float, ...],
    convention: Convention,
    tolerance: float,
) -> dict[str, float]:
    if not (p.any() and g.any()):
        return {"hd95": np.nan, "asd": np.nan, "assd": np.nan, "nsd": 0.0}
    surface = _slice_surface if convention == "mrbrains18-slices" else _surface
    s_p, s_g = surface(p, ignored), surface(g, ignored)
    if not (s_p.any() and s_g.any()):  # an ignored area all around, or a class that fills a slice
        return dict.fromkeys(("hd95", "asd", "assd", "nsd"), np.nan)
    there, back = _distances(s_p, s_g, spacing), _distances(s_g, s_p, spacing)
    pooled = np.concatenate([there, back])
    scores = {
        "hd95": float(np.percentile(pooled, 95)),
        "asd": float(there.mean()),
        "assd": float(pooled.mean()),
        # a relative slack of one in 10^9: a distance of three times 0.1 is a tolerance of 0.3
        "nsd": float(np.count_nonzero(pooled <= tolerance * (1 + 1e-9)) / pooled.size),
    }
    if convention == "medpy040":
        scores["assd"] = float((there.mean() + back.mean()) / 2)
    elif convention == "evalseg":
        scores |= _region_distances(p, g, spacing)
    elif convention != "medpy":
        scores["hd95"] = float(max(np.percentile(there, 95), np.percentile(back, 95)))
    return scores


def _region_distances(p: Mask, g: Mask, spacing: tuple[float, ...]) -> dict[str, float]:
    """Distances of pixels to the other region, whose nearest pixel is one of its surface."""
    missed = _distances(p & ~g, _surface(g, None), spacing)
    added = _distances(g & ~p, _surface(p, None), spacing)
    pooled = np.sort(np.concatenate([missed, added]))
    there = missed.sum() / np.count_nonzero(p)
    back = added.sum() / np.count_nonzero(g)
    return {
        "hd95": float(pooled[int(0.95 * (pooled.size - 1))]) if pooled.size else 0.0,
        "asd": float(there),
        "assd": float((there + back) / 2),
    }


def _surface(mask: Mask, ignored: Mask | None) -> Mask:
    """Pixels with a face neighbour that is neither in the mask nor ignored."""
    solid = mask if ignored is None else mask | ignored
    inside = solid.copy()
    # along an axis of one pixel there is no other side: the slice of a volume is an image
    long = [axis for axis in range(mask.ndim) if mask.shape[axis] > 1]
    for axis in long or range(mask.ndim):
        near, solid_near = np.moveaxis(inside, axis, 0), np.moveaxis(solid, axis, 0)
        near[1:] &= solid_near[:-1]
        near[:-1] &= solid_near[1:]
        near[0] = near[-1] = False
    return mask & ~inside


def _slice_surface(mask: Mask, ignored: Mask | None) -> Mask:
    """Pixels with a neighbour in the slice, across an edge or a corner, that is not solid."""
    solid = mask if ignored is None else mask | ignored
    square = np.ones((3, 3) + (1,) * (mask.ndim - 2) if mask.ndim > 1 else 3, bool)
    return np.asarray(mask & ~ndimage.binary_erosion(solid, square, border_value=1))


def _distances(sources: Mask, targets: Mask, spacing: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Distance of every source pixel to the nearest target pixel.

    Surfaces are sparse and mostly near to each other, so a tree of their pixels is faster than a
    distance transform even of the cropped box (benchmarks/metrics.py); pixels that are both need
    no search.
    """
    distances = np.zeros(np.count_nonzero(sources))
    apart = ~targets[sources]
    if apart.any():
        tree = cKDTree(np.argwhere(targets) * spacing, compact_nodes=False, balanced_tree=False)
        distances[apart] = tree.query(np.argwhere(sources)[apart] * spacing)[0]
    return distances


def _channels(
    probabilities: Array, truth: Array, class_values: Sequence[int] | None, scored: list[int]
) -> list[int]:
    channels = scored if class_values is None else [int(v) for v in class_values]
    if tuple(probabilities.shape) != (len(channels), *truth.shape):
        raise ValueError(
            f"probabilities must have shape {(len(channels), *truth.shape)}, one map for each of "
            f"the classes {channels}; got {tuple(probabilities.shape)}. Give class_values when "
            "they hold more classes than are scored."
        )
    if missing := sorted(set(scored) - set(channels)):
        raise ValueError(f"probabilities hold no map of the classes {missing}.")
    return channels


def near_boundary(truth: Array, ignored: Mask | None, distance_px: float = BOUNDARY_PX) -> Mask:
    """Pixels at most ``distance_px`` from a pixel that touches another known class.

    Parameters
    ----------
    truth : ndarray, shape (*spatial)
        Label values, or a boolean mask.
    ignored : ndarray of bool, shape (*spatial), or None
    distance_px : float
        Between pixel centres, in pixels also for anisotropic volumes.
    """
    edge = np.zeros(truth.shape, bool)
    for axis in range(truth.ndim):
        along = np.moveaxis(truth, axis, 0)
        differs = along[1:] != along[:-1]
        if ignored is not None:
            unknown = np.moveaxis(ignored, axis, 0)
            differs &= ~(unknown[1:] | unknown[:-1])
        touched = np.moveaxis(edge, axis, 0)
        touched[1:] |= differs
        touched[:-1] |= differs
    if not edge.any():
        return edge
    return np.asarray(ndimage.distance_transform_edt(~edge) <= distance_px)


def calibration(
    probabilities: Array,
    truth: Array,
    class_values: Sequence[int],
    *,
    ignore: int | None = None,
    excluded: Iterable[int] = (),
    boundary_px: float = BOUNDARY_PX,
    n_bins: int = 15,
) -> dict[str, float]:
    """Calibration of all classes together, overall and near boundaries.

    Parameters
    ----------
    probabilities : ndarray of float, shape (K, *spatial)
        Summing to 1 over axis 0.
    truth : ndarray of an integer type, shape (*spatial)
        Label values.
    class_values : sequence of K int
        Label values along axis 0 of ``probabilities``.
    ignore : int, optional
        Value in ``truth`` of pixels that count nowhere.
    excluded : iterable of int
        Label values whose pixels do not count either; see :class:`ClassSet`.
    boundary_px : float
        Pixels at most this far from a boundary of ``truth`` count as near (:func:`near_boundary`).
    n_bins : int
        Equal-width bins of the expected calibration error.

    Returns
    -------
    dict of float
        ``brier``: mean over pixels of Σ_c (p_c − y_c)² (Brier 1950), 0 to 2. ``ece``: expected
        calibration error of the most probable class (Guo et al. 2017). The same near boundaries
        as ``brier_boundary`` and ``ece_boundary``. NaN where no pixel counts.

    Examples
    --------
    >>> p = np.array([[0.9, 0.6], [0.1, 0.4]])
    >>> round(calibration(p, np.array([0, 0]), [0, 1])["brier"], 2)
    0.17
    """
    probabilities, truth = np.asarray(probabilities), np.asarray(truth)
    channels = _channels(probabilities, truth, class_values, [int(v) for v in class_values])
    known = np.ones(truth.shape, bool) if ignore is None else truth != ignore
    for value in excluded:
        known &= truth != value
    squares = np.zeros(truth.shape)
    right = np.zeros(truth.shape, bool)
    winner = probabilities.argmax(0)
    for k, value in enumerate(channels):
        y = truth == value
        squares += (probabilities[k].astype(np.float64) - y) ** 2
        right |= (winner == k) & y
    confidence = np.take_along_axis(probabilities, winner[None], 0)[0]
    near = near_boundary(truth, ~known, boundary_px) & known
    return {
        "brier": _mean(squares[known]),
        "ece": _calibration_error(confidence[known], right[known], n_bins),
        "brier_boundary": _mean(squares[near]),
        "ece_boundary": _calibration_error(confidence[near], right[near], n_bins),
    }


def _one_against_rest(p: Array, y: Mask, hidden: Mask) -> dict[str, float]:
    known = ~hidden
    near = near_boundary(y, hidden) & known
    squares = (p.astype(np.float64) - y) ** 2
    return {
        "brier": _mean(squares[known]),
        "ece": _calibration_error(p[known], y[known]),
        "brier_boundary": _mean(squares[near]),
        "ece_boundary": _calibration_error(p[near], y[near]),
    }


def _mean(values: Array) -> float:
    return float(values.mean()) if values.size else np.nan


def _calibration_error(confidence: Array, right: Mask, n_bins: int = 15) -> float:
    """Σ over bins of (share of pixels) · |mean confidence − share of right ones|."""
    if not confidence.size:
        return np.nan
    bins = np.clip(
        np.ceil(confidence.astype(np.float64) * n_bins).astype(np.intp) - 1, 0, n_bins - 1
    )
    surplus = np.bincount(bins, confidence.astype(np.float64) - right, n_bins)
    return float(np.abs(surplus).sum() / confidence.size)
