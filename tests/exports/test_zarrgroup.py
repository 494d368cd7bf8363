"""zarr against the zarr library."""

from __future__ import annotations

import sys

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.errors import MissingExtraError
from softlabel.exports import export_cache

zarr = pytest.importorskip("zarr")


def test_a_group_has_arrays_axes_and_attributes(volumes, tmp_path):
    (path,) = export_cache(volumes, tmp_path, "zarr", ids=["sub-02"]).written
    group = zarr.open_group(path, mode="r")
    assert group.metadata.zarr_format == 3
    attributes = dict(group.attrs)
    assert attributes["id"] == "sub-02" and attributes["ignore"] == 999
    assert [(c["value"], c["name"]) for c in attributes["classes"]] == list(factories.FULL_CLASSES)
    assert "not calibrated" in attributes["about"] and attributes["channels"] == ["T1", "T2"]
    with open_cache(volumes) as cache:
        case = cache["sub-02"]
        assert attributes["spacing_mm"] == list(case.spacing_mm)
        np.testing.assert_array_equal(attributes["affine"], case.affine)
        assert set(group) == {"image", "labels", "mask", "soft", "superpixels"}
        for name, axes in (
            ("soft", ("class", "i", "j", "k")), ("image", ("channel", "i", "j", "k")),
            ("labels", ("i", "j", "k")), ("mask", ("i", "j", "k")),
            ("superpixels", ("i", "j", "k")),
        ):  # fmt: skip
            stored, array = getattr(case, name), group[name]
            np.testing.assert_array_equal(array[...], stored[...])
            assert array.dtype == stored.dtype and array.metadata.dimension_names == axes
        assert group["soft"].chunks[0] == 1


def test_slices_come_back_to_the_grid_of_the_scanner(slices, tmp_path):
    (path,) = export_cache(slices, tmp_path, "zarr").written
    group = zarr.open_group(path, mode="r")
    with open_cache(slices) as cache:
        np.testing.assert_array_equal(group["labels"][...], cache["scan"].original_labels[...])
    assert group["soft"].shape[1:] == group["labels"].shape
    assert group["soft"].metadata.dimension_names == ("class", "i", "j")


def test_a_group_is_there_as_a_whole_or_not_at_all(volumes, tmp_path, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(zarr.Group, "create_array", stop)
        export_cache(volumes, tmp_path, "zarr")
    assert list(tmp_path.iterdir()) == []
    (path,) = export_cache(volumes, tmp_path, "zarr", ids=["sub-02"]).written
    (path / "stray").write_text("of an earlier version")
    export_cache(volumes, tmp_path, "zarr", ids=["sub-02"], overwrite=True)
    assert not (path / "stray").exists() and len(list(tmp_path.iterdir())) == 1


def test_without_zarr_the_error_says_how_to_get_it(volumes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtraError, match=r"pip install '.\[export\]'.*pip install zarr"):
        export_cache(volumes, tmp_path / "out", "zarr")
    assert not (tmp_path / "out").exists()
