"""The tensor code of the superpixel method against the code without torch, byte for byte."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scenes import scenes

import softlabel
from softlabel.errors import MissingExtraError, UsageError

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel import device as devices  # noqa: E402
from softlabel.device import DeviceUnusable, DoesNotFit  # noqa: E402
from softlabel.distance.boundary import BOUNDARIES as CONVENTIONS  # noqa: E402
from softlabel.softening.superpixel import SuperpixelOptions, metric_of  # noqa: E402
from softlabel.softening.tensor import band as band_module  # noqa: E402
from softlabel.softening.tensor import images as images_module  # noqa: E402
from softlabel.softening.tensor import tiles as tiles_module  # noqa: E402
from softlabel.softening.tensor import values as values_module  # noqa: E402
from softlabel.softening.tensor.distance import costs_within  # noqa: E402
from softlabel.softening.tensor.images import soften_images  # noqa: E402
from softlabel.softmaps.class_index import class_index_map  # noqa: E402
from softlabel.types import ClassTable  # noqa: E402

BOUNDARIES = ("inner", "outer", "edge", "symmetric")
CPU = torch.device("cpu")

options = st.fixed_dictionaries(
    {
        "boundary": st.sampled_from(BOUNDARIES),
        "scale": st.sampled_from([None, None, 0.3, 2.5]),
        "normalize": st.sampled_from(["none", "sum"]),
        "min_minority": st.sampled_from([0.0, 0.0, 0.1, 0.25, 0.5, 1.0]),
        "in_plane": st.booleans(),
    }
)


def assert_same(found, expected):
    """Equal in every array, type and byte."""
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


def soften(scene, device, **chosen):
    if scene.labels.ndim == 1:
        chosen.pop("in_plane", None)
    return softlabel.soften(
        scene.labels, scene.superpixels, classes=scene.classes, ignore=scene.ignore,
        device=device, **chosen,
    )  # fmt: skip


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


# --- identity -------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(scene=scenes(), chosen=options)
def test_pixel_units_give_the_same_bytes(scene, chosen):
    assert_same(soften(scene, "torch-cpu", **chosen), soften(scene, "cpu", **chosen))


@given(
    scene=scenes(),
    chosen=options,
    spacing=st.sampled_from([(0.3, 1.0, 1.7), (3.0, 0.5, 0.5), (0.1, 0.1, 0.1), (1.0, 2.0, 3.0)]),
)
def test_other_units_give_the_same_bytes(scene, chosen, spacing):
    chosen = {**chosen, "spacing": spacing[: scene.labels.ndim]}
    assert_same(soften(scene, "torch-cpu", **chosen), soften(scene, "cpu", **chosen))


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
    assert_same(found, expected)


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
        assert_same(found, expected)
        at_limit = found.values[found.values != found.values.round()]
        assert 0.875 in at_limit or 0.125 in at_limit  # a distance of 3


def test_raters_are_softened_alike():
    labels, ids = blobs()
    raters = np.stack([labels, np.roll(labels, 2, 0), np.roll(labels, -1, 1)])
    found, expected = (
        softlabel.soften(raters, ids, ignore=99, rater_axis=0, device=d)
        for d in ("torch-cpu", "cpu")
    )
    assert_same(found, expected)


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
    assert_same(found, expected)


def test_ids_that_need_more_than_two_bytes():
    labels, ids = blobs()
    found, expected = (softlabel.soften(labels, ids + 3000, ignore=99, device=d)
                       for d in ("torch-cpu", "cpu"))  # fmt: skip
    assert_same(found, expected)
    wide = np.where(np.arange(ids.size).reshape(ids.shape) % 7 == 0, 2 * ids.size - 1, ids)
    found, expected = (softlabel.soften(labels, wide, ignore=99, device=d)
                       for d in ("torch-cpu", "cpu"))  # fmt: skip
    assert_same(found, expected)


# --- batches and tiles ----------------------------------------------------------------------------

TABLE = ClassTable.from_values(range(4))


def run_out(*_):
    raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def batch(shape=(40, 52), count=5, **kwargs):
    scenes_ = [blobs(shape, seed=seed, **kwargs) for seed in range(count)]
    if count > 1:
        scenes_[1][0][:] = 2  # an image without a mixed superpixel between others
    indices = [class_index_map(labels, TABLE, 99) for labels, _ in scenes_]
    return scenes_, indices, [ids.astype(np.int32) for _, ids in scenes_]


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
    scenes_, indices, ids = batch(shape, edge=edge)
    chosen = SuperpixelOptions(boundary)
    spacing = (1.0,) * len(shape)
    found = soften_images(indices, TABLE, ids, spacing, 1.0, chosen, CPU, memory=memory)
    for (labels, superpixels), one in zip(scenes_, found, strict=True):
        expected = softlabel.soften(
            labels, superpixels, classes=TABLE, ignore=99, boundary=boundary
        )
        assert_same(one, expected)


def test_shares_in_threads_change_nothing(monkeypatch):
    scenes_, indices, ids = batch(count=7)
    monkeypatch.setattr(images_module, "shares_at_a_time", lambda device: 3)
    monkeypatch.setattr(images_module, "SHARE_PIXELS", 2 * indices[0].size)
    threads = set()
    share = images_module._soften_share

    def seen(*given):
        threads.add(threading.current_thread().name)
        return share(*given)

    monkeypatch.setattr(images_module, "_soften_share", seen)
    found = soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU)
    assert len(found) == 7 and threading.main_thread().name not in threads
    for (labels, superpixels), one in zip(scenes_, found, strict=True):
        assert_same(one, softlabel.soften(labels, superpixels, classes=TABLE, ignore=99))


def test_one_image_has_all_of_the_memory(monkeypatch):
    monkeypatch.setattr(images_module, "shares_at_a_time", lambda device: 3)
    _, indices, ids = batch(count=1)
    enough = 2 * images_module.BAND_BYTES * indices[0].size
    soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU, memory=enough)
    with pytest.raises(DoesNotFit, match="an image of 2080 pixels needs"):
        soften_images(
            indices * 3, TABLE, ids * 3, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU, memory=enough
        )


def test_a_share_that_does_not_fit_is_said(monkeypatch):
    _, indices, ids = batch(count=7)
    monkeypatch.setattr(images_module, "shares_at_a_time", lambda device: 3)
    monkeypatch.setattr(images_module, "SHARE_PIXELS", 2 * indices[0].size)
    monkeypatch.setattr(images_module, "fill_values", run_out)
    with pytest.raises(DoesNotFit, match="the memory of cpu ran out"):
        soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU)


@pytest.mark.parametrize("shape", [(60, 30), (20, 14, 15)])
def test_slabs_change_nothing(shape):
    """Maps cut along the axis of the search, each with what its distances reach."""
    scenes_, indices, ids = batch(shape, count=1, edge=4)
    pad = (1,) * (3 - len(shape))
    band = band_module.find_band(
        torch.from_numpy(indices[0]).view(1, *pad, *shape), 255, 4,
        torch.from_numpy(ids[0]).view(1, *pad, *shape), int(ids[0].max()) + 1,
    )  # fmt: skip
    metric = metric_of(len(shape), (1.0,) * len(shape), SuperpixelOptions())
    limit = float(metric.diagonals(band.lower, band.upper).max())
    costs = costs_within(metric, limit, (*pad, *shape))
    row = int(np.prod(shape)) // shape[0]
    axis = 0 if len(shape) == 3 else 1
    tiles = tiles_module.plan_tiles(band, costs, row * (2 * costs.reach(axis) + 6))
    assert sum(tile.core is not None for tile in tiles) > 4
    memory = 4 * values_module.MAP_BYTES[axis == 0] * row * (2 * costs.reach(axis) + 6)
    values_module.fill_values(band, CONVENTIONS["inner"], metric, 1.0, memory)
    found = images_module.soft_maps_of(band, indices, TABLE)[0]
    labels, superpixels = scenes_[0]
    assert_same(found, softlabel.soften(labels, superpixels, classes=TABLE, ignore=99))


@pytest.mark.parametrize("budget", [3_000, 9_000, 30_000, 1 << 24])
def test_tiles_stay_within_the_pixels_that_fit_and_cover_everything(budget):
    _, indices, ids = batch((40, 52), edge=9)
    stack = (torch.from_numpy(np.stack(part))[:, None] for part in (indices, ids))
    index, superpixels = stack
    band = band_module.find_band(index, 255, 4, superpixels, int(superpixels.max()) + 1)
    costs = costs_within(metric_of(2, (1.0, 1.0), SuperpixelOptions()), 12.0, (1, 40, 52))
    tiles = tiles_module.plan_tiles(band, costs, budget)
    covered = set()
    for tile in tiles:
        images = range(len(index))[tile.images]
        assert len(tile.classes) * len(images) * np.prod(tile.shape) <= budget
        if tile.core is None:
            covered |= {(k, n) for k in tile.classes.tolist() for n in images}
    if all(tile.core is None for tile in tiles):
        assert {(k, n) for k in np.unique(band.block_class) for n in range(5)} <= covered
    assert (budget < 1 << 24) or len(tiles) == 1


def test_what_does_not_fit_is_said():
    _, indices, ids = batch(count=1)
    with pytest.raises(DoesNotFit, match=r"an image of 2080 pixels needs .* MiB"):
        soften_images(indices, TABLE, ids, (1.0, 1.0), 1.0, SuperpixelOptions(), CPU, memory=9999)


def test_a_row_that_does_not_fit_is_said():
    labels, ids = blobs()
    index = class_index_map(labels, TABLE, 99)
    band = band_module.find_band(
        torch.from_numpy(index)[None, None], 255, 4, torch.from_numpy(ids)[None, None],
        int(ids.max()) + 1,
    )  # fmt: skip
    costs = costs_within(metric_of(2, (1.0, 1.0), SuperpixelOptions()), 9.0, (1, 40, 52))
    with pytest.raises(DoesNotFit, match=r"one row of the maps .* has .* pixels"):
        tiles_module.plan_tiles(band, costs, 60)


def test_small_memory_falls_back_to_the_cpu(monkeypatch):
    labels, ids = blobs()
    monkeypatch.setattr(images_module, "memory_budget", lambda device: 1000)
    with pytest.warns(
        RuntimeWarning, match="Softened on the CPU instead of torch-cpu: an image of 2080"
    ):
        found = softlabel.soften(labels, ids, ignore=99, device="torch-cpu")
    assert_same(found, softlabel.soften(labels, ids, ignore=99))


@pytest.mark.parametrize("step", ["fill_values", "soft_maps_of"])
def test_memory_that_runs_out_falls_back_to_the_cpu(monkeypatch, step):
    labels, ids = blobs()
    monkeypatch.setattr(images_module, step, run_out)
    with pytest.warns(RuntimeWarning, match="the memory of cpu ran out"):
        found = softlabel.soften(labels, ids, ignore=99, device="torch-cpu")
    assert_same(found, softlabel.soften(labels, ids, ignore=99))


def test_whatever_a_card_raises_makes_it_unusable():
    card = torch.device("cuda:0")
    with (
        pytest.raises(DeviceUnusable, match=r"cuda:0 cannot do it \(no kernel image\)"),
        devices.failing_makes_unusable(card),
    ):
        raise RuntimeError("no kernel image\nand more")
    with (
        pytest.raises(RuntimeError, match="a fault of ours"),
        devices.failing_makes_unusable(CPU),
    ):
        raise RuntimeError("a fault of ours")


def test_kernels_are_tried_before_they_are_used(monkeypatch):
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
    images_module.kernels_work.cache_clear()
    assert not images_module.kernels_work(CPU)


def test_the_trial_of_the_kernels_has_soft_values():
    monkey = images_module._trial(CPU, kernels=False)
    assert len(monkey) == 2 * 34 and len(monkey.unique()) > 4


def test_another_default_device_changes_nothing():
    labels, ids = blobs()
    with torch.device("meta"):
        found = softlabel.soften(labels, ids, ignore=99, device="torch-cpu")
    assert_same(found, softlabel.soften(labels, ids, ignore=99))


# --- on the fly -----------------------------------------------------------------------------------


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(scene=scenes(), chosen=options)
def test_a_batch_on_the_fly_is_the_dense_soft_labels(scene, chosen):
    if scene.labels.ndim == 1:
        chosen = {**chosen, "in_plane": False}
    labels = torch.from_numpy(np.ascontiguousarray(scene.labels).astype(np.int64))
    ids = torch.from_numpy(np.ascontiguousarray(scene.superpixels))
    soft = softlabel.soften_batch(
        torch.stack([labels, labels.flip(0)]), torch.stack([ids, ids.flip(0)]), scene.classes,
        ignore=scene.ignore, **chosen,
    )  # fmt: skip
    dense = soft.dense().numpy()
    assert dense.shape == soft.shape and dense.dtype == np.float32
    first = soften(scene, "cpu", **chosen)
    np.testing.assert_array_equal(dense[0], first.dense())
    np.testing.assert_array_equal(soft.class_index[0].numpy() < 0, ~first.known)


def test_a_batch_that_is_not_contiguous():
    labels, ids = (torch.from_numpy(a)[None] for a in blobs())
    soft = softlabel.soften_batch(labels, ids, range(4), ignore=99).dense()
    turned = softlabel.soften_batch(labels.mT, ids.mT, range(4), ignore=99).dense()
    torch.testing.assert_close(turned.mT, soft, rtol=0, atol=0)


def test_on_the_fly_in_half_precision():
    labels, ids = (torch.from_numpy(a)[None] for a in blobs())
    soft = softlabel.soften_batch(labels, ids, range(4), ignore=99)
    half = soft.dense(torch.float16)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half, soft.dense().half(), rtol=0, atol=0)


def test_a_batch_that_does_not_fit_is_said():
    labels, ids = (torch.from_numpy(a)[None].repeat(5, 1, 1) for a in blobs())
    with pytest.raises(DoesNotFit, match=r"a batch of 5 images of 2080 pixels .* 1 MiB .* 3 fit"):
        softlabel.soften_batch(labels, ids, range(4), ignore=99, memory=1 << 20)
    with pytest.raises(DoesNotFit, match="an image of 2080 pixels"):
        softlabel.soften_batch(labels, ids, range(4), ignore=99, memory=1 << 10)


ROW, ONE = torch.tensor([[1, 1, 0, 0]]), torch.zeros((1, 4), dtype=torch.int64)
REFUSED = {
    "floats": ((ROW.float(), ONE), {}, "labels must be integers; got torch.float32"),
    "float ids": ((ROW, ONE.float()), {}, "superpixels must be integers"),
    "no batch": ((ROW[0], ONE[0]), {}, r"labels must have shape \(B, \*spatial\)"),
    "shapes": ((ROW, ONE[:, :3]), {}, r"superpixels must have the shape .* got \(1, 3\)"),
    "normalize": ((ROW, ONE), {"normalize": "max"}, "normalize must be one of none, sum"),
    "scale": ((ROW, ONE), {"scale": -1.0}, "scale must be a positive number; got -1.0"),
    "boundary": ((ROW, ONE), {"boundary": "mid"}, "boundary must be one of"),
    "strange": ((ROW + 4, ONE), {}, r"The labels hold \[4, 5\], which are not among the classes"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_batches_that_cannot_be_softened(name):
    (labels, ids), kwargs, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        softlabel.soften_batch(labels, ids, (0, 1), **kwargs)


# --- names of devices -----------------------------------------------------------------------------


def test_import_and_cpu_leave_torch_alone():
    script = (
        "import sys, numpy as np, softlabel, softlabel.cli, softlabel.generation.run\n"
        "softlabel.soften(np.array([1, 0]), np.zeros(2, int), device='cpu')\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_cuda_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=r"The device cuda was asked for.*use the device cpu"):
        softlabel.soften(np.array([1, 0]), np.zeros(2, int), device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=r"cuda:7 was asked.*has 2 CUDA devices.*cuda:0 to cuda:1"):
        softlabel.soften(np.array([1, 0]), np.zeros(2, int), device="cuda:7")


def test_a_device_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"device='cuda' needs torch.*'\.\[gpu\]' in"):
        devices.torch_device("cuda")
    assert devices.torch_device("auto") is None


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:", "meta", ""])
def test_unknown_devices(name):
    with pytest.raises(ValueError, match=f"device must be cpu, .*; got '{name}'"):
        devices.torch_device(name)


def test_auto_is_the_cpu_without_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices.torch_device("auto") is None
    labels, ids = blobs()
    assert_same(softlabel.soften(labels, ids, ignore=99, device="auto"),
                softlabel.soften(labels, ids, ignore=99))  # fmt: skip


def test_methods_without_tensor_code():
    row = np.array([1, 0])
    with pytest.raises(ValueError, match="gaussian is computed on the CPU only"):
        softlabel.soften(row, method="gaussian", device="torch-cpu")
    softlabel.soften(row, method="gaussian", device="auto")


def test_half_of_the_free_memory_of_a_card(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert devices.memory_budget(torch.device("cuda:0")) == 600
    assert devices.memory_budget(CPU) == devices.CPU_MEMORY
