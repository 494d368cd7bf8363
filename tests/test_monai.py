"""Caches in MONAI's pipelines, compared with the cache itself and with maps padded by hand."""

from __future__ import annotations

import pickle
from pathlib import Path

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.errors import CacheError, UsageError

torch = pytest.importorskip("torch", reason="needs torch: pip install '.[monai]'")
monai = pytest.importorskip("monai", reason="needs MONAI: pip install '.[monai]'")

from monai.transforms import Compose, Flipd, RandAffined, RandFlipd, Spacingd  # noqa: E402

from softlabel.monai import (  # noqa: E402
    LoadSoftLabeld,
    SwapBackgroundd,
    data_list,
    pad_with_background,
)

KEYS = ("image", "label", "soft", "superpixels")
MODES = ("bilinear", "nearest", "bilinear", "nearest")
TURNED = {"prob": 1, "rotate_range": (0.5, 0.2, 0.2), "translate_range": (3, 4, 1),
          "padding_mode": "zeros"}  # fmt: skip


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    cases = [factories.full_case(name, seed) for seed, name in enumerate("abc")]
    return factories.full_cache(tmp_path_factory.mktemp("cache"), cases)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """2D, and every pixel known: the sums of soft maps are 1 with the method gaussian."""
    return factories.make_cache(
        tmp_path_factory.mktemp("photos"), settings=factories.Settings(method="gaussian")
    )


def test_items_name_their_case(cache):
    items = data_list(cache)
    assert [item["case"] for item in items] == ["a", "b", "c"]
    assert {item["patient"] for item in items} == {"Patient ß"}
    with open_cache(cache) as opened:
        assert items == data_list(opened)
        assert items[0]["digest"] == opened["a"].content_digest()


def test_arrays_are_those_of_the_cache(cache):
    item = LoadSoftLabeld(KEYS)(data_list(cache)[1])
    with open_cache(cache) as opened:
        case = opened["b"]
        np.testing.assert_array_equal(item["image"], case.image[...])
        np.testing.assert_array_equal(item["soft"], case.soft[...])
        np.testing.assert_array_equal(item["superpixels"][0], case.superpixels[...])
        values = np.select([case.labels[...] == v for v in (0, 7, 300)], [0, 1, 2], 255)
        np.testing.assert_array_equal(item["label"][0], values)
        for key in KEYS:
            assert isinstance(item[key], monai.data.MetaTensor)
            np.testing.assert_array_equal(item[key].affine, case.affine)
    assert item["case"] == "b" and item["label"].dtype == torch.uint8
    assert item["image"].meta["filename_or_obj"] == "b"


def test_spacing_is_that_of_the_affine_also_of_images(tmp_path):
    case = factories.small_case(spacing_mm=(0.5, 0.25))
    path = factories.cache_of(tmp_path, [case], factories.QUICK, case.classes, None, ())
    item = LoadSoftLabeld()(data_list(path)[0])
    spaced = Spacingd(("image", "label", "soft"), (1, 0.5), mode=MODES[:3])(item)
    assert spaced["soft"].pixdim.tolist() == [1, 0.5]
    rows, columns = case.shape
    assert spaced["soft"].shape[1:] == (rows // 2, columns // 2)


def test_a_spacing_keeps_the_sums(photos):
    item = LoadSoftLabeld()(data_list(photos)[0])
    np.testing.assert_allclose(item["soft"].sum(0), 1, atol=1e-6)
    spaced = Spacingd(("image", "label", "soft"), (1.3, 0.7), mode=MODES[:3])(item)
    np.testing.assert_allclose(spaced["soft"].sum(0), 1, atol=1e-5)


def test_zeros_would_belong_to_no_class(photos):
    item = LoadSoftLabeld()(data_list(photos)[0])
    turned = RandAffined("soft", **TURNED).set_random_state(0)(item)
    assert turned["soft"].sum(0).min() < 0.01


@pytest.mark.parametrize("background", [0, 2])
def test_padding_keeps_the_sums(photos, background):
    item = LoadSoftLabeld()(data_list(photos)[0])
    transform = pad_with_background(RandAffined("soft", **TURNED), background=background)
    soft = transform.set_random_state(0)(item)["soft"]
    np.testing.assert_allclose(soft.sum(0), 1, atol=1e-5)
    assert soft.min() > -1e-6
    corners = soft[background, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() == pytest.approx(1)


def test_padding_is_a_margin_of_background_around_the_image(cache):
    """The reference: a margin written by hand, wide enough that no pixel comes from beyond."""
    item = LoadSoftLabeld(KEYS)(data_list(cache)[0])
    wide = dict(item)
    for key, value in (("soft", 0.0), ("superpixels", -1.0)):
        margin = np.pad(item[key].numpy(), ((0, 0), *[(20, 20)] * 3), constant_values=value)
        if key == "soft":
            outside = np.pad(np.zeros(item[key].shape[1:]), 20, constant_values=1)
            margin[0] += outside
        wide[key] = monai.data.MetaTensor(margin.astype(np.float32), item[key].affine)
    keys = {"keys": ("soft", "superpixels"), "mode": ("bilinear", "nearest")}
    found = pad_with_background(RandAffined(**keys, **TURNED)).set_random_state(3)(item)
    # a Compose draws the seeds of its transforms, so that both are turned alike
    expected = Compose([RandAffined(**keys, **TURNED)]).set_random_state(3)(wide)
    for key in keys["keys"]:
        inner = np.asarray(expected[key])[:, 20:-20, 20:-20, 20:-20]
        np.testing.assert_allclose(found[key], inner, atol=2e-5)


def test_swapping_twice_changes_nothing(cache):
    item = LoadSoftLabeld(KEYS)(data_list(cache)[0])
    swap = SwapBackgroundd(ids=("superpixels",))
    assert not torch.equal(swap(item)["soft"], item["soft"])
    for twice in (swap(swap(item)), swap.inverse(swap(item))):
        torch.testing.assert_close(twice["soft"], item["soft"])
        assert torch.equal(twice["superpixels"], item["superpixels"])


def test_what_was_turned_is_turned_back(cache):
    item = LoadSoftLabeld(KEYS)(data_list(cache)[0])
    transform = pad_with_background(Flipd(KEYS, (0, 2)))
    back = transform.inverse(transform(item))
    for key in KEYS:
        torch.testing.assert_close(back[key], item[key])


def test_lazy_resampling_around_it_changes_nothing(photos):
    keys, mode = ("image", "label", "soft"), MODES[:3]
    affine = RandAffined(keys, **TURNED, mode=mode)
    found = [
        Compose([LoadSoftLabeld(), pad_with_background(affine)], lazy=lazy)
        .set_random_state(0)(data_list(photos)[0])
        for lazy in (False, True)
    ]  # fmt: skip
    for key in keys:
        torch.testing.assert_close(found[0][key], found[1][key])
    assert found[1]["label"].unique().tolist() == [0, 1, 2]
    assert found[1]["soft"][0, [0, 0, -1, -1], [0, -1, 0, -1]].max() == pytest.approx(1)


def test_what_waits_is_carried_out_before(photos):
    keys = ("image", "label", "soft")
    turned = pad_with_background(RandAffined(keys, **TURNED, mode=MODES[:3]))
    transform = Compose([LoadSoftLabeld(), Spacingd(keys, (0.8, 0.8)), turned], lazy=True)
    item = transform.set_random_state(0)(data_list(photos)[0])
    assert item["soft"].shape[1:] == (50, 55)
    np.testing.assert_allclose(item["soft"].sum(0), 1, atol=1e-5)


@pytest.mark.slow
def test_data_sets_and_workers_of_monai_read_it(cache):
    transform = Compose(
        [LoadSoftLabeld(KEYS), pad_with_background(RandFlipd(KEYS, prob=0.5, spatial_axis=0))]
    )
    kept = monai.data.CacheDataset(data_list(cache), transform, num_workers=2, progress=False)
    loader = monai.data.DataLoader(kept, batch_size=3, num_workers=2)
    fresh = monai.data.DataLoader(
        monai.data.Dataset(data_list(cache), LoadSoftLabeld(KEYS)),
        batch_size=3, num_workers=2, multiprocessing_context="spawn",
    )  # fmt: skip
    (batch,), (plain,) = loader, fresh
    assert batch["soft"].shape == (3, 3, 18, 20, 5) and batch["case"] == ["a", "b", "c"]
    with open_cache(cache) as opened:
        for n, case in enumerate(opened.values()):
            np.testing.assert_array_equal(plain["soft"][n], case.soft[...])


def test_a_pickled_transform_opens_files_of_its_own(cache):
    load, item = LoadSoftLabeld(KEYS), data_list(cache)[0]
    expected = load(item)
    again = pickle.loads(pickle.dumps(load))
    assert not again._caches
    assert torch.equal(again(item)["soft"], expected["soft"])


def test_a_case_in_two_parts_of_a_file_is_refused(cache, tmp_path):
    """Once by its patient and once by its own name, which differ."""
    opened = open_cache(cache)
    patient = opened.facts("a").group
    path = tmp_path / "splits_final.json"
    path.write_text(f'[{{"train": ["{patient}"], "val": ["a"]}}]', encoding="utf-8")
    for part in ("train", "val"):
        with pytest.raises(UsageError, match=r"has the case .* in its parts .* by name or by"):
            data_list(cache, path, part=part)


def test_a_file_of_splits_chooses(cache, tmp_path):
    path = tmp_path / "splits_final.json"
    path.write_text('[{"train": ["a"], "val": ["b"]}, {"train": ["c"], "val": ["a"]}]')
    assert [i["case"] for i in data_list(cache, path, "val")] == ["b"]
    assert [i["case"] for i in data_list(cache, str(path), fold=1)] == ["c"]
    assert [i["case"] for i in data_list(cache, ["c", "a"])] == ["a", "c"]
    assert len(data_list(cache, ["Patient ß"])) == 3
    with pytest.raises(UsageError, match=r"neither a case nor a patient x; its patients are Pat"):
        data_list(cache, ["x"])
    with pytest.raises(UsageError, match="has no part test; it has train, validation"):
        data_list(cache, path, "test")


def test_what_cannot_be_loaded_is_refused_in_a_sentence(cache, photos):
    with pytest.raises(UsageError, match="no array 'labels' to load; expected image, label, soft"):
        LoadSoftLabeld(("image", "labels"))
    with pytest.raises(UsageError, match=r"keys cache and case, as softlabel\.monai\.data_list"):
        LoadSoftLabeld()({"image": "x.nii"})
    stale = data_list(cache)[0] | {"digest": "0" * 64}
    with pytest.raises(CacheError, match="has changed since data_list was called"):
        LoadSoftLabeld()(stale)
    with pytest.raises(CacheError, match="holds no superpixels, as its method needs none"):
        LoadSoftLabeld(KEYS)(data_list(photos)[0])
    with pytest.raises(IndexError, match="no class 3, the background"):
        SwapBackgroundd(background=3)(LoadSoftLabeld()(data_list(photos)[0]))


def test_without_monai_the_import_says_how_to_get_it():
    code = """
import sys
sys.modules["monai"] = None
try:
    import softlabel.monai
except ImportError as error:
    print(error)
"""
    assert factories.run_python(code).startswith(
        "softlabel.monai needs monai, which is not installed; run pip install '.[monai]'"
    )


def test_softlabel_itself_imports_no_monai():
    assert "False" in factories.run_python("import softlabel, sys; print('monai' in sys.modules)")
