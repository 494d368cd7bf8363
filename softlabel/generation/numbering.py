"""Whether label values number the objects of each image, as instance maps do, or name classes.

Both may be 1, 2, 3 …, each in one connected piece. Classes recur: value 7 has its place and its
size in every case. The seventh object of an image is any of its objects, wherever programs that
label connected pieces in the order of a scan (SciPy, scikit-image, MATLAB) met it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import numpy as np

from softlabel.readers.labelfacts import LabelFacts
from softlabel.types import Array

MANY_OBJECTS = 4
"""Fewer values than these are more likely classes, of which some cases lack some."""

MORE_THAN_CLASSES = 12
"""Values in one piece each that number the objects of a single image."""

MOST_RECURRING = 0.9
"""Share of the cases that hold a value, over all values: above it, their numbers alone tell
nothing, since of the layers of a retina a case lacks one as well."""

ENOUGH_TO_COMPARE = 5
"""Values of a case from which their places tell something."""

MANY_TO_COMPARE = 9
"""Values of a case from which they need not be in the order of a scan."""

NEARLY_ALL = 0.9

MOST = 0.75
"""Share of the images with many values in which they begin at 1. Of the vertebrae, each image has
others."""

WITHOUT_GAPS = 0.5
"""Share of the images in which objects are counted without a gap. Of the organs of a body, each
slice has some."""

ANYWHERE = 0.5
"""Variance of what one value measures in several cases, by that over all values: about 1 for
objects that are numbered in any order, near 0 for classes."""

LEAST_SPREAD = 0.03
"""Standard deviation of places (as a share of the image) and of the logarithm of sizes, below which
values do not differ enough for either to tell them apart."""


def numbered_maps(facts: Mapping[str, LabelFacts], no_object: Iterable[int] = (0,)) -> list[str]:
    """The cases whose label values number their objects.

    Parameters
    ----------
    facts : mapping of case id to LabelFacts
    no_object : iterable of int
        Values of the background, and of what was not annotated.

    Returns
    -------
    list of str
        Empty when values are classes, as far as numbers, places and sizes tell.
    """
    other = set(no_object)
    objects = {
        case: [n for n, value in enumerate(found.values) if value not in other]
        for case, found in facts.items()
    }
    judged = [case for case, places in objects.items() if len(places) >= MANY_OBJECTS]
    numbered = [case for case in judged if _counts_objects(facts[case], objects[case])]
    if not numbered or len(numbered) < MOST * len(judged):
        return []
    if _counts_vary(facts, objects, numbered) or _differ_in_place(facts, objects, numbered):
        return numbered
    return []


def _counts_objects(facts: LabelFacts, objects: Sequence[int]) -> bool:
    """Whether values are 1, 2, 3 … or 255, 254, 253 … with few left out, nearly each one piece."""
    values = [facts.values[n] for n in objects]
    run = _span(values) <= 1.5 * len(values) and (values[0] <= 2 or values[-1] >= 254)
    if not run or not facts.pieces:
        return False
    return sum(facts.pieces[n] == 1 for n in objects) >= NEARLY_ALL * len(objects)


def _span(values: Sequence[int]) -> int:
    return values[-1] - values[0] + 1


def _counts_vary(
    facts: Mapping[str, LabelFacts], objects: Mapping[str, Sequence[int]], numbered: Sequence[str]
) -> bool:
    """Whether images count different numbers of values from 1, as of objects.

    A single image does not tell, unless it has more values than people have classes.
    """
    values = {c: [facts[c].values[n] for n in places] for c, places in objects.items() if places}
    counts = [len(found) for found in values.values()]
    if len(counts) == 1:
        return counts[0] >= MORE_THAN_CLASSES
    unbroken = sum(_span(values[case]) == len(values[case]) for case in numbered)
    recurring = sum(counts) / (len(counts) * len(set[int]().union(*values.values())))
    return (
        unbroken >= WITHOUT_GAPS * len(numbered)
        and max(counts) - min(counts) >= 2
        and recurring < MOST_RECURRING
    )


def _differ_in_place(
    facts: Mapping[str, LabelFacts], objects: Mapping[str, Sequence[int]], numbered: Sequence[str]
) -> bool:
    """Whether value 7 of one case has nothing to do with value 7 of another.

    Its size differs as those of any two values do, and so does its place along an axis at least.
    Scan order leaves the place along one axis as good as fixed. Few values in no such order are not
    judged: they are classes whose places vary.
    """
    enough = [case for case in numbered if len(objects[case]) >= ENOUGH_TO_COMPARE]
    marked = sum(bool(places) for places in objects.values())
    dims = {len(facts[case].shape) for case in enough}
    if len(enough) < max(2, NEARLY_ALL * marked) or len(dims) > 1:
        return False
    many = np.median([len(objects[case]) for case in enough]) >= MANY_TO_COMPARE
    scanned = sum(_in_scan_order(facts[case], objects[case]) for case in enough)
    if not many and scanned < NEARLY_ALL * len(enough):
        return False
    values = [[facts[case].values[n] for n in objects[case]] for case in enough]
    sizes = [np.log([facts[case].pixels[n] for n in objects[case]]) for case in enough]
    recurring = _share_of_variance(values, sizes)
    if recurring is not None and recurring <= ANYWHERE:
        return False
    return any(
        _anywhere(values, [_places(facts[case], objects[case], axis) for case in enough])
        for axis in range(dims.pop())
    )


def _in_scan_order(facts: LabelFacts, objects: Sequence[int]) -> bool:
    """Whether objects begin one after the other, by rows or by columns, upward or downward."""
    for axis in (0, len(facts.shape) - 1):
        starts = [facts.boxes[n][axis][0] for n in objects]
        if starts[0] != starts[-1] and (_ascend(starts) or _ascend(starts[::-1])):
            return True
    return False


def _ascend(numbers: Sequence[int]) -> bool:
    return all(a <= b for a, b in pairwise(numbers))


def _places(facts: LabelFacts, objects: Sequence[int], axis: int) -> Array:
    """Middle of each object along an axis, 0 to 1."""
    boxes = np.array([facts.boxes[n][axis] for n in objects], float)
    return np.asarray(boxes.mean(axis=1) / facts.shape[axis])


def _anywhere(values: Sequence[Sequence[int]], places: Sequence[Array]) -> bool:
    """Whether values lie anywhere along an axis, even when some images are mirrored."""
    mirrored = [np.abs(found - found.mean()) for found in places]
    shares = [_share_of_variance(values, found) for found in (places, mirrored)]
    return shares[0] is not None and all(share is None or share > ANYWHERE for share in shares)


def _share_of_variance(values: Sequence[Sequence[int]], measured: Sequence[Array]) -> float | None:
    """Variance of what one value measures in several cases, by that over all values.

    What all values of a case have in common, as a patient's place in the scanner, counts for
    neither. None when values hardly differ, so that nothing can be compared.

    Examples
    --------
    >>> classes = [np.array([0.1, 0.4, 0.9]), np.array([0.2, 0.5, 1.0])]
    >>> _share_of_variance([(1, 2, 3)] * 2, classes) < 1e-9
    True
    >>> round(_share_of_variance([(1, 2, 3)] * 2, [classes[0], classes[1][[2, 0, 1]]]), 1)
    1.5
    """
    by_value: dict[int, list[float]] = {}
    for names, numbers in zip(values, measured, strict=True):
        for name, number in zip(names, numbers - numbers.mean(), strict=True):
            by_value.setdefault(name, []).append(float(number))
    shared = [np.array(found) for found in by_value.values() if len(found) > 1]
    if not shared:
        return None
    total = float(np.var(np.concatenate(shared)))
    if total < LEAST_SPREAD**2:
        return None
    squares = sum(float(np.square(found - found.mean()).sum()) for found in shared)
    return squares / sum(len(found) - 1 for found in shared) / total
