"""NPZ against NumPy alone."""

from __future__ import annotations

import factories
import numpy as np

from softlabel.cache import open_cache
from softlabel.exports import export_cache
from softlabel.files.names import file_names


def test_every_array_has_its_name_and_nothing_is_pickled(volumes, tmp_path, ids):
    export_cache(volumes, tmp_path, "npz")
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{name}.npz" for name in file_names(ids).values()
    )
    with open_cache(volumes) as cache:
        for case_id, case in cache.items():
            with np.load(tmp_path / f"{file_names(ids)[case_id]}.npz", allow_pickle=False) as found:
                content = dict(found)
            for name in ("image", "labels", "soft", "mask", "superpixels"):
                stored = getattr(case, name)
                np.testing.assert_array_equal(content[name], stored[...])
                assert content[name].dtype == stored.dtype
            assert content["id"] == case_id and content["ignore"] == 999
            assert content["class_values"].tolist() == list(factories.FULL_CLASSES.values)
            assert content["class_names"].tolist() == list(factories.FULL_CLASSES.names)
            assert content["channels"].tolist() == ["T1", "T2"]
            np.testing.assert_array_equal(content["spacing_mm"], case.spacing_mm)
            np.testing.assert_array_equal(content["affine"], case.affine)
            assert "not calibrated" in str(content["about"])


def test_on_the_grid_of_the_scanner_there_is_what_lies_on_it(slices, tmp_path):
    for grid, more in (("scanner", set()), ("cache", {"mask", "superpixels"})):
        export_cache(slices, tmp_path / grid, "npz", grid=grid)
        with np.load(tmp_path / grid / "scan.npz") as found, open_cache(slices) as cache:
            case = cache["scan"]
            assert set(found) == {
                "about", "class_names", "class_values", "id", "ignore", "image", "labels", "soft",
                *more,
            }  # fmt: skip
            image = case.original_image if grid == "scanner" else case.image
            np.testing.assert_array_equal(found["image"], image[...])
            assert found["soft"].shape == (len(cache.classes), *image.shape[1:])
