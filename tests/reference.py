"""The superpixel method of Li et al. (2020), dense and slow, in lines that can be checked by eye.

Nothing here shares code with softlabel: boundaries by scikit-image-style shifts, distances by
SciPy's EDT or by brute force over all pairs, one class after another on the whole array.
"""

import numpy as np
from scipy import ndimage


def brute_force(targets, spacing, to_face):
    """Distance of every pixel to the nearest target, by all pairs."""
    seeds = np.argwhere(targets)
    grid = np.indices(targets.shape).reshape(targets.ndim, -1).T
    if not len(seeds):
        return np.full(targets.shape, np.inf)
    gap = np.abs(grid[:, None] - seeds[None]).astype(float)
    if to_face:
        gap = np.maximum(gap - 0.5, 0)
    return np.sqrt(((gap * spacing) ** 2).sum(-1)).min(1).reshape(targets.shape)


def distance_to(targets, spacing):
    if not targets.any():
        return np.full(targets.shape, np.inf)
    return ndimage.distance_transform_edt(~targets, sampling=spacing)


def faces(region, other):
    """Pixels of region with a face neighbour in other."""
    return region & ndimage.binary_dilation(
        other, ndimage.generate_binary_structure(region.ndim, 1)
    )


def signed_distance(phi, known, boundary, spacing):
    rest = known & ~phi
    if boundary == "inner":
        inside, outside = distance_to(faces(phi, rest), spacing), distance_to(phi, spacing)
    elif boundary == "outer":
        inside, outside = distance_to(rest, spacing), distance_to(faces(rest, phi), spacing)
    elif boundary == "symmetric":
        inside, outside = distance_to(rest, spacing), distance_to(phi, spacing)
    else:
        inside, outside = brute_force(rest, spacing, True), brute_force(phi, spacing, True)
    return np.where(phi, inside, -outside)


def soften(labels, superpixels, classes, boundary="inner", spacing=None, scale=None, ignore=None,
           normalize="none", min_minority=0.0):  # fmt: skip
    """Dense soft maps, float64 (K, *spatial), by methods: superpixel, steps 2 to 6."""
    pixel = np.ones(labels.ndim) if spacing is None else np.asarray(spacing, float)
    scale = pixel.min() if scale is None else scale
    known = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    q = np.stack([(labels == c) & known for c in classes]).astype(float)
    distances = [signed_distance((labels == c) & known, known, boundary, pixel) for c in classes]
    for s in np.unique(superpixels[superpixels >= 0]):
        here = superpixels == s
        counts = np.array([(here & known & (labels == c)).sum() for c in classes])
        if (counts > 0).sum() < 2 or counts.sum() - counts.max() < min_minority * counts.sum():
            continue
        corners = np.argwhere(here)
        diagonal = np.sqrt((((corners.max(0) - corners.min(0)) * pixel) ** 2).sum())
        for k in np.flatnonzero(counts):
            d = distances[k]
            soft = here & known & (np.abs(d) <= diagonal * (1 + 1e-6))
            q[k][soft] = 0.5 * (d[soft] / (scale + np.abs(d[soft])) + 1)
    total = q.sum(0)
    return q / np.where(total > 0, total, 1) if normalize == "sum" else q
