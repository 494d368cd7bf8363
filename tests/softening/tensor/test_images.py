"""The tensor code of the superpixel method against the code without torch, byte for byte."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import (
    TABLE,
    assert_same_maps,
    blob_batch,
    blobs,
    method_options,
    scenes,
    soften_scene,
)

import softlabel

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel.device import DoesNotFit  # noqa: E402
from softlabel.softening.superpixel import SuperpixelOptions  # noqa: E402
from softlabel.softening.tensor import images as images_module  # noqa: E402
from softlabel.softening.tensor.images import soften_images  # noqa: E402

BOUNDARIES = ("inner", "outer", "edge", "symmetric")
CPU = torch.device("cpu")

# --- identity -------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(scene=scenes(), chosen=method_options)
def test_pixel_units_give_the_same_bytes(scene, chosen):
    assert_same_maps(
        soften_scene(scene, "torch-cpu", **chosen), soften_scene(scene, "cpu", **chosen)
    )


@given(
    scene=scenes(),
    chosen=method_options,
    spacing=st.sampled_from([(0.3, 1.0, 1.7), (3.0, 0.5, 0.5), (0.1, 0.1, 0.1), (1.0, 2.0, 3.0)]),
)
def test_other_units_give_the_same_bytes(scene, chosen, spacing):
    chosen = {**chosen, "spacing": spacing[: scene.labels.ndim], "conversion": "eq1"}
    assert_same_maps(
        soften_scene(scene, "torch-cpu", **chosen), soften_scene(scene, "cpu", **chosen)
    )


def test_other_conversions_of_other_units_are_left_to_the_cpu():
    labels, ids = blobs()
    chosen = {"spacing": (0.3, 1.7), "conversion": "probit"}
    with pytest.warns(RuntimeWarning, match="on the CPU instead of torch-cpu: it has no code"):
        found = softlabel.soften(labels, ids, device="torch-cpu", **chosen)
    assert_same_maps(found, softlabel.soften(labels, ids, **chosen))


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("shape", [(300,), (40, 50), (40, 5, 6), (4, 36, 5), (5, 4, 40)])
@pytest.mark.parametrize("ignored", [False, True])
def test_boundaries_that_are_far_away(shape, boundary, ignored):
    labels = np.zeros(shape, int)
    labels[(0,) * len(shape)] = 1
    if ignored:
        labels[(slice(1, 3),) * len(shape)] = 9
    one = np.zeros(shape, int)
    found, expected = (
        softlabel.soften(labels, one, classes=(0, 1), ignore=9, boundary=boundary, device=d)
        for d in ("torch-cpu", "cpu")
    )
    assert_same_maps(found, expected)


@pytest.mark.parametrize("boundary", ["inner", "outer"])
@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_the_nearest_boundary_pixel_lies_at_the_limit_outside_of_the_superpixel(
    boundary, axes, flip
):
    """And what makes it a boundary pixel lies one further: no margin may be smaller."""
    line = np.array([0, 0, 1, 0, 9, 9, 0, 9, 9, 1, 1])
    ids = np.array([1, 1, 2, 3, 4, 4, 0, 0, 0, 0, 5])
    if boundary == "outer":
        line = np.where(line < 9, 1 - line, 9)
    if flip:
        line, ids = line[::-1], ids[::-1]
    for axis in range(axes):
        shape = [1] * axes
        shape[axis] = -1
        found, expected = (
            softlabel.soften(
                line.reshape(shape), ids.reshape(shape), ignore=9, boundary=boundary, device=d
            )
            for d in ("torch-cpu", "cpu")
        )
        assert_same_maps(found, expected)
        at_limit = found.values[found.values != found.values.round()]
        assert 0.875 in at_limit or 0.125 in at_limit  # a distance of 3


def test_raters_are_softened_alike():
    labels, ids = blobs()
    raters = np.stack([labels, np.roll(labels, 2, 0), np.roll(labels, -1, 1)])
    found, expected = (
        softlabel.soften(raters, ids, ignore=99, rater_axis=0, device=d)
        for d in ("torch-cpu", "cpu")
    )
    assert_same_maps(found, expected)


def test_more_classes_than_a_byte_names():
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 7, 256, 299], (12, 14))
    labels[3:5] = 999
    ids = np.indices((12, 14)).sum(0) // 4
    found, expected = (
        softlabel.soften(labels, ids, classes=range(300), ignore=999, device=d)
        for d in ("torch-cpu", "cpu")
    )
    assert found.index.dtype == np.uint16
    assert_same_maps(found, expected)


def test_ids_that_need_more_than_two_bytes():
    labels, ids = blobs()
    found, expected = (softlabel.soften(labels, ids + 3000, ignore=99, device=d)
                       for d in ("torch-cpu", "cpu"))  # fmt: skip
    assert_same_maps(found, expected)
    wide = np.where(np.arange(ids.size).reshape(ids.shape) % 7 == 0, 2 * ids.size - 1, ids)
    found, expected = (softlabel.soften(labels, wide, ignore=99, device=d)
                       for d in ("torch-cpu", "cpu"))  # fmt: skip
    assert_same_maps(found, expected)


# --- batches and tiles ----------------------------------------------------------------------------


def run_out(*_):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("shape", "edge", "memory"),
    [
        ((40, 52), 9, 1 << 29),  # everything at once
        ((40, 52), 9, 1 << 19),  # fewer images, classes by themselves
        ((40, 52), 9, 290_000),  # one image, pairs in pieces
        ((90, 60), 5, 700_000),
        ((12, 14, 15), 5, 1 << 29),
        ((12, 14, 15), 5, 1 << 19),
        ((20, 14, 15), 3, 540_000),
    ],
)
@pytest.mark.parametrize("boundary", ["inner", "outer", "edge"])
def test_batches_and_tiles_change_nothing(shape, edge, memory, boundary):
    scenes_, indices, ids = blob_batch(shape, edge=edge)
    chosen = SuperpixelOptions(boundary)
    spacing = (1.0,) * len(shape)
    found = soften_images(indices, TABLE, ids, spacing, 1.0, chosen, CPU, memory=memory)
    for (labels, superpixels), one in zip(scenes_, found, strict=True):
        expected = softlabel.soften(
            labels, superpixels, classes=TABLE, ignore=99, boundary=boundary
        )
        assert_same_maps(one, expected)


def test_shares_in_threads_change_nothing(monkeypatch):
    scenes_, indices, ids = blob_batch(count=7)
    monkeypatch.setattr(images_module, "shares_at_a_time", lambda device: 3)
    monkeypatch.setattr(images_module, "SHARE_PIXELS", 2 * indices[0].size)
    threads = set()
    fill_values = images_module.fill_values

    def seen(*given):
        threads.add(threading.current_thread().name)
        return fill_values(*given)

    monkeypatch.setattr(images_module, "fill_values", seen)
    found = soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU)
    assert len(found) == 7 and threads and threading.main_thread().name not in threads
    for (labels, superpixels), one in zip(scenes_, found, strict=True):
        assert_same_maps(one, softlabel.soften(labels, superpixels, classes=TABLE, ignore=99))


def test_one_image_has_all_of_the_memory(monkeypatch):
    monkeypatch.setattr(images_module, "shares_at_a_time", lambda device: 3)
    _, indices, ids = blob_batch(count=1)
    enough = 2 * images_module.BAND_BYTES * indices[0].size
    soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU, memory=enough)
    with pytest.raises(DoesNotFit, match="an image of 2080 pixels needs"):
        soften_images(
            indices * 3, TABLE, ids * 3, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU, memory=enough
        )


def test_a_share_that_does_not_fit_is_said(monkeypatch):
    _, indices, ids = blob_batch(count=7)
    monkeypatch.setattr(images_module, "shares_at_a_time", lambda device: 3)
    monkeypatch.setattr(images_module, "SHARE_PIXELS", 2 * indices[0].size)
    monkeypatch.setattr(images_module, "fill_values", run_out)
    with pytest.raises(DoesNotFit, match="the memory of cpu ran out"):
        soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU)


def test_what_does_not_fit_is_said():
    _, indices, ids = blob_batch(count=1)
    with pytest.raises(DoesNotFit, match=r"an image of 2080 pixels needs .* MiB"):
        soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU, memory=9999)


def test_small_memory_falls_back_to_the_cpu(monkeypatch):
    labels, ids = blobs()
    monkeypatch.setattr(images_module, "memory_budget", lambda device: 1000)
    with pytest.warns(
        RuntimeWarning, match="Softened on the CPU instead of torch-cpu: an image of 2080"
    ):
        found = softlabel.soften(labels, ids, ignore=99, device="torch-cpu")
    assert_same_maps(found, softlabel.soften(labels, ids, ignore=99))


@pytest.mark.parametrize("step", ["fill_values", "soft_maps_of"])
def test_memory_that_runs_out_falls_back_to_the_cpu(monkeypatch, step):
    labels, ids = blobs()
    monkeypatch.setattr(images_module, step, run_out)
    with pytest.warns(RuntimeWarning, match="the memory of cpu ran out"):
        found = softlabel.soften(labels, ids, ignore=99, device="torch-cpu")
    assert_same_maps(found, softlabel.soften(labels, ids, ignore=99))


@pytest.fixture
def untried():
    """Nothing was tried before a test, and what it pretends is forgotten after it."""
    images_module.kernels_work.cache_clear()
    yield
    images_module.kernels_work.cache_clear()


def test_kernels_are_tried_before_they_are_used(untried, monkeypatch):
    pytest.importorskip("triton")
    card = torch.device("cuda:0")

    def trial(value):
        def values(device, kernels):
            if isinstance(value, Exception) and kernels:
                raise value
            return torch.tensor([value if kernels else 1.0])

        images_module.kernels_work.cache_clear()
        monkeypatch.setattr(images_module, "_trial", values)
        return images_module.kernels_work(card)

    assert trial(1.0)
    with pytest.warns(RuntimeWarning, match=r"left out on cuda:0 \(they give other values\)"):
        assert not trial(0.5)
    with pytest.warns(RuntimeWarning, match=r"left out on cuda:0 \(RuntimeError: no C compiler\)"):
        assert not trial(RuntimeError("no C compiler\nat all"))
    assert not images_module.kernels_work(CPU)


def test_the_trial_of_the_kernels_has_soft_values():
    values = images_module._trial(CPU, kernels=False)
    assert len(values) == 2 * 34 and len(values.unique()) > 4


def test_another_default_device_changes_nothing():
    labels, ids = blobs()
    with torch.device("meta"):
        found = softlabel.soften(labels, ids, ignore=99, device="torch-cpu")
    assert_same_maps(found, softlabel.soften(labels, ids, ignore=99))
