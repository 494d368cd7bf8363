"""Superpixels that somebody else made."""

from __future__ import annotations

import pickle

import factories
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

import softlabel
from softlabel.cache import open_cache
from softlabel.errors import CaseError, UsageError
from softlabel.generation.run import generate
from softlabel.generation.settings import Settings
from softlabel.generation.superpixel_files import SuperpixelFiles

IDS = np.arange(12).reshape(3, 4) - 1


@pytest.mark.parametrize("kind", ["npy", "nii.gz", "png", "npz", "archive"])
def test_every_kind_gives_the_same_ids(tmp_path, kind):
    expected = np.maximum(IDS, 0) if kind == "png" else IDS
    path = tmp_path
    if kind == "npy":
        np.save(tmp_path / "x y.npy", IDS)
    elif kind == "nii.gz":
        nib.save(nib.Nifti1Image(IDS.astype(np.float32), np.eye(4)), tmp_path / "x y.nii.gz")
    elif kind == "png":
        Image.fromarray(expected.astype(np.uint16)).save(tmp_path / "x y.png")
    elif kind == "npz":
        np.savez(tmp_path / "x y.npz", labels=IDS)
    else:
        path = tmp_path / "all.npz"
        np.savez(path, **{"x y": IDS, "other": IDS * 2})
    files = pickle.loads(pickle.dumps(SuperpixelFiles(path)))  # they travel to workers
    ids = files.read("x y")
    assert ids.dtype == np.int64
    np.testing.assert_array_equal(ids, expected)
    name, place = files.file("x y")
    assert name == f"superpixels:{place.name}" and place.is_file()


def test_a_cache_gives_its_superpixels(tmp_path):
    cache = factories.make_cache(tmp_path)
    files = SuperpixelFiles(cache)
    with open_cache(cache) as opened:
        np.testing.assert_array_equal(files.read("b"), opened["b"].superpixels)
    assert files.file("b")[1] == factories.part(cache, "b")
    with pytest.raises(CaseError, match="no superpixels for 'z'"):
        files.read("z")
    plain = factories.make_cache(tmp_path / "g", settings=Settings(method="gaussian"))
    with pytest.raises(CaseError, match="no superpixels for 'a'"):
        SuperpixelFiles(plain).read("a")


def test_many_cases_open_the_cache_once(tmp_path, monkeypatch):
    cache = factories.make_cache(tmp_path)
    opened = []
    monkeypatch.setattr(
        "softlabel.generation.superpixel_files.open_cache",
        lambda p: opened.append(p) or open_cache(p),
    )
    files = SuperpixelFiles(cache)
    for case_id in "abcabc":
        files.file(case_id)
        files.read(case_id)
    assert len(opened) == 1


@pytest.mark.parametrize("name", ["absent", "text.txt", "labels.npy"])
def test_a_path_of_no_known_kind(tmp_path, name):
    if name != "absent":
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=r"expected 'slic', 'grid', a folder.*\.npz.*\.h5"):
        SuperpixelFiles(tmp_path / name)


def test_what_is_missing_or_no_ids(tmp_path):
    files = SuperpixelFiles(tmp_path)
    with pytest.raises(CaseError, match=r"has no superpixels for 'a'; expected a file a\.npy"):
        files.read("a")
    assert files.file("a") is None
    np.save(tmp_path / "a.npy", IDS + 0.5)
    with pytest.raises(CaseError, match=r"no whole numbers \(float64\); save superpixel ids"):
        files.read("a")
    Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(CaseError, match="channel axis"):
        files.read("b")
    np.save(tmp_path / "c.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(CaseError, match="pickled"):
        files.read("c")
    np.savez(tmp_path / "all.npz", a=IDS)
    with pytest.raises(CaseError, match="expected an array named 'b'"):
        SuperpixelFiles(tmp_path / "all.npz").read("b")


@pytest.mark.parametrize("first", [0, 2**32, 2**63 - 6, 2**63 - 1, 2**64 - 7])
def test_ids_of_the_whole_range_of_uint64(tmp_path, first):
    """Ids beyond int64 are superpixels like all others, and equal only to themselves."""
    ids = np.array([[0, 1, 2], [3, 4, 6]], np.uint64) + np.uint64(first)
    np.save(tmp_path / "a.npy", ids)
    found = SuperpixelFiles(tmp_path).read("a")
    assert found.dtype == np.int64 and found.min() >= 0 and (np.diff(found.ravel()) > 0).all()
    if first + 6 < 2**63:
        np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_ids_that_are_not_finite(tmp_path, dtype, bad):
    np.savez(tmp_path / "all.npz", a=np.array([[0, 1, bad]], dtype))
    with pytest.raises(CaseError, match="no whole numbers"):
        SuperpixelFiles(tmp_path / "all.npz").read("a")


@pytest.mark.parametrize("bad", [2.0**53 + 2, -(2.0**53) - 2, 1e19, 1e300])
def test_floats_that_skip_whole_numbers(tmp_path, bad):
    np.save(tmp_path / "a.npy", np.array([[2.0**53, -(2.0**53)]]))
    np.save(tmp_path / "b.npy", np.array([[0, bad]]))
    files = SuperpixelFiles(tmp_path)
    assert files.read("a").tolist() == [[2**53, -(2**53)]]
    np.save(tmp_path / "c.npy", np.array([0, 65504, -65504], np.float16))
    assert files.read("c").tolist() == [0, 65504, -65504]
    with pytest.raises(CaseError, match=r"b\.npy .* expected at most 2\^53"):
        files.read("b")


@pytest.mark.parametrize("case_id", ["../secret", "sub/x", "/etc/passwd"])
def test_ids_do_not_lead_out_of_the_folder(tmp_path, case_id):
    folder = tmp_path / "ids"
    (folder / "sub").mkdir(parents=True)
    np.save(tmp_path / "secret.npy", IDS)
    np.save(folder / "sub/x.npy", IDS)
    with pytest.raises(CaseError, match="has no superpixels"):
        SuperpixelFiles(folder).read(case_id)


def test_superpixels_from_files(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    folder = tmp_path / "ids"
    folder.mkdir()
    rng = np.random.default_rng(0)
    ids = {name: rng.integers(-1, 30, (40, 44)) for name in "abc"}
    for name, values in ids.items():
        np.save(folder / f"{name}.npy", values)
    out = tmp_path / "c.h5"
    report = generate(data, out, superpixel_file=folder)
    assert report.complete and factories.settings_of(out)["superpixels"] == "file"
    with open_cache(out) as cache:
        for name, values in ids.items():
            np.testing.assert_array_equal(cache[name].superpixels, values)
            np.testing.assert_array_equal(
                cache[name].soft,
                softlabel.soften(
                    np.asarray(cache[name].labels), values, classes=cache.classes
                ).dense(),
            )
    assert factories.computed(generate(data, out, superpixel_file=folder)) == (0, 3)
    np.save(folder / "b.npy", ids["b"][::-1])
    assert factories.computed(generate(data, out, superpixel_file=folder)) == (1, 2)
    (folder / "b.npy").unlink()
    report = generate(data, out, superpixel_file=folder)
    assert list(report.failures) == ["b"] and "has no superpixels for 'b'" in report.failures["b"]


def test_superpixels_of_another_cache(tmp_path, cache):
    settings = Settings(boundary="outer")
    out = tmp_path / "second.h5"
    report = generate(cache.parent / "data", out, settings, superpixel_file=cache)
    assert report.complete
    with open_cache(out) as second, open_cache(cache) as first:
        for case_id in first:
            np.testing.assert_array_equal(second[case_id].superpixels, first[case_id].superpixels)
    again_ = generate(cache.parent / "data", out, settings, superpixel_file=cache)
    assert factories.computed(again_) == (0, 3)
