"""The method posterior against its formulas, pixel by pixel, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import assert_same_maps, scenes
from scipy import ndimage, stats

import softlabel
from softlabel.softening import appearance
from softlabel.softening.posterior import PosteriorOptions

STEPS = {1: (0.7,), 2: (1.0, 0.6), 3: (2.0, 0.8, 0.8)}


def soften(labels, image, **options):
    return softlabel.soften(labels, image=image, method="posterior", **options)


def expected(
    labels, image, classes, ignore=None, spacing=None, mask=None, sd=None, window=None, temper=2.0,
    sigma=0.5, flips=False, slice_axis=None,
):  # fmt: skip
    """Dense posteriors (K, *spatial), one pixel after the other."""
    step = np.ones(labels.ndim) if spacing is None else np.array(spacing)
    sd = 1.5 * step.min() if sd is None else sd
    window = 6 * step.min() if window is None else window
    known = np.ones(labels.shape, bool) if ignore is None else labels != ignore
    usable = known if mask is None else known & mask
    crossed = np.arange(labels.ndim) != slice_axis
    width = np.where(crossed, sigma * step[crossed].min() / step, 0)
    radius = np.where(crossed, window // step, 0).astype(int)
    weight = ndimage.gaussian_filter(usable.astype(float), width, mode="constant")
    if sigma:
        image = np.stack([
            ndimage.gaussian_filter(np.where(usable, c, 0.0), width, mode="constant")
            / np.where(usable, weight, 1) for c in image
        ])  # fmt: skip
    regions = [(labels == c) & known for c in classes]
    if slice_axis is None:
        distance = [reference.signed_distance(phi, known, "edge", step) for phi in regions]
    else:
        distance = [
            reference.signed_distance_in_plane(phi, known, "edge", step, slice_axis)
            for phi in regions
        ]
    values = image[:, usable]
    overall = values.mean(1) if values.size else np.zeros(len(image))
    means = [image[:, p & usable].mean(1) if (p & usable).any() else overall for p in regions]
    left = sum(
        ((image[:, p & usable].T - m) ** 2).sum(0) for p, m in zip(regions, means, strict=True)
    )
    noise = left / max(usable.sum(), 1)
    least = 1e-6 * values.var(1) if values.size else np.zeros(len(image))
    least = np.where(least > 0, least, 1)
    q = np.array(regions, float)
    near = [np.isfinite(d) & (np.abs(d) <= 4 * sd * (1 + 1e-6)) for d in distance]
    for place in np.argwhere(usable & np.any(near, axis=0)):
        x = tuple(place)
        box = tuple(slice(max(p - r, 0), p + r + 1) for p, r in zip(place, radius, strict=True))
        here = [image[(slice(None), *box)][:, (phi & usable)[box]] for phi in regions]
        count = sum(v.shape[1] for v in here)
        scatter = sum(((v.T - v.mean(1)) ** 2).sum(0) for v in here if v.size)
        v = np.maximum((scatter + 20 * noise) / (count + 20), least)
        posterior = np.zeros(len(classes))
        for k in range(len(classes)):
            far = 1.0 if regions[k][x] else 0.0
            prior = stats.norm.cdf(distance[k][x] / sd) if near[k][x] else far
            mean = (here[k].sum(1) + 20 * means[k]) / (here[k].shape[1] + 20)
            away = (((image[(slice(None), *x)] - mean) ** 2) / v).sum()
            with np.errstate(divide="ignore"):
                posterior[k] = np.log(prior) - away / (2 * temper)
        posterior = np.exp(posterior - posterior.max())
        posterior /= posterior.sum()
        own = [bool(phi[x]) for phi in regions].index(True)
        if posterior[own] >= 0.995:
            posterior = np.eye(len(classes))[own]
        elif posterior[own] < posterior.max() and not flips:
            posterior *= 0.49 / (1 - posterior[own])
            posterior[own] = 0.51
        q[(slice(None), *x)] = posterior
    return q


def image_of(labels, channels, contrast, seed):
    """Intensities that follow the classes, with noise."""
    rng = np.random.default_rng(seed)
    levels = rng.normal(size=(channels, 301)) * contrast
    noise = rng.normal(size=(channels, *labels.shape))
    return levels[:, np.minimum(labels, 300)] + ndimage.gaussian_filter(
        noise, (0, *[0.5] * labels.ndim)
    )


def check(found, wanted):
    """Equal, but for a pixel that a limit decides."""
    off = np.abs(found - wanted).max(0) > 2e-4
    assert off.sum() <= 0.002 * off.size, np.argwhere(off)[:5]


@settings(deadline=None)
@given(
    scene=scenes(), channels=st.integers(1, 2), contrast=st.sampled_from([0, 1.0, 4.0]),
    seed=st.integers(0, 99), temper=st.sampled_from([1.0, 2.0]), flips=st.booleans(),
    sigma=st.sampled_from([0.0, 0.5]), window=st.sampled_from([None, 2.0]),
    sd=st.sampled_from([None, 0.8]),
)  # fmt: skip
def test_equals_its_formulas(
    scene, channels, contrast, seed, temper, flips, sigma, window, sd
):  # fmt: skip
    image = image_of(scene.labels, channels, contrast, seed)
    mask = np.random.default_rng(seed).random(scene.labels.shape) < 0.9
    found = soften(
        scene.labels, image, classes=scene.classes, ignore=scene.ignore, spacing=scene.spacing,
        mask=mask, temper=temper, allow_flips=flips, image_sigma=sigma, window=window,
        boundary_sd=sd,
    ).dense()  # fmt: skip
    check(found, expected(
        scene.labels, image, scene.classes, scene.ignore, scene.spacing, mask, sd, window, temper,
        sigma, flips,
    ))  # fmt: skip


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(scene=scenes(), seed=st.integers(0, 99))
def test_kernels_are_right_as_plain_python(interpreted, scene, seed):
    assert {
        "softlabel.softening.posterior._weigh",
        "softlabel.softening.appearance._gather",
    } <= set(interpreted)
    image = image_of(scene.labels, 2, 2.0, seed)
    options = {"classes": scene.classes, "ignore": scene.ignore}
    check(soften(scene.labels, image, **options).dense(), expected(
        scene.labels, image, **options
    ))  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(scene=scenes(ndim=(3,)), seed=st.integers(0, 99), axis=st.integers(0, 2))
def test_within_slices(scene, seed, axis):
    image = image_of(scene.labels, 1, 2.0, seed)
    found = soften(
        scene.labels, image, classes=scene.classes, ignore=scene.ignore, spacing=STEPS[3],
        in_plane=True, slice_axis=axis,
    ).dense()  # fmt: skip
    check(found, expected(
        scene.labels, image, scene.classes, scene.ignore, STEPS[3], slice_axis=axis
    ))  # fmt: skip


@given(scene=scenes(), seed=st.integers(0, 99))
def test_sums_to_one_and_the_annotated_class_stays_on_top(scene, seed):
    image = image_of(scene.labels, 1, 3.0, seed)
    maps = soften(scene.labels, image, classes=scene.classes, ignore=scene.ignore)
    dense, known = maps.dense(), maps.known
    np.testing.assert_allclose(dense.sum(0), known, atol=1e-5)
    own = np.take_along_axis(dense, np.where(known, maps.index, 0)[None].astype(int), axis=0)[0]
    assert (own[known] >= dense.max(axis=0)[known]).all()


@given(scene=scenes(), seed=st.integers(0, 99), data=st.data())
def test_flips_and_transposes(scene, seed, data):
    image = image_of(scene.labels, 1, 2.0, seed)[0]
    axes = data.draw(st.permutations(range(scene.labels.ndim)))
    flipped = tuple(data.draw(st.sets(st.sampled_from(range(scene.labels.ndim)))))
    turned = [np.flip(a.transpose(axes), flipped) for a in (scene.labels, image)]
    options = {"classes": scene.classes, "ignore": scene.ignore}
    plain = soften(scene.labels, image, **options).dense().transpose(0, *(1 + a for a in axes))
    check(soften(*turned, **options).dense(), np.flip(plain, tuple(1 + a for a in flipped)))


@pytest.mark.parametrize("shape", [(60, 20), (50, 12, 13)])
def test_parts_of_a_volume_are_the_whole(monkeypatch, shape):
    """However few planes are in memory together."""
    rng = np.random.default_rng(0)
    labels = (ndimage.gaussian_filter(rng.normal(size=shape), 3) > 0).astype(int)
    if len(shape) == 2:
        labels = labels[:, None]
    image = image_of(labels, 2, 2.0, 1)
    whole = soften(labels, image, window=3)
    monkeypatch.setattr(appearance, "SLAB_PIXELS", 1)
    parts = soften(labels, image, window=3)
    assert_same_maps(parts, whole)


def test_the_image_decides_where_classes_differ_and_the_prior_where_they_do_not():
    """One row: the drawn boundary lies two pixels left of the edge of the image."""
    labels = np.repeat([0, 1], 30)[None].repeat(25, 0)
    edge = np.repeat([0.0, 100.0], [32, 28])[None].repeat(25, 0)
    noise = np.random.default_rng(0).normal(size=labels.shape)
    options = {"image_sigma": 0}
    prior = stats.norm.cdf((np.arange(60) - 29.5) / 1.5)
    sharp = soften(labels, edge + noise, allow_flips=True, **options).dense()[1, 12]
    assert (sharp[30:32] < prior[30:32] - 0.2).all()  # drawn as 1, and looks like 0
    assert (sharp[32:] >= prior[32:] - 1e-6).all() and (sharp[:30] <= prior[:30] + 1e-6).all()
    assert sharp[30] < 0.5
    assert soften(labels, edge + noise, **options).dense()[1, 12, 30] == np.float32(0.51)
    flat = soften(labels, 0 * edge + 7).dense()[1, 12]
    np.testing.assert_allclose(flat[27:33], prior[27:33], atol=1e-6)


def test_pixels_outside_of_the_mask_stay_hard_and_count_nowhere():
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], 20)[None].repeat(40, 0)
    image = labels * 3.0 + rng.normal(size=labels.shape)
    mask = np.ones(labels.shape, bool)
    mask[10:20] = False
    spoilt = np.where(mask, image, 1e6)
    maps = soften(labels, spoilt, mask=mask)
    assert not maps.band[~mask].any() and maps.band[mask].any()
    np.testing.assert_array_equal(maps.dense(), soften(labels, image, mask=mask).dense())


def test_far_from_boundaries_labels_stay_hard():
    labels = np.repeat([0, 1], 40)[None].repeat(30, 0)
    image = np.random.default_rng(0).normal(size=labels.shape)
    band = soften(labels, image).band
    assert not band[:, :34].any() and not band[:, 46:].any() and band[:, 39:41].all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"boundary_sd": 0}, "boundary_sd must be a positive number; got 0"),
        ({"window": -1}, "window must be a positive number; got -1"),
        ({"temper": 0.5}, "temper must be 1 or more; got 0.5"),
        ({"image_sigma": -1}, "image_sigma must not be negative; got -1"),
    ],
)
def test_options_that_cannot_be(options, words):
    with pytest.raises(ValueError, match=words):
        PosteriorOptions(**options)


def test_what_is_missing_or_does_not_fit_is_named():
    labels = np.array([[0, 1], [0, 1]])
    with pytest.raises(ValueError, match="The method posterior looks at the image; give image="):
        softlabel.soften(labels, method="posterior")
    with pytest.raises(ValueError, match=r"mask and labels must have one shape; got \(2,\)"):
        soften(labels, labels * 1.0, mask=np.ones(2, bool))
    with pytest.raises(ValueError, match="The method gaussian uses no mask; leave mask out"):
        softlabel.soften(labels, method="gaussian", mask=np.ones((2, 2), bool))
