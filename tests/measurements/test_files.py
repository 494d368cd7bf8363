"""Files of a volume come back: by NumPy, by SciPy, and by the reader of Duke OCT-DME."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.io

from softlabel.measurements.files import duke_bytes, thickness_bytes
from softlabel.measurements.scans import Compared, Layers, Scales, scan_surfaces
from softlabel.measurements.sources import open_labels
from softlabel.measurements.volumes import volume_from
from softlabel.readers import READERS, list_dataset, read_case

from .factories import TWO, block, scan


@pytest.fixture(scope="module")
def volume(duke):
    source = open_labels(duke)
    scans = [
        scan_surfaces(Compared(source.read(i), "labels"), Layers(), Scales(), with_image=True)
        for i in source.ids
    ]
    return volume_from("Subject_01", scans, None)


def test_the_reader_of_the_data_set_reads_the_same_labels(volume, cases, tmp_path):
    (tmp_path / "Subject_01.mat").write_bytes(duke_bytes(volume))
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == list(cases)
    reader = READERS["duke"]
    opened = reader.open_source(dataset, "Subject_01.mat")
    for ref in dataset.refs:
        found, true = read_case(reader, dataset, ref, opened), cases[ref.id]
        np.testing.assert_array_equal(found.image, true.image)
        known = found.labels != 255
        np.testing.assert_array_equal(found.labels[known], true.labels[known])
        assert not known[true.labels == 255].any()
        assert known.mean() > 0.9 * (true.labels != 255).mean()


def test_the_layout_is_that_of_the_data_set(volume, duke):
    found = scipy.io.loadmat(io.BytesIO(duke_bytes(volume)))
    given = scipy.io.loadmat(duke / "Subject_01.mat")
    n_known = volume.places[-1] + 1
    for name in ("images", "manualLayers1", "manualFluid1"):
        expected = given[name][..., :n_known]
        assert found[name].shape == expected.shape and found[name].dtype == expected.dtype, name
    both = np.isfinite(found["manualLayers1"])
    assert both.any() and (np.isfinite(given["manualLayers1"][..., :n_known]) >= both).all()
    given_fluid = given["manualFluid1"][..., :n_known] > 0
    annotated = both.all(axis=0)  # label maps have no fluid elsewhere
    np.testing.assert_array_equal(
        (found["manualFluid1"] > 0)[:, annotated], given_fluid[:, annotated]
    )
    # a grader's line may have fractions: the first row of the layer below it is the next whole one
    dry = ~given_fluid.any(axis=0) & both
    np.testing.assert_array_equal(
        found["manualLayers1"][dry],
        np.maximum.accumulate(np.ceil(given["manualLayers1"][..., :n_known]), axis=0)[dry],
    )


def test_without_images_there_are_layers_and_fluid():
    one = scan("v_bscan_1")
    bare = type(one)(**{**vars(one), "image": None})
    found = scipy.io.loadmat(io.BytesIO(duke_bytes(volume_from("v", [bare], None))))
    assert "images" not in found
    layers = found["manualLayers1"]
    assert layers.shape == (2, 5, 2) and np.isnan(layers[..., 0]).all()
    assert layers[:, 0, 1].tolist() == [3, 7]  # first rows of the layers below, counted from 1
    assert np.isnan(found["manualFluid1"][..., 0]).all() and found["manualFluid1"].shape[0] == 10


def test_thickness_maps_are_read_without_pickles():
    volume = volume_from("v", [scan("v_bscan_1", block(bottom=5))], 0.12)
    with np.load(io.BytesIO(thickness_bytes(volume, TWO)), allow_pickle=False) as found:
        assert found["layers"].tolist() == ["retina", "top to bottom"]
        assert found["bscans"].tolist() == [1]
        np.testing.assert_allclose(found["spacing_mm"], (0.01, 0.12))
        assert found["thickness_um"].dtype == np.float32
        np.testing.assert_array_equal(found["thickness_um"][0], [[np.nan, 12]] * 5)
    volume = volume_from("v", [scan("v")], None)
    with np.load(io.BytesIO(thickness_bytes(volume, TWO)), allow_pickle=False) as found:
        assert np.isnan(found["spacing_mm"][1])


def test_the_same_volume_gives_the_same_bytes(volume):
    assert duke_bytes(volume) == duke_bytes(volume)
    assert thickness_bytes(volume, Layers()) == thickness_bytes(volume, Layers())
