"""Cases one after another in the layers of one viewer, without a window."""

from __future__ import annotations

import shutil
from dataclasses import replace

import factories
import numpy as np
import pytest

pytest.importorskip("napari", reason="needs napari: pip install '.[napari]'")

from napari.components import ViewerModel

from softlabel.cache import open_cache
from softlabel.errors import CacheError
from softlabel.viewers.layers import case_layers
from softlabel.viewers.viewer import layers_of, show_case, shown_case

VOLUME = factories.full_case().id


@pytest.fixture
def viewer(images):
    viewer = ViewerModel()
    show_case(viewer, images, "a")
    return viewer


def shows(viewer, cache, case_id):
    """Whether the layers of a viewer are those of a case, in their order."""
    expected = case_layers(cache, case_id)
    found = layers_of(viewer, cache.path)
    assert list(found) == [layer.role for layer in expected]
    for layer in expected:
        shown = found[layer.role]
        np.testing.assert_array_equal(np.asarray(shown.data), np.asarray(layer.data))
        np.testing.assert_allclose(shown.scale, layer.options["scale"])
        np.testing.assert_allclose(shown.translate, layer.options["translate"])
        assert shown.metadata["softlabel"]["case"] == case_id
    return True


def test_another_case_takes_the_same_layers(viewer, images):
    before = list(viewer.layers)
    assert shows(viewer, images, "a") and shown_case(viewer) == (images.path, "a")
    assert viewer.layers.selection.active is viewer.layers["labels"]  # for the status bar
    show_case(viewer, images, "b")
    assert shows(viewer, images, "b") and shown_case(viewer) == (images.path, "b")
    assert list(viewer.layers) == before  # the same objects


def test_what_the_user_chose_stays(viewer, images):
    viewer.layers["entropy"].visible = True
    viewer.layers["labels"].visible = False
    viewer.layers["labels"].opacity = 0.9
    viewer.layers["superpixels"].contour = 3
    viewer.layers["image"].contrast_limits = (20, 90)
    viewer.layers["image"].name = "my photo"
    show_case(viewer, images, "b")
    assert shows(viewer, images, "b")
    layers = viewer.layers
    assert layers["entropy"].visible and not layers["labels"].visible
    assert (layers["labels"].opacity, layers["superpixels"].contour) == (0.9, 3)
    assert layers["my photo"].contrast_limits == [20, 90]


def test_a_window_that_nobody_changed_is_that_of_the_new_case(viewer, images):
    show_case(viewer, images, "b")
    expected = np.percentile(images["b"].image[0], [0.5, 99.5])
    np.testing.assert_allclose(viewer.layers["image"].contrast_limits, expected)
    show_case(viewer, images, "c", window=(1.0, 2.0))
    assert viewer.layers["image"].contrast_limits == [1, 2]


def test_a_cache_is_the_same_by_a_relative_path(viewer, images, monkeypatch):
    before = list(viewer.layers)
    monkeypatch.chdir(images.path.parent)
    with open_cache("c.h5") as relative:
        show_case(viewer, relative, "b")
        assert list(viewer.layers) == before and shows(viewer, relative, "b")


def test_layers_of_others_stay(viewer, images, volume):
    mine = viewer.add_image(np.zeros((4, 4)), name="mine", metadata={"softlabel": "a note"})
    show_case(viewer, volume, VOLUME)
    show_case(viewer, images, "c")
    assert mine in viewer.layers and shows(viewer, volume, VOLUME) and shows(viewer, images, "c")
    assert shown_case(viewer) == (volume.path, VOLUME)


def test_a_layer_that_was_deleted_stays_so(viewer, images):
    del viewer.layers["labels"], viewer.layers["soft label of label 0"]
    show_case(viewer, images, "b")
    show_case(viewer, images, "c")
    roles = [x.role for x in case_layers(images, "c")]
    left = [r for r in roles if r not in ("labels", "soft label of label 0")]
    assert list(layers_of(viewer, images.path)) == left
    show_case(viewer, images, "c", class_index=0)  # unless it is asked for
    assert list(layers_of(viewer, images.path)) == [r for r in roles if r != "labels"]
    viewer.layers.clear()
    show_case(viewer, images, "b")
    assert shows(viewer, images, "b")


def test_layers_that_only_one_case_has_come_and_go(tmp_path):
    full = factories.full_case()
    plain = replace(full, id="plain", truth=None, label_maps={})
    with open_cache(factories.full_cache(tmp_path, [full, plain])) as cache:
        viewer = ViewerModel()
        for case_id in ("plain", VOLUME, "plain", VOLUME):
            show_case(viewer, cache, case_id)
            assert shows(viewer, cache, case_id)


def test_a_class_may_be_shown_at_once(many):
    viewer = ViewerModel()
    show_case(viewer, many, "stripes", class_index=19)
    assert viewer.layers["soft label of label 19"].visible
    show_case(viewer, many, "stripes")
    assert viewer.layers["soft label of label 19"].visible  # it stays among the layers


def test_the_step_through_a_volume_reads_from_memory(volume, monkeypatch):
    """napari keeps the blocks of Dask arrays that it computed."""
    viewer = ViewerModel()
    show_case(viewer, volume, VOLUME)
    from softlabel.cache import StoredArray

    read = []
    real = StoredArray.__getitem__
    monkeypatch.setattr(
        StoredArray, "__getitem__", lambda self, key: (read.append(self.name), real(self, key))[1]
    )
    viewer.dims.set_current_step(0, 0)
    shown = np.asarray(viewer.layers["image T1"]._slice.image.raw)
    np.testing.assert_array_equal(shown, volume[VOLUME].image.__array__()[0, :, :, 0].T)
    assert read.count("image") <= 1


def test_a_damaged_case_leaves_the_viewer_as_it_was(images, tmp_path):
    path = factories.copy_cache(images.path, tmp_path)
    factories.part(path, "b").write_bytes(b"no case any more")
    viewer = ViewerModel()
    with open_cache(path) as cache:
        show_case(viewer, cache, "a")
        with pytest.raises(CacheError, match="cannot be opened as HDF5"):
            show_case(viewer, cache, "b")
        assert shows(viewer, cache, "a")


def test_damage_that_is_met_while_looking_is_a_sentence(images, tmp_path):
    path = factories.copy_cache(images.path, tmp_path)
    with open_cache(path) as cache:
        layer = next(x for x in case_layers(cache, "a") if x.role == "entropy")
    shutil.rmtree(path.with_suffix(".parts"))
    with pytest.raises(CacheError, match="is missing"):
        np.asarray(layer.data)
