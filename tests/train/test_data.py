"""Batches equal the cache, and do not depend on who loads them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from softlabel_train import data, prepare
from softlabel_train.augment import Change
from softlabel_train.config import AugmentConfig
from softlabel_train.data import (
    Batch,
    CacheDataset,
    Intensity,
    Sample,
    StepSampler,
    collate,
    make_loader,
)

from softlabel.cache import open_cache, pack_cache
from softlabel.errors import CacheError, UsageError

from . import factories


def same(a: Batch, b: Batch) -> bool:
    return a.ids == b.ids and all(
        torch.equal(x, y) for x, y in zip(a.expand(), b.expand(), strict=True)
    )


@pytest.mark.parametrize("keep_mb", [0, 100])
@pytest.mark.parametrize("name", ["oct_cache", "mri_cache"])
def test_whole_images_equal_the_cache(name, keep_mb, request):
    cache = open_cache(request.getfixturevalue(name))
    ids = list(cache)[:2]
    dataset = CacheDataset(cache, ids, keep_mb=keep_mb)
    for _ in range(2):
        image, labels, soft = collate([dataset[0], dataset[1]]).expand()
        for i, case in enumerate(cache[c] for c in ids):
            np.testing.assert_array_equal(soft[i], case.soft[...])
            expected = case.labels[...].astype(int)
            for k, value in enumerate(cache.classes.values):
                np.testing.assert_array_equal(labels[i] == k, expected == value)
            if cache.ignore is not None:
                np.testing.assert_array_equal(labels[i] == 255, expected == cache.ignore)
            raw = case.image[...].astype(np.float64)
            inside = np.ones(case.shape, bool) if case.mask is None else case.mask[...] > 0
            for c in range(len(raw)):
                x = raw[c][inside]
                np.testing.assert_allclose(image[i, c], (raw[c] - x.mean()) / x.std(), atol=1e-3)


@pytest.mark.parametrize("keep_mb", [0, 100])
def test_crops_and_flips_are_cut_from_the_same_place(oct_cache, keep_mb):
    cache = open_cache(oct_cache)
    case = cache[next(iter(cache))]
    image, labels, soft = case.image[...], case.labels[...], case.soft[...]
    augment = AugmentConfig(flip=(0, 1))
    dataset = CacheDataset(cache, [case.id], crop=(48, 64), augment=augment, seed=3,
                           keep_mb=keep_mb)  # fmt: skip
    patches = np.lib.stride_tricks.sliding_window_view(image[0], (48, 64))
    flips = set()
    for epoch in range(12):
        sample = dataset[epoch, 0]
        axes = [a for a in (0, 1) if sample.change.flip[a]]
        cut = np.flip(sample.image[0], axes)
        candidates = np.argwhere((patches[..., 0, :3] == cut[0, :3]).all(-1))
        r, c = next(rc for rc in candidates if np.array_equal(patches[tuple(rc)], cut))
        where = (slice(r, r + 48), slice(c, c + 64))
        found = np.flip(collate([sample]).expand_soft()[0].numpy(), [1 + a for a in axes])
        np.testing.assert_array_equal(found, soft[(slice(None), *where)])
        expected = np.where(labels[where] == cache.ignore, 255, labels[where])
        np.testing.assert_array_equal(np.flip(sample.labels, axes), expected)
        flips.add(sample.change.flip)
    assert len(flips) == 4


def test_reading_patches_equals_cutting_kept_cases(oct_cache):
    ids = list(open_cache(oct_cache))[:4]
    options = {"crop": (60, 300), "balance": 0.5, "seed": 5, "augment": AugmentConfig(flip=(1,))}
    kept, read = (CacheDataset(oct_cache, ids, keep_mb=mb, **options) for mb in (100, 0))
    for epoch in range(3):
        keys = [(epoch, i) for i in range(4)]
        assert same(collate([kept[k] for k in keys]), collate([read[k] for k in keys]))
    assert len(kept.kept) == len(set(ids)) and not len(read.kept)


def test_cases_too_large_to_keep_are_read_by_patch(oct_cache, monkeypatch):
    monkeypatch.setattr(data, "KEEP_DENSE_MB", 0)
    dataset = CacheDataset(oct_cache, list(open_cache(oct_cache))[:1], crop=(16, 16))
    assert dataset[0].labels.shape == (16, 16) and not len(dataset.kept)


def test_padding_beyond_the_border_is_ignored(pairs_cache):
    cache = open_cache(pairs_cache)
    dataset = CacheDataset(cache, list(cache), crop=(60, 70))
    image, labels, soft = collate([dataset[i] for i in range(3)]).expand()
    for i, case in enumerate(cache.values()):
        assert (labels[i] == 255).sum() == 60 * 70 - np.prod(case.shape)
        assert float(soft[i].sum()) == pytest.approx(float(case.soft[...].sum()), rel=1e-6)
    assert not soft.movedim(1, -1)[labels == 255].any()
    assert torch.isfinite(image).all()


def test_images_of_different_sizes_are_padded_in_a_batch(pairs_cache):
    cache = open_cache(pairs_cache)
    dataset = CacheDataset(cache, list(cache))
    image, labels, soft = collate([dataset[i] for i in range(3)]).expand()
    assert image.shape[2:] == labels.shape[1:] == soft.shape[2:] == (52, 64)
    for i, case in enumerate(cache.values()):
        rows, columns = case.shape
        np.testing.assert_array_equal(soft[i, :, :rows, :columns], case.soft[...])
        assert (labels[i, rows:] == 255).all() and (labels[i, :, columns:] == 255).all()
        assert not soft[i, :, rows:].any() and not soft[i, :, :, columns:].any()


def test_label_values_become_class_indices(pairs_cache):
    cache = open_cache(pairs_cache)
    assert cache.classes.values == (0, 128, 255)
    labels = CacheDataset(cache, list(cache))[0].labels
    assert set(np.unique(labels)) == {0, 1, 2}


def test_balanced_crops_show_rare_classes_more_often(oct_cache):
    cache = open_cache(oct_cache)
    ids = list(cache)
    rare = min(
        (k for k in range(10) if any(cache[i].statistics["class_pixels"][k] for i in ids)),
        key=lambda k: sum(int(cache[i].statistics["class_pixels"][k]) for i in ids),
    )
    shares = []
    for balance in (0.0, 1.0):
        dataset = CacheDataset(cache, ids, crop=(16, 16), balance=balance)
        labels = [dataset[e, i].labels for e in range(15) for i in range(len(ids))]
        shares.append(np.mean([(x == rare).any() for x in labels]))
    assert shares[1] > shares[0]


def test_label_smoothing_and_ignored_pixels_expand_exactly():
    labels = np.array([[0, 1, 255]], np.uint8)
    sample = Sample("a", np.zeros((1, 1, 3), np.uint8), labels, 2, 0.95, 0.05,
                    np.array([1]), np.array([0.4], np.float32), Intensity((0.0,), (1.0,)),
                    Change((False, False)))  # fmt: skip
    soft = collate([sample, replace(sample, on=1.0, off=0.0)]).expand_soft()
    expected = torch.tensor([[[0.95, 0.4, 0], [0.05, 0.95, 0]], [[1, 0.4, 0], [0, 1, 0]]])
    torch.testing.assert_close(soft, expected.unsqueeze(2))


def test_memory_for_soft_labels_is_used_again(oct_cache):
    dataset = CacheDataset(oct_cache, list(open_cache(oct_cache))[:2])
    batch = collate([dataset[0], dataset[1]])
    out = torch.full((2, 10, *batch.labels.shape[1:]), 7.0)
    assert batch.expand(out)[2] is out
    assert torch.equal(out, batch.expand()[2])
    assert batch.expand(torch.zeros(3))[2].shape == out.shape


AUGMENT = AugmentConfig(flip=(0, 1), rotate_degrees=10, scale=0.1, shift=0.05, brightness=0.1,
                        contrast=0.1, noise=0.1)  # fmt: skip


def batches(cache, workers, first_step=0, context=None):
    dataset = CacheDataset(cache, list(open_cache(cache))[:5], crop=(32, 40), balance=0.5,
                           augment=AUGMENT, seed=7)  # fmt: skip
    sampler = StepSampler(5, 2, 7, seed=7, first_step=first_step)
    loader = make_loader(dataset, sampler, workers=workers)
    if context:
        loader.multiprocessing_context = context
    return list(loader)


def test_the_same_batches_from_any_number_of_processes_and_after_a_pause(oct_cache):
    alone = batches(oct_cache, 0)
    assert len(alone) == 7
    for others in (batches(oct_cache, 1), batches(oct_cache, 2)):
        assert all(same(a, b) for a, b in zip(alone, others, strict=True))
    assert all(same(a, b) for a, b in zip(alone[4:], batches(oct_cache, 0, 4), strict=True))
    epochs = [alone[0], alone[3]]
    assert not same(*epochs), "another epoch draws differently"


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_open_files_survive_fork_and_spawn(oct_cache, context):
    cache = open_cache(oct_cache)
    dataset = CacheDataset(cache, list(cache)[:4], keep_mb=0)
    before = collate([dataset[0], dataset[1]])  # the files are open in this process now
    sampler = StepSampler(4, 2, 2, seed=0)
    expected = [collate([dataset[k] for k in keys]) for keys in sampler]
    loader = make_loader(dataset, sampler, workers=2)
    loader.multiprocessing_context = context
    assert all(same(a, b) for a, b in zip(expected, loader, strict=True))
    assert same(before, collate([dataset[0], dataset[1]]))


def test_a_packed_cache_gives_the_same_batches(oct_cache, tmp_path):
    packed = pack_cache(oct_cache, tmp_path / "packed.h5")
    for workers in (0, 2):
        found, expected = batches(packed, workers), batches(oct_cache, workers)
        assert all(same(a, b) for a, b in zip(found, expected, strict=True))


def test_a_dataset_can_be_pickled_and_leaves_its_memory_behind(oct_cache):
    dataset = CacheDataset(oct_cache, list(open_cache(oct_cache))[:2])
    first = dataset[0]
    data_ = pickle.dumps(dataset)
    assert len(data_) < 10_000
    assert same(collate([pickle.loads(data_)[0]]), collate([first]))


def test_compact_batches_are_a_fraction_of_dense_ones(oct_cache):
    cache = open_cache(oct_cache)
    dataset = CacheDataset(cache, list(cache)[:2])
    batch = collate([dataset[0], dataset[1]])
    assert batch.nbytes < batch.expand()[2].nbytes / 3


def test_steps_cover_every_sample_and_fill_the_last_batch():
    sampler = StepSampler(5, 2, 6, seed=1)
    keys = list(sampler)
    assert sampler.steps_per_epoch == 3 and all(len(k) == 2 for k in keys)
    for epoch in range(2):
        seen = [k for batch in keys[3 * epoch : 3 * epoch + 3] for k in batch]
        assert {i for e, i, *_ in seen if e == epoch} == set(range(5))
        assert len(set(seen)) == 6, "the sample that fills up is drawn anew"
    orders = {
        tuple(i for _, i, *_ in StepSampler(50, 50, e + 1, seed=1).batch(e)) for e in range(5)
    }
    assert len(orders) == 5, "every epoch has an order of its own"
    tiny = StepSampler(2, 5, 1)
    assert len(set(tiny.batch(0))) == 5


def test_processes_share_every_batch():
    whole = list(StepSampler(10, 4, 5, seed=2))
    parts = [list(StepSampler(10, 4, 5, seed=2, rank=r, world=2)) for r in range(2)]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert sorted(batch) == sorted(k for share in shares for k in share)
    with pytest.raises(UsageError, match="multiple of 3"):
        StepSampler(10, 4, 5, world=3)


@pytest.mark.parametrize("wrong, what", [
    ({"n": 0}, r"^n of a StepSampler must be at least 1; got 0; give a data set that"),
    ({"batch_size": 0}, r"^batch_size of a StepSampler must be at least 1; got 0\.$"),
    ({"world": 0}, r"^world of a StepSampler must be at least 1; got 0\.$"),
])  # fmt: skip
def test_a_sampler_without_anything_to_draw_is_refused(wrong, what):
    with pytest.raises(UsageError, match=what):
        StepSampler(**({"n": 5, "batch_size": 2, "steps": 7} | wrong))


def test_a_crop_of_another_dimension_is_refused(oct_cache):
    with pytest.raises(UsageError, match="2 spatial axes; give 2 numbers"):
        CacheDataset(oct_cache, list(open_cache(oct_cache)), crop=(8, 8, 8))


def test_intensity_of_groups_and_of_flat_channels(oct_cache):
    cache = open_cache(oct_cache)
    group = next(iter(cache.statistics))
    pixels = np.concatenate([
        c.image[0][c.mask[...] > 0 if c.mask is not None else slice(None)].ravel()
        for c in cache.values() if c.group == group
    ]).astype(float)  # fmt: skip
    found = Intensity.of([cache.statistics[group]])
    assert found.mean[0] == pytest.approx(pixels.mean())
    assert found.deviation[0] == pytest.approx(pixels.std())
    flat = {"pixels": 4, "intensity_sum": [400.0], "intensity_sum_squares": [40000.0]}
    assert Intensity.of([flat]) == Intensity((100.0,), (1.0,))


# -- warps ---------------------------------------------------------------------------------------


def test_a_temporary_folder_of_too_long_a_path_is_refused(oct_cache, tmp_path, monkeypatch):
    folder = tmp_path / ("x" * 80)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    dataset = CacheDataset(oct_cache, list(open_cache(oct_cache))[:2])
    sampler = StepSampler(2, 2, 1)
    with pytest.raises(UsageError, match="TMPDIR to a shorter one"):
        make_loader(dataset, sampler, workers=1)
    assert len(list(make_loader(dataset, sampler, workers=0))) == 1


def test_what_is_loaded_is_compared_with_its_digests_unless_a_recipe_leaves_it(oct_cache, tmp_path):
    cache = factories.copy_of(oct_cache, tmp_path)
    with open_cache(cache) as opened:
        case = opened[next(iter(opened))]
    with h5py.File(case.path, "r+") as file:  # nothing that HDF5 would notice
        file["case/soft"].attrs["sha256"] = np.bytes_(b"0" * 64)
    for verify in (True, False):
        recipe = factories.recipe_for(cache, f"data.verify={str(verify).lower()}")
        for dataset in (
            CacheDataset(cache, [case.id], verify=verify),
            CacheDataset(prepare.open_data(recipe, cache).cache, [case.id]),
        ):
            if not verify:
                assert dataset[0].labels.size
                continue
            with pytest.raises(CacheError, match=r"digest|SHA-256"):
                dataset[0]


def test_volumes_turn_around_the_axis_that_their_cache_names(mri_cache, monkeypatch):
    asked = []

    def draw_change(config, shape, rng, slice_axis=None):
        asked.append(slice_axis)
        return Change((False, False, False))

    monkeypatch.setattr(data, "draw_change", draw_change)
    cache = open_cache(mri_cache)
    first = next(iter(cache))
    CacheDataset(cache, [first], augment=AugmentConfig(rotate_degrees=9))[0]
    assert asked == [cache[first].slice_axis] == [2]


def test_one_rater_is_drawn_for_every_sample(rater_cache):
    cache = open_cache(rater_cache)
    assert cache.raters == ("grader1", "grader2")
    ids = list(cache)[:3]
    plain = CacheDataset(cache, ids, crop=(64, 48), seed=2)
    for keep_mb in (0, 100):
        dataset = CacheDataset(cache, ids, crop=(64, 48), seed=2, keep_mb=keep_mb,
                               raters=cache.raters)  # fmt: skip
        drawn = set()
        for epoch in range(6):
            for i in range(3):
                sample, other = dataset[epoch, i], plain[epoch, i]
                np.testing.assert_array_equal(sample.image, other.image)  # the same place
                fitting = [r for r in cache.raters if found_in(cache[ids[i]], r, sample)]
                assert fitting
                drawn.update((i, rater) for rater in fitting if len(fitting) == 1)
                again = dataset[epoch, i]
                np.testing.assert_array_equal(sample.labels, again.labels)
                _, labels, soft = collate([sample]).expand()
                hard = torch.nn.functional.one_hot(labels.long().clamp(max=9), 10).movedim(-1, 1)
                torch.testing.assert_close(soft, (hard * (labels != 255).unsqueeze(1)).float())
        # also of one case, which is kept for each of them
        assert any({(i, rater) for rater in cache.raters} <= drawn for i in range(3))


def found_in(case, rater, sample):
    """Whether the sample's labels are a window of a rater's map, where its image lies."""
    image, labels = np.asarray(case.image)[0], np.asarray(case.label_maps[rater])
    windows = np.lib.stride_tricks.sliding_window_view(image, sample.labels.shape)
    at = [i for i in np.argwhere((windows[..., 0, :4] == sample.image[0, 0, :4]).all(-1))
          if np.array_equal(windows[tuple(i)], sample.image[0])]  # fmt: skip
    rows, columns = sample.labels.shape
    return any(np.array_equal(labels[r : r + rows, c : c + columns], sample.labels) for r, c in at)


def test_a_rater_that_a_case_lacks_is_named(rater_cache):
    dataset = CacheDataset(rater_cache, list(open_cache(rater_cache))[:1], raters=["nobody"])
    with pytest.raises(CacheError, match=r"no label map of the rater nobody \(it has autom"):
        dataset[0]


@pytest.mark.parametrize("library", ["torch", "monai"])
def test_dictionaries_collate_as_the_libraries_do_it(oct_cache, library):
    dataset = CacheDataset(oct_cache, list(open_cache(oct_cache))[:3], crop=(64, 48), seed=1)
    loader = pytest.importorskip(f"{library}.{'utils.data' if library == 'torch' else 'data'}")
    for batch in loader.DataLoader(dataset.as_dicts(), batch_size=3):
        image, labels, soft = collate([dataset[i] for i in range(3)]).expand()
        assert batch["id"] == list(dataset.ids)
        assert torch.equal(batch["image"], image) and torch.equal(batch["soft"], soft)
        assert torch.equal(batch["label"], labels.unsqueeze(1).long())


def test_dictionaries_have_an_end_and_epochs(oct_cache):
    dataset = CacheDataset(
        oct_cache, list(open_cache(oct_cache))[:2], augment=AugmentConfig(rotate_degrees=20)
    )
    dicts = dataset.as_dicts()
    assert len(dicts) == len(list(dicts)) == 2
    assert not torch.equal(dicts[0, 1]["image"], dicts[1, 1]["image"])
    assert torch.equal(dicts[0, 1]["image"], dicts[1]["image"])
