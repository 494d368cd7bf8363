"""Label maps with superpixels of every kind that a user might have, as hypothesis strategies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from scipy import ndimage
from skimage import segmentation

import softlabel
from softlabel.softmaps.class_index import class_index_map
from softlabel.types import ClassTable

# What occurs more often is drawn more often; shrinking goes to the first.
LABEL_KINDS = ("smooth",) * 4 + ("noise", "thin", "points") * 2 + ("single",)
SUPERPIXEL_KINDS = ("one", "grid", "slic", "slic", "field", "field", "noise", "pixels")
IGNORE_KINDS = ("none", "none", "sparse", "sparse", "area", "area", "most")
LENGTHS = {1: (2, 1, 8, 17, 29, 40), 2: (2, 1, 5, 9, 14, 20), 3: (2, 1, 3, 5, 7, 9)}
LONG = {1: (65, 200), 2: (64, 131), 3: (66,)}  # of the last axis: rows are kept 64 pixels a word
VALUES = (0, 1, 2, 3, 4, 7, 16, 128, 200, 255, 300, 41000)


@dataclass(frozen=True)
class Scene:
    """A label map, superpixels, and what soften() is told about them."""

    labels: np.ndarray
    superpixels: np.ndarray
    classes: tuple[int, ...]
    ignore: int | None
    spacing: tuple[float, ...] | None


def smooth_field(rng, shape, sigma):
    """Smooth noise, mapped to 0..1 by rank."""
    field = ndimage.gaussian_filter(rng.normal(size=shape), sigma, mode="wrap")
    return field.ravel().argsort().argsort().reshape(shape) / max(1, field.size - 1)


def class_indices(rng, kind, shape, n_classes):
    """Class index 0..n_classes-1 of every pixel; not every class need occur."""
    if kind == "smooth":
        return np.minimum((smooth_field(rng, shape, 2) * n_classes).astype(int), n_classes - 1)
    if kind == "noise":
        return rng.integers(0, n_classes, shape)
    if kind == "single":
        return np.full(shape, rng.integers(0, n_classes))
    index = np.zeros(shape, int)
    for k in range(1, n_classes):
        origin = rng.integers(0, shape)
        if kind == "points":
            index[tuple(origin)] = k
        else:  # a line, plane or diagonal, one pixel thick
            direction = rng.integers(-1, 2, len(shape))
            offset = np.moveaxis(np.indices(shape), 0, -1) - origin
            index[(offset @ direction) == 0] = k
    return index


def superpixel_ids(rng, kind, index):
    """Superpixel ids from 0, not necessarily connected or consecutive."""
    shape = index.shape
    if kind == "one":
        return np.zeros(shape, int)
    if kind == "pixels":
        return np.arange(index.size).reshape(shape)
    if kind == "noise":
        return rng.integers(0, 4, shape)
    if kind == "grid":
        edge = rng.integers(2, 6)
        cells = np.indices(shape) // edge
        return np.ravel_multi_index(tuple(cells), [n // edge + 1 for n in shape])
    if kind == "slic" and index.ndim > 1 and index.size > 8:
        image = ndimage.gaussian_filter(index + rng.normal(size=shape), 1).astype(np.float32)
        return segmentation.slic(
            image, n_segments=int(rng.integers(2, 12)), compactness=0.1, convert2lab=False,
            start_label=0, channel_axis=None,
        )  # fmt: skip
    return (smooth_field(rng, shape, 2) * rng.integers(2, 9)).astype(int)


def ignored_pixels(rng, kind, shape):
    """True where a pixel shall be ignored."""
    if kind == "sparse":
        return rng.random(shape) < 0.1
    if kind == "area":
        return smooth_field(rng, shape, 3) < rng.uniform(0.2, 0.7)
    if kind == "most":
        return rng.random(shape) < 0.9
    return np.zeros(shape, bool)


@st.composite
def scenes(draw, ndim=(1, 2, 3), ignore=IGNORE_KINDS, holes=True, labels=LABEL_KINDS):
    """A :class:`Scene` in one of the dimensions ``ndim``."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dimension = draw(st.sampled_from(ndim))
    lengths = [LENGTHS[dimension]] * (dimension - 1) + [LENGTHS[dimension] + LONG[dimension]]
    shape = tuple(draw(st.sampled_from(choice)) for choice in lengths)
    n_classes = draw(st.sampled_from([2, 3, 4, 5, 1]))
    values = np.sort(rng.choice(VALUES, n_classes, replace=False))
    index = class_indices(rng, draw(st.sampled_from(labels)), shape, n_classes)
    ids = superpixel_ids(rng, draw(st.sampled_from(SUPERPIXEL_KINDS)), index)
    ids = ids * draw(st.sampled_from([1, 1, 3, 1000]))
    if holes and draw(st.booleans()):
        ids = np.where(smooth_field(rng, shape, 1) < 0.2, -1, ids)
    label_map = values[index].astype(draw(st.sampled_from([np.int32, np.int64, np.uint16])))
    classes = {int(v) for v in values}
    if draw(st.booleans()):
        classes.add(draw(st.sampled_from([5, 150, 50000])))  # a class that is absent
    ignore_kind = draw(st.sampled_from(ignore))
    ignore_value = None
    if ignore_kind != "none":
        ignore_value = 99 if label_map.dtype == np.uint16 else draw(st.sampled_from([99, -1]))
        label_map[ignored_pixels(rng, ignore_kind, shape)] = ignore_value
    if draw(st.booleans()):
        label_map = np.asfortranarray(label_map)
    spacing = None
    if draw(st.booleans()):
        spacing = tuple(float(s) for s in rng.choice([0.3, 0.5, 1.0, 1.7, 3.0], dimension))
    return Scene(label_map, ids, tuple(sorted(classes)), ignore_value, spacing)


def blobs(shape=(40, 52), n_classes=4, edge=9, seed=0):
    """A label map of wavy bands with ignored pixels, and superpixels with holes."""
    rng = np.random.default_rng(seed)
    where = np.indices(shape)
    height = where[0] + 4 * np.sin(where[-1] / 6 + seed)
    labels = np.clip(height * n_classes // shape[0], 0, n_classes - 1).astype(np.int32)
    labels[rng.random(shape) < 0.02] = 99
    cells = where // edge
    ids = np.ravel_multi_index(tuple(cells), [n // edge + 1 for n in shape])
    return labels, np.where(rng.random(shape) < 0.03, -1, ids)


TABLE = ClassTable.from_values(range(4))


def blob_batch(shape=(40, 52), count=5, **kwargs):
    """Several blobs: pairs of labels and superpixels, class indices, and ids of int32."""
    pairs = [blobs(shape, seed=seed, **kwargs) for seed in range(count)]
    if count > 1:
        pairs[1][0][:] = 2  # an image without a mixed superpixel between others
    indices = [class_index_map(labels, TABLE, 99) for labels, _ in pairs]
    return pairs, indices, [ids.astype(np.int32) for _, ids in pairs]


method_options = st.fixed_dictionaries(
    {
        "boundary": st.sampled_from(("inner", "outer", "edge", "symmetric")),
        "scale": st.sampled_from([None, None, 0.3, 2.5]),
        "normalize": st.sampled_from(["none", "sum"]),
        "min_minority": st.sampled_from([0.0, 0.0, 0.1, 0.25, 0.5, 1.0]),
        "in_plane": st.booleans(),
        "conversion": st.sampled_from(["eq1", "eq1", "probit", "logistic"]),
    }
)
"""Keyword arguments of soften() for the superpixel method."""


def soften_scene(scene, device, **chosen):
    """The soft maps of a scene; a row has no plane for distances to stay in."""
    if scene.labels.ndim == 1:
        chosen.pop("in_plane", None)
    return softlabel.soften(
        scene.labels, scene.superpixels, classes=scene.classes, ignore=scene.ignore,
        device=device, **chosen,
    )  # fmt: skip


def assert_same_maps(found, expected):
    """Two SoftMaps are equal in every array, type and byte."""
    for owner, names in (
        ("regions", ("pixels", "start", "lower", "upper")),
        (None, ("index", "block_region", "block_class", "block_start", "values")),
    ):
        for name in names:
            a = getattr(found.regions if owner else found, name)
            b = getattr(expected.regions if owner else expected, name)
            assert (a.dtype, a.shape) == (b.dtype, b.shape), name
            assert a.tobytes() == b.tobytes(), name
    assert (found.table, found.on, found.off) == (expected.table, expected.on, expected.off)
