"""The superpixel method against tests/reference.py, worked examples and its bound."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import reference
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import scenes

import softlabel
from softlabel.softening.superpixel import SuperpixelOptions
from softlabel.types import coarsest_axis

BOUNDARIES = ("inner", "outer", "edge", "symmetric")

options = st.fixed_dictionaries(
    {
        "scale": st.sampled_from([None, None, 0.3, 2.5]),
        "normalize": st.sampled_from(["none", "sum"]),
        "min_minority": st.sampled_from([0.0, 0.0, 0.1, 0.25, 0.5, 1.0]),
        "conversion": st.sampled_from(["eq1", "eq1", "probit", "logistic"]),
    }
)


def soften(scene, **kwargs):
    return softlabel.soften(
        scene.labels, scene.superpixels, classes=scene.classes, spacing=scene.spacing,
        ignore=scene.ignore, **kwargs,
    )  # fmt: skip


def expected(scene, **kwargs):
    return reference.soften(
        scene.labels, scene.superpixels, scene.classes, spacing=scene.spacing,
        ignore=scene.ignore, **kwargs,
    )  # fmt: skip


def signed_distance(q, scale):
    """Eq. 1 solved for d."""
    return scale * (2 * q - 1) / (1 - np.abs(2 * q - 1))


# --- the dense reference --------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("ndim", [1, 2, 3])
@given(data=st.data())
def test_equals_the_dense_reference(ndim, boundary, data):
    scene = data.draw(scenes(ndim=(ndim,)))
    chosen = data.draw(options)
    found = soften(scene, boundary=boundary, **chosen).dense()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(scene, boundary=boundary, **chosen), atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(data=st.data())
def test_equals_the_reference_slice_by_slice(boundary, data):
    scene = data.draw(scenes(ndim=(2, 3)))
    axis = data.draw(st.integers(0, scene.labels.ndim - 1))
    chosen = data.draw(options)
    found = soften(scene, boundary=boundary, in_plane=True, slice_axis=axis, **chosen).dense()
    wanted = expected(scene, boundary=boundary, slice_axis=axis, **chosen)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(300,), (75, 90), (70, 5, 6), (4, 66, 5), (5, 4, 80)])
@pytest.mark.parametrize("ignored", [False, True])
def test_finds_boundaries_that_are_far_away(shape, boundary, ignored):
    """One superpixel over everything: the search widens several times, far beyond 60 pixels."""
    labels = np.zeros(shape, int)
    labels[(0,) * len(shape)] = 1
    labels[(slice(-2, None),) * len(shape)] = 2
    if ignored:  # across the middle, so that it separates the classes from most of the background
        longest = int(np.argmax(shape))
        labels[(slice(None),) * longest + (slice(20, 40),)] = 9
    whole = np.zeros(shape, int)
    for spacing in (None, (0.25, 1.0, 0.7)[: len(shape)]):
        chosen = {"boundary": boundary, "spacing": spacing, "ignore": 9}
        found = softlabel.soften(labels, whole, classes=(0, 1, 2), **chosen).dense()
        wanted = reference.soften(labels, whole, (0, 1, 2), **chosen)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_many_classes_take_two_bytes(boundary):
    """From 255 classes on the index map is uint16."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 300, (18, 20)) * 7
    labels[rng.random(labels.shape) < 0.1] = 3
    superpixels = np.arange(labels.size).reshape(labels.shape) // 50
    classes = tuple(range(0, 2100, 7))
    maps = softlabel.soften(labels, superpixels, classes=classes, ignore=3, boundary=boundary)
    assert maps.index.dtype == np.uint16
    wanted = reference.soften(labels, superpixels, classes, ignore=3, boundary=boundary)
    np.testing.assert_allclose(maps.dense(), wanted, atol=1e-6)


@settings(max_examples=settings.default.max_examples // 8, suppress_health_check=list(HealthCheck))
@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(scene=scenes(), chosen=options, in_plane=st.booleans())
def test_kernels_are_right_as_plain_python(interpreted, boundary, scene, chosen, in_plane):
    assert any(name.startswith("softlabel.distance.transform.") for name in interpreted)
    axis = 0 if in_plane and scene.labels.ndim > 1 else None
    maps = soften(
        scene, boundary=boundary, in_plane=axis is not None, slice_axis=axis or 0, **chosen
    )
    wanted = expected(scene, boundary=boundary, slice_axis=axis, **chosen)
    np.testing.assert_allclose(maps.dense(), wanted, atol=1e-6)
    np.testing.assert_allclose(maps.total(), wanted.sum(), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(maps.band, ((maps.dense() % 1) != 0).any(axis=0))


def test_an_all_ones_mask_has_no_boundary():
    """SciPy's EDT measures to a pixel outside of the image there; nothing may leak from that."""
    for boundary in BOUNDARIES:
        labels = np.full((6, 7), 4)
        maps = softlabel.soften(labels, np.zeros((6, 7), int), classes=(2, 4), boundary=boundary)
        assert (maps.dense()[0] == 0).all() and (maps.dense()[1] == 1).all()
        assert not maps.band.any()


# --- worked examples ------------------------------------------------------------------------------

ROW = np.array([1, 1, 1, 1, 1, 0, 0, 0])
WORKED = {
    "inner": [0.9, 7 / 8, 5 / 6, 0.75, 0.5, 0.25, 1 / 6, 1 / 8],
    "outer": [11 / 12, 0.9, 7 / 8, 5 / 6, 0.75, 0.5, 0.25, 1 / 6],
    "edge": [10 / 11, 8 / 9, 6 / 7, 0.8, 2 / 3, 1 / 3, 0.2, 1 / 7],
    "symmetric": [11 / 12, 0.9, 7 / 8, 5 / 6, 0.75, 0.25, 1 / 6, 1 / 8],
}


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_worked_example_in_one_row(boundary):
    q = softlabel.soften(ROW, np.zeros(8, int), boundary=boundary).dense()
    np.testing.assert_allclose(q[1], WORKED[boundary], atol=1e-7)
    # class 0 is the three right pixels, so its map is the mirror image of the other three
    np.testing.assert_allclose(q[0][::-1][:3], WORKED[boundary][2:5], atol=1e-7)


@pytest.mark.parametrize(
    ("boundary", "pair"),
    [("inner", (1 / 2, 1 / 4)), ("outer", (3 / 4, 1 / 2)), ("edge", (2 / 3, 1 / 3)),
     ("symmetric", (3 / 4, 1 / 4))],
)  # fmt: skip
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pair_across_a_straight_edge(boundary, pair, axis):
    labels = np.moveaxis(np.zeros((6, 4, 5), int), 0, axis)
    labels[(slice(None),) * axis + (slice(0, 3),)] = 1
    q = softlabel.soften(labels, np.zeros(labels.shape, int), boundary=boundary).dense()
    own = np.moveaxis(q[1], axis, 0)
    np.testing.assert_allclose(own[2], pair[0], atol=1e-7)
    np.testing.assert_allclose(own[3], pair[1], atol=1e-7)
    sums_to_one = boundary in ("edge", "symmetric")
    assert np.allclose(q.sum(axis=0), 1, atol=1e-6) == sums_to_one


def test_default_is_the_paper_read_literally():
    default = softlabel.soften(ROW, np.zeros(8, int)).dense()
    np.testing.assert_allclose(default[1], WORKED["inner"], atol=1e-7)


def test_edge_measures_to_the_corner_of_a_pixel():
    """The one pixel of class 1 at Δ = (1, 2): its near corner is (½, 3/2) pixels away."""
    labels = np.zeros((2, 3), int)
    labels[0, 0] = 1
    q = softlabel.soften(labels, np.zeros((2, 3), int), boundary="edge", scale=10.0).dense()[1]
    assert signed_distance(q[1, 2], 10.0) == pytest.approx(-np.hypot(0.5, 1.5), rel=1e-5)
    assert signed_distance(q[0, 0], 10.0) == pytest.approx(0.5, rel=1e-5)


def test_faces_are_not_corners():
    """A pixel that touches the other class at a corner only is no boundary pixel."""
    labels = np.ones((3, 3), int)
    labels[0, 0] = 0
    q = softlabel.soften(labels, np.zeros((3, 3), int)).dense()[1]
    assert q[0, 1] == q[1, 0] == 0.5
    assert q[1, 1] == 0.75


def test_the_border_of_the_image_is_no_boundary():
    q = softlabel.soften(ROW, np.zeros(8, int), boundary="symmetric").dense()[1]
    assert q[0] > q[1] > q[2]


# --- which pixels are softened --------------------------------------------------------------------


def test_only_mixed_superpixels_are_softened():
    superpixels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    maps = softlabel.soften(ROW, superpixels)
    np.testing.assert_array_equal(maps.band, superpixels == 1)
    np.testing.assert_allclose(maps.dense()[1], [1, 1, 1, 1, 0.5, 0.25, 0, 0])


def test_a_class_that_a_superpixel_does_not_hold_stays_zero_there():
    labels = np.array([0, 0, 1, 1, 2, 2])
    superpixels = np.array([0, 0, 0, 1, 1, 1])
    q = softlabel.soften(labels, superpixels).dense()
    assert (q[2][:3] == 0).all() and (q[0][3:] == 0).all()
    assert (q[1] > 0).all()


def test_pixels_without_superpixel_stay_hard_but_their_labels_count():
    """The boundary lies between two pixels of no superpixel; distances still measure to it."""
    superpixels = np.array([0, 0, 0, -1, -1, -1, 0, 0])
    maps = softlabel.soften(ROW, superpixels, boundary="symmetric")
    np.testing.assert_array_equal(maps.band, superpixels == 0)
    np.testing.assert_allclose(
        maps.dense()[1], [11 / 12, 0.9, 7 / 8, 1, 1, 0, 1 / 6, 1 / 8], atol=1e-7
    )


def test_min_minority_is_the_share_outside_the_largest_class():
    labels = np.array([0, 0, 0, 1, 0, 0, 1, 1])
    superpixels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    for threshold, softened in ((0.0, 8), (0.25, 8), (0.26, 4), (0.5, 4), (0.51, 0), (1.0, 0)):
        band = softlabel.soften(labels, superpixels, min_minority=threshold).band
        assert band.sum() == softened, threshold
    assert softlabel.soften(labels, superpixels, min_minority=0.26).band[4:].all()


def test_ignored_pixels_do_not_count_for_min_minority():
    labels = np.array([0, 1, 9, 9, 9, 9])
    band = softlabel.soften(labels, np.zeros(6, int), ignore=9, min_minority=0.5).band
    np.testing.assert_array_equal(band, [True, True, False, False, False, False])


# --- ignored pixels -------------------------------------------------------------------------------


@given(scene=scenes(ignore=("sparse", "area", "most")), chosen=options, data=st.data())
def test_ignored_pixels_are_zero_and_outside_of_the_band(scene, chosen, data):
    maps = soften(scene, boundary=data.draw(st.sampled_from(BOUNDARIES)), **chosen)
    ignored = scene.labels == scene.ignore
    assert (maps.dense()[:, ignored] == 0).all()
    assert not maps.band[ignored].any()
    np.testing.assert_array_equal(maps.known, ~ignored)


@pytest.mark.parametrize(
    ("boundary", "q"),
    [
        ("inner", [1, 1, 1, 0, 1 / 6, 1 / 8]),  # no pixel of class 1 faces a known other one
        ("outer", [0.9, 7 / 8, 5 / 6, 0, 0, 0]),  # nor the reverse
        ("edge", [8 / 9, 6 / 7, 0.8, 0, 0.2, 1 / 7]),
        ("symmetric", [0.9, 7 / 8, 5 / 6, 0, 1 / 6, 1 / 8]),
    ],
)
def test_the_edge_of_an_ignored_area_is_no_boundary(boundary, q):
    labels = np.array([1, 1, 1, 9, 0, 0])
    found = softlabel.soften(labels, np.zeros(6, int), ignore=9, boundary=boundary).dense()
    np.testing.assert_allclose(found[1], q, atol=1e-7)


def test_beyond_the_diagonal_across_ignored_pixels_it_stays_hard():
    """Superpixel 0 holds both classes, its pixels are at most 4 apart; the nearest face is 6."""
    labels = np.array([[1, 9, 0], [1, 9, 0], [1, 9, 9], [1, 9, 9], [1, 9, 9], [1, 9, 9], [1, 0, 0]])
    superpixels = np.full(labels.shape, -1)
    superpixels[0] = 0
    found = softlabel.soften(labels, superpixels, ignore=9).dense()
    assert found[1, 0, 0] == 1  # 6 pixels to the boundary pixel in the last row, over √(0 + 2²)
    assert found[1, 0, 2] == np.float32(1 / 6)  # 2 pixels to the nearest pixel of class 1, over 3
    superpixels[:, 0] = 0
    assert softlabel.soften(labels, superpixels, ignore=9).dense()[1, 0, 0] == np.float32(13 / 14)


# --- the bound ------------------------------------------------------------------------------------


@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(scene=scenes(ignore=("none",)))
def test_distances_never_exceed_the_diagonal_of_the_superpixel(boundary, scene):
    """Without ignored pixels every pixel of a mixed superpixel is soft, for every class it holds,
    and d, recovered from q, is bounded by the diagonal of the superpixel's bounding box."""
    step = np.ones(scene.labels.ndim) if scene.spacing is None else np.array(scene.spacing)
    scale = 5.0
    q = soften(scene, boundary=boundary, scale=scale).dense(np.float64)
    for s in np.unique(scene.superpixels[scene.superpixels >= 0]):
        here = scene.superpixels == s
        held = [k for k, c in enumerate(scene.classes) if (scene.labels[here] == c).any()]
        corners = np.argwhere(here)
        diagonal = np.sqrt((((corners.max(0) - corners.min(0)) * step) ** 2).sum())
        for k in held if len(held) > 1 else []:
            assert ((q[k][here] > 0) & (q[k][here] < 1)).all()
            d = signed_distance(q[k][here], scale)
            assert np.abs(d).max() <= diagonal * (1 + 1e-4) + 1e-5
            own = scene.labels[here] == scene.classes[k]
            assert (d[own] > -1e-6).all() and (d[~own] < 1e-6).all()


# --- units ----------------------------------------------------------------------------------------


@given(scene=scenes(), boundary=st.sampled_from(BOUNDARIES), factor=st.sampled_from([0.25, 3.0]))
def test_the_unit_of_the_spacing_does_not_matter(scene, boundary, factor):
    """scale=None is the smallest spacing, so mm, µm and (isotropic) pixels agree."""
    step = (1.0,) * scene.labels.ndim if scene.spacing is None else scene.spacing
    q = [
        softlabel.soften(
            scene.labels, scene.superpixels, classes=scene.classes, ignore=scene.ignore,
            boundary=boundary, spacing=spacing,
        ).dense()
        for spacing in (scene.spacing, step, tuple(s * factor for s in step))
    ]  # fmt: skip
    np.testing.assert_allclose(q[1], q[0], atol=1e-6)
    np.testing.assert_allclose(q[2], q[0], atol=1e-6)


def test_scale_is_the_distance_of_three_quarters():
    q = softlabel.soften(ROW, np.zeros(8, int), boundary="inner", scale=3.0).dense()[1]
    assert q[1] == 0.75 and q[7] == 0.25


def test_spacing_stretches_distances():
    q = softlabel.soften(ROW, np.zeros(8, int), spacing=(2.0,), scale=1.0).dense()[1]
    np.testing.assert_allclose(q[3:6], [5 / 6, 0.5, 1 / 6], atol=1e-7)


# --- in plane -------------------------------------------------------------------------------------


def test_in_plane_slices_lie_across_the_coarsest_axis():
    assert coarsest_axis((3.0, 1.0, 1.0)) == 0
    assert coarsest_axis((1.0, 3.0, 1.0)) == 1
    assert coarsest_axis((1.0, 1.0)) == 1
    rng = np.random.default_rng(8)
    labels, superpixels = rng.integers(0, 2, (5, 6, 7)), rng.integers(0, 9, (5, 6, 7))
    for spacing in ((3.0, 1.0, 1.0), (1.0, 3.0, 1.0), (1.0, 1.0, 3.0), None):
        axis = 2 if spacing is None else int(np.argmax(spacing))
        found = softlabel.soften(labels, superpixels, spacing=spacing, in_plane=True).dense()
        wanted = reference.soften(labels, superpixels, (0, 1), spacing=spacing, slice_axis=axis)
        np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("spacing", [None, (3.0, 1.0)])
def test_in_plane_changes_nothing_in_an_image_of_one_plane(spacing):
    labels = np.zeros((9, 12), int)
    labels[3:, 6:] = 1
    one = np.zeros(labels.shape, int)
    plain = softlabel.soften(labels, one, spacing=spacing).dense()
    found = softlabel.soften(labels, one, spacing=spacing, in_plane=True).dense()
    np.testing.assert_array_equal(found, plain)


def test_in_plane_ignores_boundaries_between_slices():
    labels = np.zeros((2, 4), int)
    labels[1] = 1
    superpixels = np.zeros((2, 4), int)
    assert softlabel.soften(labels, superpixels).band.all()
    assert not softlabel.soften(labels, superpixels, in_plane=True, slice_axis=0).band.any()


# --- wrong options --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"boundary": "middle"}, "boundary must be one of inner, outer, edge, symmetric; got 'mid"),
        ({"min_minority": -0.1}, "min_minority must lie in 0..1; got -0.1"),
        ({"min_minority": 1.5}, "min_minority must lie in 0..1; got 1.5"),
        ({"min_minority": float("nan")}, "min_minority must lie in 0..1; got nan"),
    ],
)
def test_wrong_options(wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        SuperpixelOptions(**wrong)


@pytest.mark.parametrize("axis", [-1, 2])
def test_slice_axis_must_be_an_axis(axis):
    labels = np.eye(3, dtype=int)
    with pytest.raises(ValueError, match=rf"slice_axis must lie in 0\.\.1; got {axis}"):
        softlabel.soften(labels, np.zeros((3, 3), int), in_plane=True, slice_axis=axis)


def test_a_single_row_has_no_slices():
    with pytest.raises(ValueError, match="in_plane needs 2 or 3 spatial axes; got 1"):
        softlabel.soften(ROW, np.zeros(8, int), in_plane=True)


# --- memory ---------------------------------------------------------------------------------------

MAKE_VOLUME = """
import sys
import numpy as np
from scipy.spatial import cKDTree

rng = np.random.default_rng(0)
shape = (256, 256, 192)
axes = np.indices(shape, np.float32).reshape(3, -1).T
for name, sites, kind in (("labels", 117, np.uint8), ("superpixels", 4000, np.int32)):
    nearest = cKDTree(rng.uniform(0, shape, (sites, 3))).query(axes)[1]
    np.save(f"{sys.argv[1]}/{name}.npy", nearest.astype(kind).reshape(shape))
"""

SOFTEN_VOLUME = """
import json, resource, sys, time
import numpy as np
import softlabel

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

small = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
softlabel.soften(small, np.zeros((2, 2, 2), np.int32)).band  # compiles, which takes memory too
before = peak()
labels = np.load(f"{sys.argv[1]}/labels.npy")
superpixels = np.load(f"{sys.argv[1]}/superpixels.npy")
start = time.perf_counter()
maps = softlabel.soften(labels, superpixels)
seconds = time.perf_counter() - start
print(json.dumps({"mib": peak() - before, "seconds": seconds, "classes": len(maps.classes),
                  "maps_mib": maps.nbytes / 2**20, "band": float(maps.band.mean())}))
"""


@pytest.mark.study
def test_a_whole_body_volume_softens_in_little_memory(tmp_path, capsys):
    """117 classes in 256×256×192: dense maps alone would be 5.9 GB."""
    subprocess.run([sys.executable, "-c", MAKE_VOLUME, str(tmp_path)], check=True)
    # a fresh process: the peak of this one is whatever ran before
    run = subprocess.run(
        [sys.executable, "-c", SOFTEN_VOLUME, str(tmp_path)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    seen = json.loads(run.stdout)
    with capsys.disabled():
        print(f"\n{seen}")
    assert seen["classes"] == 117 and seen["band"] > 0.1
    assert seen["mib"] < 600
