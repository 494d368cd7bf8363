"""The plugin as npe2 and napari themselves find it, read by it, and open it."""

from __future__ import annotations

import shutil
from pathlib import Path

import factories
import h5py
import numpy as np
import pytest

pytest.importorskip("npe2", reason="needs napari: pip install '.[napari]'")
pytest.importorskip("napari", reason="needs napari: pip install '.[napari]'")

import npe2
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import notification_manager

import softlabel.viewers
from softlabel import pack_cache
from softlabel.errors import CacheError, UsageError
from softlabel.viewers.layers import case_layers
from softlabel.viewers.reader import get_reader, read_cache

VOLUME = factories.full_case().id
MANIFEST = Path(softlabel.viewers.__file__).parent / "napari.yaml"


@pytest.fixture(scope="module")
def plugins():
    manager = npe2.PluginManager.instance()
    manager.discover()
    return manager


def test_the_manifest_is_valid_and_found_by_its_entry_point(plugins):
    manifest = npe2.PluginManifest.from_distribution("softlabel")
    assert manifest == plugins.get_manifest("softlabel")
    assert npe2.PluginManifest.from_file(MANIFEST).contributions == manifest.contributions
    manifest.validate_imports()


def test_npe2_reads_what_napari_takes(plugins, volume):
    found = npe2.read([str(volume.path)], stack=False, plugin_name="softlabel")
    layers = [data if isinstance(data, Layer) else Layer.create(*data) for data in found]
    expected = case_layers(volume, VOLUME)
    assert [layer.name for layer in layers] == [layer.role for layer in expected]
    for layer, one in zip(layers, expected, strict=True):
        assert isinstance(layer, {"image": Image, "labels": Labels}[one.kind])
        np.testing.assert_array_equal(np.asarray(layer.data), np.asarray(one.data))
        assert [str(unit) for unit in layer.units] == ["millimeter"] * 3
    assert {layer.name: layer.contour for layer in layers if isinstance(layer, Labels)} == {
        "labels": 0, "labels of other grader": 0, "true labels": 0, "superpixels": 1
    }  # fmt: skip


def test_a_viewer_opens_a_cache(plugins, volume):
    viewer = ViewerModel()
    viewer.open(str(volume.path), plugin="softlabel")
    assert [layer.name for layer in viewer.layers] == [
        layer.role for layer in case_layers(volume, VOLUME)
    ]
    assert viewer.dims.ndim == 3 and viewer.dims.nsteps == (5, 20, 18)
    assert viewer.dims.displayed == (1, 2)  # so the slider goes across the slices
    assert viewer.layers["superpixels"].source.reader_plugin == "softlabel"


def test_the_status_bar_names_the_class(volume):
    labels = next(layer for layer in case_layers(volume, VOLUME) if layer.role == "labels")
    layer = Layer.create(*labels.as_tuple())
    texts = set()
    for row, column in ((9, 1), (9, 9), (9, 17), (1, 9)):
        at = [0.0, 9.5 - 0.5 * row, 8.5 - 0.5 * column]
        value = int(volume[VOLUME].labels[column, row, 0])
        names = {0: "background", 7: "shell", 300: "größter Kern", 999: "ignored"}
        found = layer.get_status(at, view_direction=None, dims_displayed=[1, 2], world=True)
        assert found["value"].startswith(str(value)) and names[value] in found["value"]
        texts.add(found["value"])
    assert len(texts) == 4


def test_classes_are_drawn_in_their_colours(volume):
    labels = next(layer for layer in case_layers(volume, VOLUME) if layer.role == "labels")
    layer = Layer.create(*labels.as_tuple())
    np.testing.assert_allclose(layer.get_color(7)[:3], (0xE6 / 255, 0x9F / 255, 0), atol=1e-6)
    for value in (0, 999):
        colour = layer.get_color(value)
        assert colour is None or colour[3] == 0


def test_superpixel_0_is_seen_and_no_superpixel_is_not(volume):
    layer = next(x for x in read_cache(volume.path) if isinstance(x, Layer))
    assert layer.get_color(0)[3] == 1 and layer.get_color(5)[3] == 1
    assert layer.get_color(-1) is None  # as napari does with the background


def test_of_several_cases_it_shows_the_first_and_says_how_to_see_another(images):
    shown = []
    notification_manager.notification_ready.connect(shown.append)
    try:
        found = read_cache(images.path)
    finally:
        notification_manager.notification_ready.disconnect(shown.append)
    assert found[0][1]["metadata"]["softlabel"]["case"] == "a"
    (told,) = shown
    assert "first of 3 cases" in told.message and "Cases of a cache" in told.message


def test_a_packed_cache_is_opened_too(volume, tmp_path):
    pack_cache(volume.path, tmp_path / "one.h5")
    found = read_cache(tmp_path / "one.h5")
    np.testing.assert_array_equal(np.asarray(found[0][0]), np.asarray(
        case_layers(volume, VOLUME)[0].data))  # fmt: skip


# --- files of others, and damaged ones ------------------------------------------------------------


def test_files_of_others_are_left_to_other_plugins(plugins, tmp_path):
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["image"] = np.zeros((4, 4))
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "folder.h5").mkdir()
    for name in ("theirs.h5", "text.h5", "folder.h5", "missing.h5"):
        assert get_reader(str(tmp_path / name)) is None, name
        assert get_reader(tmp_path / name) is None, name
    with pytest.raises(ValueError, match="refused the file"):
        npe2.read([str(tmp_path / "theirs.h5")], stack=False, plugin_name="softlabel")


def test_another_plugin_opens_what_is_not_ours(plugins, tmp_path):
    """Without the reader of napari itself, which claims every .h5 and cannot open any."""
    with h5py.File(tmp_path / "theirs.h5", "w") as file:
        file["image"] = np.zeros((4, 4))
    with npe2.DynamicPlugin("another") as another:

        @another.contribute.reader(filename_patterns=["*.h5"])
        def get_read(path):
            return lambda path: [(np.ones((4, 4)),)]

        plugins.disable("napari")
        try:
            ((data,),) = npe2.read([str(tmp_path / "theirs.h5")], stack=False)
        finally:
            plugins.enable("napari")
    assert data.all()


def test_several_files_as_one_stack_are_refused():
    assert get_reader(["a.h5", "b.h5"]) is None


def copy(cache, folder):
    return factories.copy_cache(cache.path, folder)


@pytest.mark.parametrize("kept", [200, 3000])
def test_a_damaged_cache_is_reported_in_a_sentence(volume, tmp_path, kept):
    path = copy(volume, tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CacheError, match=r"rebuild it with `softlabel index .*c\.h5`"):
        get_reader(str(path))(str(path))


def test_a_damaged_packed_cache_is_reported_in_a_sentence(volume, tmp_path):
    pack_cache(volume.path, tmp_path / "one.h5")
    path = tmp_path / "one.h5"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(CacheError, match="damaged"):
        get_reader(str(path))(str(path))


def test_a_cache_of_a_newer_version_is_reported_in_a_sentence(volume, tmp_path):
    path = copy(volume, tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    with pytest.raises(CacheError, match="install a newer softlabel"):
        get_reader(str(path))(str(path))


def test_a_part_is_answered_with_the_file_to_open_instead(volume):
    path = factories.part(volume.path, VOLUME)
    with pytest.raises(CacheError, match=r"Give the \.h5 file beside the \.parts folder"):
        get_reader(str(path))(str(path))


def test_a_cache_whose_parts_are_gone_is_reported_in_a_sentence(volume, tmp_path):
    path = copy(volume, tmp_path)
    shutil.rmtree(path.with_suffix(".parts"))
    with pytest.raises(CacheError, match="is missing"):
        read_cache(path)


def test_an_empty_cache_is_reported_in_a_sentence(tmp_path):
    path = factories.full_cache(tmp_path, [])
    with pytest.raises(UsageError, match="holds no case"):
        read_cache(path)


def test_importing_the_package_imports_neither_napari_nor_matplotlib():
    """napari looks it up at every start."""
    code = "import sys, softlabel.viewers.reader; print([m for m in ('napari', 'matplotlib', "
    code += "'dask', 'qtpy') if m in sys.modules])"
    assert factories.run_python(code).strip() == "[]"
