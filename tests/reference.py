"""The superpixel method of Li et al. (2020), dense and slow, in lines that can be checked by eye.

Nothing here shares code with softlabel: faces by SciPy's dilation, distances by its exact
Euclidean distance transform, one class after another on the whole array.
"""

import numpy as np
from scipy import ndimage, stats


def distance_to(targets, spacing):
    """Distance of every pixel's centre to the nearest target's centre."""
    if not targets.any():
        return np.full(targets.shape, np.inf)
    return ndimage.distance_transform_edt(~targets, sampling=spacing)


def distance_to_face(targets, spacing):
    """The same to the nearest point of a target's box, which lies on a grid twice as fine."""
    centres = (slice(1, None, 2),) * targets.ndim
    boxes = np.zeros([2 * n + 1 for n in targets.shape], bool)
    boxes[centres] = targets
    boxes = ndimage.binary_dilation(boxes, np.ones([3] * targets.ndim))
    return distance_to(boxes, spacing / 2)[centres]


def facing(region, other):
    """Pixels of region with a face neighbour in other."""
    return region & ndimage.binary_dilation(other)


def signed_distance(phi, known, boundary, spacing):
    rest = known & ~phi
    if boundary == "inner":
        inside, outside = distance_to(facing(phi, rest), spacing), distance_to(phi, spacing)
    elif boundary == "outer":
        inside, outside = distance_to(rest, spacing), distance_to(facing(rest, phi), spacing)
    elif boundary == "symmetric":
        inside, outside = distance_to(rest, spacing), distance_to(phi, spacing)
    else:
        inside, outside = distance_to_face(rest, spacing), distance_to_face(phi, spacing)
    return np.where(phi, inside, -outside)


def signed_distance_in_plane(phi, known, boundary, spacing, slice_axis):
    slices = zip(np.moveaxis(phi, slice_axis, 0), np.moveaxis(known, slice_axis, 0), strict=True)
    plane = np.delete(spacing, slice_axis)
    return np.stack([signed_distance(p, k, boundary, plane) for p, k in slices], slice_axis)


def convert(d, scale, conversion="eq1"):
    """Soft labels of signed distances: Eq. 1, or a distribution function of d / scale."""
    if conversion == "eq1":
        return 0.5 * (d / (scale + np.abs(d)) + 1)
    distribution = {"probit": stats.norm, "logistic": stats.logistic}[conversion]
    return distribution.cdf(d, scale=scale)


def soften(labels, superpixels, classes, boundary="inner", spacing=None, scale=None, ignore=None,
           normalize="none", min_minority=0.0, slice_axis=None, conversion="eq1"):  # fmt: skip
    """Dense soft maps, float64 (K, *spatial); distances in plane when slice_axis is given."""
    pixel = np.ones(labels.ndim) if spacing is None else np.asarray(spacing, float)
    scale = pixel.min() if scale is None else scale
    known = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    regions = [(labels == c) & known for c in classes]
    if slice_axis is None:
        distances = [signed_distance(phi, known, boundary, pixel) for phi in regions]
        steps = pixel
    else:
        distances = [
            signed_distance_in_plane(phi, known, boundary, pixel, slice_axis) for phi in regions
        ]
        steps = np.where(np.arange(labels.ndim) == slice_axis, 0, pixel)
    q = np.array(regions, float)
    for s in np.unique(superpixels[superpixels >= 0]):
        here = superpixels == s
        counts = np.array([(here & phi).sum() for phi in regions])
        if (counts > 0).sum() < 2 or counts.sum() - counts.max() < min_minority * counts.sum():
            continue
        corners = np.argwhere(here)
        diagonal = np.sqrt((((corners.max(0) - corners.min(0)) * steps) ** 2).sum())
        for k in np.flatnonzero(counts):
            d = distances[k]
            soft = here & known & (np.abs(d) <= diagonal * (1 + 1e-6))
            q[k][soft] = convert(d[soft], scale, conversion)
    total = q.sum(0)
    return q / np.where(total > 0, total, 1) if normalize == "sum" else q
