"""Metrics against MedPy, SimpleITK, and formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from medpy.metric import binary as medpy
from scipy import ndimage
from softlabel_train.metrics import CLASS_SETS, calibration, evaluate, near_boundary

from softlabel.types import ClassTable

SPACINGS = {1: (0.7,), 2: (0.5, 2.0), 3: (0.958, 0.958, 3.0)}


@st.composite
def two_maps(draw, n_classes=4):
    """Label maps of single pixels, or of blocks that have an inside."""
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=5))
    coarse = hnp.arrays(np.uint8, shape, elements=st.integers(0, n_classes - 1))
    block = np.ones((draw(st.integers(1, 3)),) * len(shape), np.uint8)
    return np.kron(draw(coarse), block), np.kron(draw(coarse), block)


@given(two_maps(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_equals_medpy(maps, spaced):
    pred, truth = maps
    spacing = SPACINGS[truth.ndim] if spaced else None
    scores = evaluate(pred, truth, range(4), spacing)
    for value, found in scores.items():
        p, g = pred == value, truth == value
        if not (p.any() or g.any()):
            assert all(math.isnan(v) for v in found.values())
            continue
        assert found["dice"] == pytest.approx(medpy.dc(p, g), abs=1e-12)
        if not (p.any() and g.any()):
            assert found["dice"] == found["vs"] == found["nsd"] == 0
            assert all(math.isnan(found[m]) for m in ("hd95", "asd", "assd"))
            continue
        assert found["precision"] == pytest.approx(medpy.precision(p, g))
        assert found["recall"] == pytest.approx(medpy.recall(p, g))
        assert found["vs"] == pytest.approx(
            1 - abs(medpy.ravd(p, g)) * g.sum() / (p.sum() + g.sum())
        )
        p, g, step = without_axes_of_one_pixel(p, g, spacing)
        for name, function in (("hd95", medpy.hd95), ("asd", medpy.asd), ("assd", medpy.assd)):
            assert found[name] == pytest.approx(function(p, g, step), abs=1e-6), name


def without_axes_of_one_pixel(p, g, spacing):
    """What our distances are measured on: MedPy would take every pixel of a slice for surface."""
    long = [axis for axis, length in enumerate(p.shape) if length > 1]
    if not long:
        return p, g, spacing
    return p.squeeze(), g.squeeze(), spacing and tuple(spacing[axis] for axis in long)


def blobs(seed, shape=(40, 44, 12), classes=6):
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(
        rng.standard_normal((2, *shape)), (0, 3, 3, 1)[: len(shape) + 1]
    )
    field /= field.std()
    truth = np.digitize(field[0], np.linspace(-1.5, 1.5, classes - 1))
    pred = np.digitize(field[0] + 0.15 * field[1], np.linspace(-1.5, 1.5, classes - 1))
    return pred.astype(np.int16), truth.astype(np.int16)


@pytest.mark.parametrize("shape", [(60, 70), (40, 44, 12)])
def test_equals_medpy_on_smooth_regions(shape):
    pred, truth = blobs(0, shape)
    spacing = SPACINGS[len(shape)]
    for value, found in evaluate(pred, truth, range(6), spacing).items():
        p, g = pred == value, truth == value
        for name in ("hd95", "asd", "assd"):
            assert found[name] == pytest.approx(getattr(medpy, name)(p, g, spacing), abs=1e-6)


@given(two_maps(3), st.integers(0, 2))
@settings(max_examples=80, deadline=None)
def test_ignored_pixels_count_nowhere(maps, ignore):
    pred, truth = maps
    before = evaluate(pred, truth, range(3), ignore=ignore)
    other = np.where(truth == ignore, (pred + 1) % 3, pred)
    after = evaluate(other, truth, range(3), ignore=ignore)
    assert all(before[c] == pytest.approx(after[c], nan_ok=True) for c in range(3))
    assert not before[ignore]["dice"] > 0


def surface_written_out(mask, ignored):
    """Pixel by pixel: a face neighbour (or the outside) that is neither the class nor ignored."""
    found = np.zeros(mask.shape, bool)
    for x in zip(*np.nonzero(mask), strict=True):
        for axis in range(mask.ndim):
            for step in (-1, 1):
                y = list(x)
                y[axis] += step
                outside = not 0 <= y[axis] < mask.shape[axis]
                if outside or not (mask[tuple(y)] or ignored[tuple(y)]):
                    found[x] = True
    return found


@given(two_maps(4))
@example((np.array([[1, 1, 1]]), np.array([[1, 0, 0]])))
@settings(max_examples=80, deadline=None)
def test_surfaces_that_only_an_ignored_area_creates_are_left_out(maps):
    pred, truth = maps
    scores = evaluate(pred, truth, [1], ignore=3)[1]
    pred, truth, _ = without_axes_of_one_pixel(pred, truth, None)
    ignored = truth == 3
    p, g = (pred == 1) & ~ignored, (truth == 1) & ~ignored
    if not (p.any() and g.any()):
        return
    s_p, s_g = (np.argwhere(surface_written_out(m, ignored)) for m in (p, g))
    if not (len(s_p) and len(s_g)):
        assert math.isnan(scores["asd"]) and math.isnan(scores["nsd"])
        return
    table = np.linalg.norm(s_p[:, None] - s_g[None], axis=2)
    pooled = np.concatenate([table.min(1), table.min(0)])
    assert scores["asd"] == pytest.approx(table.min(1).mean())
    assert scores["assd"] == pytest.approx(pooled.mean())
    assert scores["hd95"] == pytest.approx(np.percentile(pooled, 95))
    assert scores["nsd"] == pytest.approx((pooled <= 1).mean())


def test_mrbrains18_takes_the_larger_directed_percentile():
    pred, truth = blobs(1)
    spacing = SPACINGS[3]
    for value, found in evaluate(pred, truth, range(6), spacing, convention="mrbrains18").items():
        p, g = pred == value, truth == value
        s_p, s_g = (m ^ ndimage.binary_erosion(m) for m in (p, g))
        there = ndimage.distance_transform_edt(~s_g, sampling=spacing)[s_p]
        back = ndimage.distance_transform_edt(~s_p, sampling=spacing)[s_g]
        assert found["hd95"] == pytest.approx(
            max(np.percentile(there, 95), np.percentile(back, 95))
        )
        assert found["assd"] == pytest.approx(medpy.assd(p, g, spacing))


@pytest.mark.parametrize("shape", [(60, 70), (40, 44, 12)])
def test_medpy040_averages_both_directions(shape):
    pred, truth = blobs(4, shape)
    spacing = SPACINGS[len(shape)]
    for value, found in evaluate(pred, truth, range(6), spacing, convention="medpy040").items():
        p, g = pred == value, truth == value
        directed = [medpy.asd(p, g, spacing), medpy.asd(g, p, spacing)]
        assert directed[0] != pytest.approx(directed[1]), "else the mean says nothing"
        assert found["assd"] == pytest.approx(np.mean(directed))
        assert found["hd95"] == pytest.approx(medpy.hd95(p, g, spacing))


def test_mrbrains18_slices_equals_the_challenge_computed_with_simpleitk():
    sitk = pytest.importorskip("SimpleITK")
    pred, truth = blobs(2)
    spacing = SPACINGS[3]

    def edge(mask):
        # SimpleITK's axes are reversed: (1, 1, 0) erodes the first two axes of these arrays
        image = sitk.GetImageFromArray(mask.astype(np.uint8).T)
        return sitk.GetArrayFromImage(image - sitk.BinaryErode(image, (1, 1, 0))).T > 0

    scores = evaluate(pred, truth, range(6), spacing, convention="mrbrains18-slices")
    for value, found in scores.items():
        s_p, s_g = edge(pred == value), edge(truth == value)
        there = ndimage.distance_transform_edt(~s_g, sampling=spacing)[s_p]
        back = ndimage.distance_transform_edt(~s_p, sampling=spacing)[s_g]
        expected = max(np.percentile(there, 95), np.percentile(back, 95))
        assert found["hd95"] == pytest.approx(expected), value


@given(two_maps(2), st.booleans())
@settings(max_examples=80, deadline=None)
def test_evalseg_averages_over_regions(maps, spaced):
    pred, truth = maps
    p, g = pred == 1, truth == 1
    if not (p.any() and g.any()):
        return
    spacing = SPACINGS[p.ndim] if spaced else (1.0,) * p.ndim
    found = evaluate(pred, truth, [1], spacing, convention="evalseg")[1]
    x, y = np.argwhere(p) * spacing, np.argwhere(g) * spacing
    table = np.linalg.norm(x[:, None] - y[None], axis=2)
    there, back = table.min(1), table.min(0)
    assert found["asd"] == pytest.approx(there.mean())
    assert found["assd"] == pytest.approx((there.mean() + back.mean()) / 2)
    missed = np.sort([d for d in [*there, *back] if d > 0])
    assert found["hd95"] == pytest.approx(
        missed[int(0.95 * (len(missed) - 1))] if len(missed) else 0
    )


def test_normalised_surface_dice_by_hand():
    truth, pred = np.zeros((12, 12), int), np.zeros((12, 12), int)
    truth[2:8, 2:8] = 1
    pred[2:8, 4:10] = 1  # moved by two columns
    scores = {t: evaluate(pred, truth, [1], tolerance=t)[1]["nsd"] for t in (0, 1, 2)}
    assert scores[2] == 1
    # of 20 surface pixels a side, the 4 columns in common of the top and bottom rows coincide,
    # and so do the pixels (of the vertical sides' rows 2 and 7) that those rows already hold
    s_p, s_g = (m & ~ndimage.binary_erosion(m) for m in (pred == 1, truth == 1))
    assert scores[0] == pytest.approx((2 * (s_p & s_g).sum()) / (s_p.sum() + s_g.sum()))
    assert scores[0] < scores[1] < scores[2]


def test_a_tolerance_equal_to_a_distance_counts_in_spite_of_rounding():
    truth, pred = np.zeros(9, int), np.zeros(9, int)
    truth[2], pred[5] = 1, 1
    assert evaluate(pred, truth, [1], (0.1,), tolerance=0.3)[1]["nsd"] == 1


def test_class_sets_and_names():
    assert CLASS_SETS["oct"].values == (1, 2, 3, 4, 5, 6, 7, 9)
    truth = np.array([[0, 1, 9, 10], [1, 1, 9, 2]])
    pred = np.array([[0, 1, 1, 2], [1, 2, 2, 2]])
    scores = evaluate(pred, truth, "mrbrains18")
    assert set(scores) == set(range(1, 9))
    # columns of 9 and 10 are removed from both: class 1 is {3 true, 2 predicted, 2 common}
    assert scores[1]["dice"] == pytest.approx(4 / 5)
    assert scores[2]["dice"] == pytest.approx(2 / 3)
    assert list(evaluate(pred, truth, {1: "grey", 2: "basal"})) == ["grey", "basal"]
    assert list(evaluate(pred, truth, ClassTable((1, 2), ("grey", "basal")))) == ["grey", "basal"]


def test_values_far_apart_negative_and_wide_types():
    truth = np.array([[-1, 5, 100_000], [5, 5, 100_000]], np.int64)
    pred = np.array([[5, 5, 5], [5, 100_000, 100_000]], np.int64)
    far = evaluate(pred, truth, [5, 100_000], ignore=-1)
    table = {-1: 2, 5: 0, 100_000: 1}
    near = evaluate(*(np.vectorize(table.get)(m) for m in (pred, truth)), [0, 1], ignore=2)
    assert list(far.values()) == list(near.values())


def test_one_pixel_and_filled_images():
    full = np.ones((3, 3), int)
    scores = evaluate(full, full, [1])[1]
    assert scores["dice"] == 1 and scores["hd95"] == 0 and scores["nsd"] == 1
    assert evaluate(np.ones((1, 1), int), np.ones((1, 1), int), [1])[1]["assd"] == 0


def test_calibration_written_out():
    rng = np.random.default_rng(0)
    truth = np.zeros((30, 30), int)
    truth[:, 15:] = 4
    truth[:3] = 255
    p = rng.dirichlet([1, 1, 1], (30, 30)).transpose(2, 0, 1)
    found = calibration(p, truth, [0, 4, 7], ignore=255, n_bins=10)
    columns = np.arange(30)
    near = (np.minimum(abs(columns - 14), abs(columns - 15)) <= 5)[None] & np.ones((30, 1), bool)
    for suffix, region in (("", np.ones((30, 30), bool)), ("_boundary", near)):
        use = region & (truth != 255)
        brier, bins = [], {}
        for i, j in zip(*np.nonzero(use), strict=True):
            y = [float(truth[i, j] == v) for v in (0, 4, 7)]
            brier.append(sum((p[k, i, j] - y[k]) ** 2 for k in range(3)))
            k = int(np.argmax(p[:, i, j]))
            bins.setdefault(math.ceil(p[k, i, j] * 10), []).append((p[k, i, j], y[k]))
        ece = sum(
            len(b) / use.sum() * abs(np.mean([c for c, _ in b]) - np.mean([r for _, r in b]))
            for b in bins.values()
        )
        assert found["brier" + suffix] == pytest.approx(np.mean(brier))
        assert found["ece" + suffix] == pytest.approx(ece)


def test_calibration_of_one_class_against_the_rest():
    truth = np.array([0] * 10 + [1] * 10)
    p1 = np.linspace(0, 1, 20)
    scores = evaluate((p1 > 0.5).astype(int), truth, [1], probabilities=np.stack([1 - p1, p1]),
                      class_values=[0, 1])  # fmt: skip
    assert scores[1]["brier"] == pytest.approx(np.mean((p1 - truth) ** 2))
    near = slice(10 - 6, 10 + 6)  # the pixels 9 and 10 touch; five more on both sides
    assert scores[1]["brier_boundary"] == pytest.approx(np.mean((p1[near] - truth[near]) ** 2))
    perfect = evaluate(truth, truth, [0, 1], probabilities=np.stack([truth == 0, truth == 1]))
    assert perfect[0]["ece"] == perfect[1]["brier_boundary"] == 0


def test_near_boundary_knows_no_boundary_to_an_ignored_area():
    truth = np.array([0] * 10 + [9] * 10 + [1] * 10)
    assert not near_boundary(truth, truth == 9).any()
    assert near_boundary(truth, None)[9 - 5 : 11 + 5].all() and not near_boundary(truth, None)[3]


@pytest.mark.parametrize("call, what", [
    (lambda: evaluate(np.zeros((2, 2), int), np.zeros((2, 3), int), [0]), r"\(2, 2\).*\(2, 3\)"),
    (lambda: evaluate(np.zeros(2), np.zeros(2, int), [0]), "float64"),
    (lambda: evaluate(np.zeros(2, int), np.zeros(2, int), "brats"), "oct, mrbrains18"),
    (lambda: evaluate(np.zeros(2, int), np.zeros(2, int), [0], convention="x"), "medpy, evalseg"),
    (lambda: evaluate(np.zeros(2, int), np.zeros(2, int), [0], (1, 1)), "spacing"),
    (lambda: evaluate(np.zeros(2, int), np.zeros(2, int), [0], tolerance=-1), "tolerance"),
    (lambda: evaluate(np.zeros(2, int), np.zeros(2, int), [0], probabilities=np.zeros((2, 2))),
     "class_values"),
    (lambda: evaluate(np.zeros(2, int), np.zeros(2, int), [5], probabilities=np.zeros((2, 2)),
                      class_values=[0, 1]), r"\[5\]"),
])  # fmt: skip
def test_refuses_what_does_not_fit(call, what):
    with pytest.raises(ValueError, match=what):
        call()


def test_distances_can_be_left_out():
    pred, truth = blobs(3, (30, 30))
    full, quick = evaluate(pred, truth, range(7)), evaluate(pred, truth, range(7), distances=False)
    assert list(quick[0]) == ["dice", "vs", "precision", "recall"]
    for value, scores in quick.items():
        assert scores == pytest.approx({n: full[value][n] for n in scores}, nan_ok=True)


def test_what_a_set_excludes_counts_nowhere():
    pred, truth = (a % 11 for a in blobs(5, (30, 32, 10), classes=14))
    outside = np.isin(truth, (9, 10))
    assert outside.any()
    p = np.random.default_rng(0).dirichlet(np.ones(11), truth.shape)
    p = np.moveaxis(p, -1, 0).astype(np.float32)
    scores = evaluate(pred, truth, "mrbrains18", probabilities=p, class_values=range(11))
    assert set(scores) == set(range(1, 9))
    # neither what is predicted there nor with which probability
    other = np.where(outside, (pred + 1) % 9, pred)
    q = np.where(outside, np.roll(p, 1, 0), p)
    assert scores == evaluate(other, truth, "mrbrains18", probabilities=q, class_values=range(11))
    overall = [calibration(x, truth, range(11), excluded=(9, 10)) for x in (p, q)]
    assert overall[0] == overall[1] != calibration(p, truth, range(11))
    known = calibration(p[:, ~outside], truth[~outside], range(11))
    assert overall[0]["brier"] == pytest.approx(known["brier"])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("convention", ["medpy", "mrbrains18"])
def test_a_volume_of_one_slice_scores_as_its_image(axis, convention):
    """Unlike in MedPy, where every pixel of it is surface."""
    pred, truth = blobs(3, (40, 44))
    flat = evaluate(pred, truth, range(6), (0.5, 0.75), convention=convention)
    spacing = [0.5, 0.75]
    spacing.insert(axis, 4.0)
    deep = evaluate(np.expand_dims(pred, axis), np.expand_dims(truth, axis), range(6),
                    tuple(spacing), convention=convention)  # fmt: skip
    assert deep == flat and flat[1]["assd"] > 0
