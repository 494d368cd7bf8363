"""``make bench`` can call every benchmark that it lists, and those without a peer measure right."""

import ast
import dataclasses
import os
import shlex
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from factories import write_scenes
from scipy.stats import entropy, norm

import softlabel
from benchmarks.run import BENCHMARKS
from softlabel.generation.settings import Settings
from softlabel.softening import METHODS
from softlabel.types import Case, ClassTable

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_takes_repeats(name):
    """Read, not imported: they limit the threads of their process."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    [main] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
    assert main.args.args[0].arg == "repeats"
    assert len(main.args.defaults) == len(main.args.args)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_modules_that_a_benchmark_names_are_there(path):
    """In functions too, and in the code that it gives to processes of their own."""
    texts = [path.read_text()]
    for text in texts:
        nodes = list(ast.walk(ast.parse(text)))
        texts += [
            node.value
            for node in nodes
            if isinstance(node, ast.Constant) and "\nimport " in str(node.value)
        ]
        named = [n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module]
        for name in named:
            if name.startswith("softlabel") and not name.startswith("softlabel_train"):
                assert find_spec(name), f"{path.name} imports {name}"


@pytest.fixture
def benchmark_module(monkeypatch):
    """Import a benchmark; the limits of threads that it sets do not outlast the test."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    return lambda name: import_module(f"benchmarks.{name}")


# --- softness -------------------------------------------------------------------------------------


@pytest.fixture
def stripes():
    """Two stripes of three classes, of which one column is ignored."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 0, 1, 1, 1, 2, 2, 2, 2, 9], 3)[None].repeat(24, axis=0).astype(np.uint8)
    image = (60.0 * labels + rng.normal(0, 9, labels.shape)).astype(np.float32)[None]
    return Case("stripes", image, labels, ClassTable.from_values([0, 1, 2]), ignore=9)


def test_mean_entropy_is_that_of_the_known_pixels_in_bits(benchmark_module, stripes):
    softness = benchmark_module("softness")
    settings = Settings(n_segments=20)
    dense = softness.softened(stripes, settings).dense(np.float64)
    expected = entropy(dense[:, stripes.labels != 9], base=2, axis=0).mean()
    assert expected > 0.05
    assert softness.mean_entropy([softness.softened(stripes, settings)]) == pytest.approx(
        expected, rel=1e-5
    )


def test_a_control_is_found_by_its_entropy(benchmark_module, stripes):
    softness = benchmark_module("softness")
    [gaussian] = [control for control in softness.CONTROLS if control.name == "gaussian"]
    blurred = softness.softened(stripes, Settings(method="gaussian", method_options={"blur": 1.7}))
    wanted = softness.mean_entropy([blurred])
    found = softness.matched([stripes], gaussian, Settings(), wanted)
    assert found == pytest.approx(1.7, rel=0.02)


def test_a_cache_gets_controls_as_soft_as_its_labels(benchmark_module, tmp_path):
    softness = benchmark_module("softness")
    settings = Settings(n_segments=24, boundary="outer")
    softlabel.generate(write_scenes(tmp_path / "scenes"), tmp_path / "cache.h5", settings)
    own, *controls = softness.of_cache(tmp_path / "cache.h5", 2)
    with softlabel.open_cache(tmp_path / "cache.h5") as cache:
        stored = [case.soft[...] for case in list(cache.values())[:2]]
    expected = np.mean([entropy(soft, base=2, axis=0).mean() for soft in stored])
    assert own["entropy"] == pytest.approx(expected, rel=1e-5)
    assert [row["control"] for row in controls] == ["gaussian", "distance", "smoothing", "grid"]
    for row in controls[:3:2]:  # distances and sizes come in steps
        assert row["entropy"] == pytest.approx(expected, rel=0.01)


def test_shuffled_superpixels_have_their_sizes_and_other_places(benchmark_module):
    ids = np.arange(24).reshape(4, 6) // 3
    moved = benchmark_module("softness").shuffled(ids)
    np.testing.assert_array_equal(np.bincount(moved.ravel()), np.bincount(ids.ravel()))
    assert moved[0, 0] == ids[2, 3] and (moved != ids).all()


def test_recipes_take_the_keys_of_every_control(benchmark_module):
    pytest.importorskip("pydantic")
    from softlabel_train.config import generation_settings, load_recipe

    softness = benchmark_module("softness")
    for control in softness.CONTROLS:
        settings = control.settings(0.5 if control.name == "smoothing" else 6.0, Settings())
        keys = shlex.split(softness.recipe_keys(settings))
        recipe = load_recipe("oct_dme", ["generate.preprocess_options={}", *keys])
        assert generation_settings(recipe.generate).recorded() == settings.recorded()


# --- volumes --------------------------------------------------------------------------------------


def test_shares_and_own_class_leave_out_the_first_class(benchmark_module):
    volumes = benchmark_module("volumes")
    labels = np.array([[[0, 0, 0, 0, 1, 1, 2]]])
    case = Case("row", np.zeros((1, 1, 1, 7)), labels, ClassTable.from_values([0, 1, 2]))
    soft = softlabel.soften(labels, np.array([[[0, 0, 0, 1, 1, 2, 3]]]), classes=case.classes)
    # the superpixel in the middle holds one voxel of 0 and of 1, each on its boundary
    assert volumes.shares(case, soft) == {"soft": 2 / 7, "soft, of the classes": 1 / 3}
    assert volumes.own_class(soft) == {"own q": (0.75 + 1) / 2, "lowest own q": 0.75}


def test_recall_is_of_the_boundaries_in_slices(benchmark_module):
    """Superpixels that end at every slice would find all boundaries otherwise."""
    volumes = benchmark_module("volumes")
    labels = np.zeros((12, 12, 2), np.uint8)
    labels[6:] = 1
    case = Case("two slices", labels[None], labels, None, slice_axis=2)
    missed = np.zeros(labels.shape, np.int32)
    missed[:, 6:] = 1
    missed[..., 1] += 2
    along = np.where(np.arange(12) < 6, 0, 1)[:, None, None] + 2 * np.arange(2)
    found = np.broadcast_to(along, labels.shape).astype(np.int32)
    assert volumes.recall_in_slices(case, missed) == pytest.approx(0)
    assert volumes.recall_in_slices(case, found) == pytest.approx(1 - 4 / 12)


def test_a_brain_is_cut_to_its_box(benchmark_module):
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[2:4, 1:6, 3] = 17
    case = benchmark_module("volumes").brain_of(labels.astype(np.float32), labels)
    assert case.shape == case.labels.shape == (2, 5, 1)
    assert case.classes.values == (17,)


# --- soft labels after random changes -------------------------------------------------------------


@pytest.fixture
def patches(benchmark_module):
    """One whole image as a patch, softened with boundaries at the faces of pixels."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")
    resoftening = benchmark_module("resoftening")
    rows, columns = np.indices((25, 25))
    labels = (np.hypot(rows - 11, columns - 14) < 7).astype(np.int64) + (rows > 20)
    ids = rows // 5 * 5 + columns // 5
    soft = softlabel.soften(labels, ids, boundary="edge").dense()
    both = (torch.from_numpy(values)[None] for values in (labels, ids))
    return resoftening.Patches("a disc", *both, torch.from_numpy(soft)[None], "edge", 3)


@pytest.mark.parametrize("degrees, turns", [(0, 0), (90, 1)])
def test_every_way_agrees_where_pixels_meet_pixels(benchmark_module, patches, degrees, turns):
    resoftening = benchmark_module("resoftening")
    grid = resoftening.grid_of(2, (25, 25), degrees, 1.0)
    turned = np.rot90(patches.labels[0], turns)
    if degrees and not (resoftening.nearest(patches.labels, grid)[0].numpy() == turned).all():
        turns = -turns
    expected = np.rot90(patches.soft[0].numpy(), turns, (1, 2))
    labels = resoftening.nearest(patches.labels, grid)
    np.testing.assert_array_equal(labels[0], np.rot90(patches.labels[0], turns))
    for found in (
        resoftening.interpolated(patches, grid),
        resoftening.made_anew(labels, patches, grid),
        resoftening.made_one_by_one(labels, patches, grid),
        resoftening.reference(patches, grid),
    ):
        np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_differences_are_of_the_pixels_that_either_softened(benchmark_module):
    torch = pytest.importorskip("torch")
    pytest.importorskip("monai")
    one = torch.tensor([[[1.0, 0.8, 0.4, 0.0]], [[0.0, 0.2, 0.6, 1.0]]]).view(1, 2, 4)
    other = torch.tensor([[[1.0, 1.0, 0.6, 0.0]], [[0.0, 0.0, 0.5, 1.0]]]).view(1, 2, 4)
    known = torch.ones(1, 4, dtype=torch.bool)
    found = benchmark_module("resoftening").compare(one, other, known)
    assert found == pytest.approx((0.2, 0.5, 0.25))


# --- methods --------------------------------------------------------------------------------------


OWN_METHODS = {"posterior"}


def test_every_published_method_has_a_peer_that_agrees(benchmark_module):
    """What ``measure`` demands of both sides before it times them."""
    methods, dense = benchmark_module("methods"), benchmark_module("dense")
    rng = np.random.default_rng(0)
    labels = np.sort(rng.integers(0, 4, (24, 20)), axis=0).astype(np.uint8)
    labels[10:13, 5:9] = methods.FLUID
    image = rng.random(labels.shape).astype(np.float32)
    ids = np.indices(labels.shape).sum(axis=0) // 6
    peers = dense.PEERS | {"surface-cdf": dense.surface_cdf(methods.FLUID)}
    assert set(peers) == set(METHODS) - {"given"} - OWN_METHODS
    for method, one in [*peers.items(), *((own, None) for own in OWN_METHODS)]:
        row = methods.measure("scene", method, one, (labels, ids, image, 10), 1)
        assert (row["times as fast"] > 0) == (one is not None)
        assert row["dense MB"] == 10 * labels.size * 4 / 1e6


def test_memory_is_what_a_function_takes_at_the_most(benchmark_module):
    growth = benchmark_module("methods").growth
    np.ones(4_000_000, np.uint8)  # from here on arrays of this size come from the heap
    blocks = [np.ones(2_000_000, np.uint8) for _ in range(20)]
    kept = blocks.pop()  # on top, so that what is freed below it stays with the process
    del blocks
    for size, count in ((1_900_000, 10), (40_000_000, 1)):
        found = growth(lambda n=size, k=count: [np.ones(n, np.uint8) for _ in range(k)])
        assert found != found or 0.95 * size * count < found < 1.3 * size * count
    assert kept.all()


# --- benchmarks.labels ----------------------------------------------------------------------------


@pytest.fixture
def drawn_case(benchmark_module):
    """A step of grey, drawn two pixels off, with noise."""
    labels = benchmark_module("labels")
    truth = np.repeat([0, 1], 20)[None].repeat(30, 0)
    image = truth * 5.0 + np.random.default_rng(0).normal(size=truth.shape)
    usable = np.ones(truth.shape, bool)
    usable[:3] = False
    drawn = np.repeat([0, 1], [18, 22])[None].repeat(30, 0)
    return labels.Drawn(image[None].astype(np.float32), drawn, truth, usable, 1)


def test_scores_are_those_of_each_pixel(benchmark_module, drawn_case):
    labels = benchmark_module("labels")
    rng = np.random.default_rng(1)
    q = rng.random((2, *drawn_case.truth.shape))
    band = rng.random(drawn_case.truth.shape) < 0.3
    brier, log, gap, n = 0.0, 0.0, np.zeros(15), 0
    for x in np.argwhere(band):
        p = q[(slice(None), *x)] / q[(slice(None), *x)].sum()
        true = drawn_case.truth[tuple(x)]
        brier += ((p - np.eye(2)[true]) ** 2).sum()
        log -= np.log(0.99 * p[true] + 0.01 / 2)
        gap[int(p.max() * 15)] += p.max() - (p.argmax() == true)
        n += 1
    found = labels.scores(q, drawn_case.truth, band)
    np.testing.assert_allclose(found, [brier / n, log / n, np.abs(gap).sum() / n], rtol=1e-9)


def test_the_band_is_around_what_was_drawn(benchmark_module, drawn_case):
    band = benchmark_module("labels").band_of(drawn_case)
    columns = np.flatnonzero(band[10])
    assert not band[:3].any() and set(np.diff(columns)) == {1}
    assert (columns[0], columns[-1]) == (17 - 8, 18 + 8)  # the last pixel of 0, the first of 1


def test_every_law_displaces_alike_and_elsewhere(benchmark_module):
    """By as much, within a factor of three of the pixels, and no two the same."""
    annotators = benchmark_module("annotators")
    disc = np.hypot(*np.mgrid[-40:41, -60:61]) < 25
    truth = disc[None].astype(np.uint8)
    clean = (disc * np.linspace(1, 5, 121))[None, None]
    drawn = {
        law: annotators.draw_regions(truth, clean, law, 2.0, 3) for law in annotators.REGION_LAWS
    }
    changed = {law: int((d != truth).sum()) for law, d in drawn.items()}
    assert min(changed.values()) > max(changed.values()) / 3
    texts = {d.tobytes() for d in drawn.values()}
    assert len(texts) == len(drawn)


def test_the_image_helps_the_posterior_and_evidence_where_it_shows_the_truth(
    benchmark_module, drawn_case
):
    labels = benchmark_module("labels")
    kind = labels.Kind(lambda *_: [drawn_case], 2, 25, ("uniform",), 1.5, 1.5, (3.0, 0.8))
    found = labels.scores_of(kind, "uniform", [1])
    brier = {name: labels.by_subject(values)[0, 0] for name, values in found.items()}
    assert brier["posterior, flips"] < brier["posterior"] < brier["Φ(d / 1.5)"] < brier["hard"]
    [row] = labels.verdict_rows("a step", {"uniform": found})
    best = min(v for k, v in brier.items() if not k.startswith(("posterior", "evidence")))
    assert row["gain, Brier"] == f"{100 * (1 - brier['posterior'] / best):+.1f} %"
    assert {r["method"] for r in labels.score_rows("a step", {"uniform": found})} == set(brier)


def test_evidence_is_narrow_where_the_image_shows_the_boundary(benchmark_module, drawn_case):
    labels = benchmark_module("labels")
    shown = dataclasses.replace(drawn_case, drawn=drawn_case.truth)
    faint = dataclasses.replace(shown, image=0.02 * shown.image + 1)  # no less contrast to noise
    blank = dataclasses.replace(shown, image=np.ones_like(shown.image))
    narrow, same, wide = (labels.evidence(c, 2, 3.0, 0.8)[1, 15] for c in (shown, faint, blank))
    np.testing.assert_allclose(narrow, same, atol=1e-4)
    np.testing.assert_allclose(wide[17:23], norm.cdf(np.arange(-2.5, 3.5) / 3), atol=1e-3)
    assert (narrow[17:20] < wide[17:20]).all() and (narrow[20:23] > wide[20:23]).all()


def test_one_annotator_is_scored_against_the_other(benchmark_module, tmp_path):
    """A phantom has two graders; without a second one the command says so."""
    from softlabel.phantom import Grader, write_oct_dataset

    labels = benchmark_module("labels")
    write_oct_dataset(
        tmp_path / "oct", n_subjects=1, shape=(256, 256, 1), grader=Grader("uniform", 2.0)
    )
    rows = {row["method"]: row for row in labels.rater_rows(tmp_path / "oct")}
    assert set(rows) == {*labels.COMPARED, "superpixel, grid"}
    assert 0 < rows["posterior"]["Brier"] < rows["hard"]["Brier"]
    assert rows["hard"]["cases"] == 1
    write_oct_dataset(tmp_path / "one", n_subjects=1, shape=(256, 256, 1), n_graders=1)
    with pytest.raises(SystemExit, match="has the label map of a second annotator"):
        labels.rater_rows(tmp_path / "one")
