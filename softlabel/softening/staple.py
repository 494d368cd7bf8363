"""STAPLE: how far each rater is to be believed, estimated together with what is true.

For one class, D_j the label of rater j at a pixel, W the probability that the pixel is of the
class, π the mean of D, p_j and r_j the share of the class, and of the rest, that rater j finds::

    W   = a / (a + b)
    p_j = Σ D_j W / Σ W        r_j = Σ (1 − D_j)(1 − W) / Σ (1 − W)

``staple`` (Warfield et al. 2004) takes hard labels; SimpleITK computes it::

    a = π Π_j p_j^D_j (1 − p_j)^(1 − D_j)        b = (1 − π) Π_j r_j^(1 − D_j) (1 − r_j)^D_j

``soft_staple`` (Kats, Goldberger and Greenspan, MICCAI 2019) takes soft labels, in the simplified
form of the paper, which is the same for hard ones::

    a = π Π_j (D_j p_j + (1 − D_j)(1 − p_j))     b = (1 − π) Π_j (D_j (1 − r_j) + (1 − D_j) r_j)

Both look at the surroundings of the class alone, the box of all pixels that a rater gave it and
:data:`MARGIN` pixels around that: with the whole image every r_j would be 1. Outside of it, and
where a rater ignored the pixel, q is the mean of the raters who know. The classes are taken one by
one, so that Σ_c q_c need not be 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from softlabel.errors import missing_extra
from softlabel.softening.raters import majority
from softlabel.softening.windows import widen
from softlabel.softmaps.from_dense import from_class_maps
from softlabel.softmaps.maps import SoftMaps

MARGIN = 3
"""Pixels around all of what raters gave a class."""

MOST_ROUNDS = 30
SMALLEST_CHANGE = 1e-7
"""Soft-STAPLE ends when no W changes by more."""

Votes = npt.NDArray[np.float64]
"""Labels of each rater in some pixels, (raters, pixels)."""

Estimate = Callable[[Votes], npt.NDArray[np.float64]]
"""From votes to W, (pixels)."""


def staple(maps: list[SoftMaps]) -> SoftMaps:
    """Fuse the hard maps of several raters.

    Parameters
    ----------
    maps : list of SoftMaps
        Of equal shape and classes, hard.

    Raises
    ------
    MissingExtraError
        When SimpleITK is not installed.
    """
    return _fused(maps, _by_itk)


def soft_staple(maps: list[SoftMaps]) -> SoftMaps:
    """Fuse the soft maps of several raters.

    Parameters
    ----------
    maps : list of SoftMaps
        Of equal shape and classes.
    """
    return _fused(maps, _by_rounds)


def _fused(maps: list[SoftMaps], estimate: Estimate) -> SoftMaps:
    votes = majority([m.index for m in maps])
    found = _class_maps(maps, estimate)
    return from_class_maps(votes, maps[0].table, found)


def _class_maps(
    maps: list[SoftMaps], estimate: Estimate
) -> Iterator[tuple[int, tuple[slice, ...], npt.NDArray[np.float64]]]:
    """W of each class in its surroundings; the mean where not all raters know."""
    from scipy import ndimage

    known = np.array([m.known for m in maps])
    certain = np.asarray(known.all(axis=0))
    count = known.sum(axis=0).clip(min=1)
    for k in range(len(maps[0].table)):
        labels = np.array([m.class_map(k) for m in maps], np.float64)
        given = (labels > 0).any(axis=0)
        for box in ndimage.find_objects(given.view(np.uint8)):
            box = widen(box, (MARGIN,) * given.ndim, given.shape)
            values = labels[(slice(None), *box)].sum(axis=0) / count[box]
            inside = certain[box]
            if inside.any():
                values[inside] = estimate(labels[(slice(None), *box)][:, inside])
            yield k, box, values


def _by_itk(votes: Votes) -> npt.NDArray[np.float64]:
    """W by SimpleITK, whose prior is the mean of the votes too."""
    try:
        import SimpleITK as sitk
    except ImportError:
        raise missing_extra("The fusion staple", "SimpleITK", "itk") from None
    if votes.all():  # a prior of 1, for which ITK returns NaN
        return votes[0]
    images = [sitk.GetImageFromArray(vote.astype(np.uint8)[None]) for vote in votes]
    fuse = sitk.STAPLEImageFilter()
    fuse.SetForegroundValue(1)
    fuse.SetMaximumIterations(1000)  # by default there is no bound
    return np.asarray(sitk.GetArrayFromImage(fuse.Execute(images))[0], np.float64)


def _by_rounds(votes: Votes) -> npt.NDArray[np.float64]:
    prior = votes.mean()
    weights = votes.mean(axis=0)
    for _ in range(MOST_ROUNDS):
        before = weights
        weights = _expected(votes, prior, *_performance(votes, weights))
        if np.abs(weights - before).max() <= SMALLEST_CHANGE:
            break
    return weights


def _performance(votes: Votes, weights: npt.NDArray[np.float64]) -> tuple[Votes, Votes]:
    """p and r of each rater, (raters, 1); a class that is nowhere, or everywhere, leaves one 1."""
    inside, outside = weights.sum(), (1 - weights).sum()
    p = (votes * weights).sum(axis=1) / inside if inside > 0 else np.ones(len(votes))
    r = ((1 - votes) * (1 - weights)).sum(axis=1) / outside if outside > 0 else np.ones(len(votes))
    return p[:, None].clip(0, 1), r[:, None].clip(0, 1)  # rounding may have made it 1 + 1e-16


def _expected(votes: Votes, prior: float, p: Votes, r: Votes) -> npt.NDArray[np.float64]:
    """W, from logarithms: a product over many raters would vanish."""
    with np.errstate(divide="ignore"):  # log 0 is −∞, and its exp is 0
        a = np.log(prior) + np.log(votes * p + (1 - votes) * (1 - p)).sum(axis=0)
        b = np.log1p(-prior) + np.log(votes * (1 - r) + (1 - votes) * r).sum(axis=0)
    top = np.maximum(a, b)
    top = np.where(np.isfinite(top), top, 0)  # both impossible: neither rater is believed
    in_class, in_rest = np.exp(a - top), np.exp(b - top)
    total = in_class + in_rest
    return np.where(total > 0, in_class / np.where(total > 0, total, 1), votes.mean(axis=0))
