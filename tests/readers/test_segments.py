"""Segmentations of 3D Slicer, written by SimpleITK with the fields that Slicer writes."""

from __future__ import annotations

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.readers import list_dataset
from softlabel.readers.imagefiles import read_label_map, stem_of
from softlabel.readers.pairs import read_labels
from softlabel.readers.segments import join_layers

from .factories import read_one, truncate, volume

sitk = pytest.importorskip("SimpleITK")

SHAPE = (4, 5, 6)  # z, y, x
SPACING, ORIGIN = (0.5, 0.75, 3.0), (10.0, -20.0, 5.0)


def fields(*segments, offset=None):
    """The keys of segments (name, value, layer), as Slicer numbers them."""
    keys = {}
    for number, (name, value, layer) in enumerate(segments):
        keys[f"Segment{number}_ID"] = f"Segment_{number}"
        keys[f"Segment{number}_Name"] = name
        if value is not None:
            keys[f"Segment{number}_LabelValue"] = str(value)
            keys[f"Segment{number}_Layer"] = str(layer)
    if offset is not None:
        keys["Segmentation_ReferenceImageExtentOffset"] = " ".join(map(str, offset))
    return keys


def write_nrrd(path, values, keys=(), origin=ORIGIN):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(values, isVector=values.ndim == 4)
    image.SetSpacing(SPACING)
    image.SetOrigin(origin)
    for key, value in dict(keys).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def block(*slices):
    values = np.zeros(SHAPE, np.uint8)
    values[slices] = 1
    return values


LEFT, RIGHT = block(slice(1, 3), slice(1, 3), slice(0, 2)), block(1, slice(1, 4), slice(3, 5))
OVER = block(slice(0, 2), slice(2, 5), slice(1, 4))
BOTH = (("tumour", 1, 0), ("bone", 1, 1))


def test_names_of_one_layer(tmp_path):
    keys = fields(("tumour", 1, 0), ("bone", 7, 0), offset=(0, 0, 0))
    path = write_nrrd(tmp_path / "a.seg.nrrd", LEFT + 7 * RIGHT, keys)
    found = read_label_map(path)
    np.testing.assert_array_equal(found.values, (LEFT + 7 * RIGHT).T)
    assert found.names == {1: "tumour", 7: "bone"} and found.notes == ()
    assert stem_of(path.name) == "a"


def test_files_that_are_no_segmentation_have_no_names(tmp_path):
    found = read_label_map(write_nrrd(tmp_path / "a.nrrd", LEFT))
    assert found.names is None and found.reference_offset is None


def test_layers_with_one_value_for_two_names_lose_none(tmp_path):
    path = write_nrrd(tmp_path / "a.seg.nrrd", np.stack([LEFT, RIGHT], axis=-1), fields(*BOTH))
    found = read_label_map(path)
    np.testing.assert_array_equal(found.values, (LEFT + 2 * RIGHT).T)
    assert found.names == {1: "tumour", 2: "bone"}
    (note,) = found.notes
    assert note.code == "renumbered"
    assert "1 for 'tumour' and, in layer 1, for 'bone'; the latter became 2" in note.text


def test_layers_with_values_of_their_own_keep_them(tmp_path):
    values = np.stack([LEFT, 5 * RIGHT], axis=-1)
    keys = fields(("tumour", 1, 0), ("bone", 5, 1))
    found = read_label_map(write_nrrd(tmp_path / "a.seg.nrrd", values, keys))
    np.testing.assert_array_equal(found.values, (LEFT + 5 * RIGHT).T)
    assert found.names == {1: "tumour", 5: "bone"} and found.notes == ()


def test_one_segment_a_layer_without_values_as_slicer_wrote_before(tmp_path):
    values = np.stack([LEFT, RIGHT], axis=-1)
    keys = fields(("tumour", None, None), ("bone", None, None))
    found = read_label_map(write_nrrd(tmp_path / "a.seg.nrrd", values, keys))
    np.testing.assert_array_equal(found.values, (LEFT + 2 * RIGHT).T)
    assert found.names == {1: "tumour", 2: "bone"}


def test_layers_that_overlap_are_refused(tmp_path):
    path = write_nrrd(tmp_path / "a.seg.nrrd", np.stack([LEFT, OVER], axis=-1), fields(*BOTH))
    shared = np.count_nonzero(LEFT & OVER)
    assert shared
    with pytest.raises(
        CaseError, match=rf"overlap in {shared} voxels, most of all 'tumour' and 'b"
    ):
        read_label_map(path)


def test_values_without_a_name_are_kept_apart_from_named_ones():
    joined = join_layers([LEFT, RIGHT], [{1: "tumour"}, {}], "a")
    np.testing.assert_array_equal(joined.values, LEFT + 2 * RIGHT)
    assert joined.names == {1: "tumour"} and len(joined.notes) == 1


@pytest.mark.parametrize("beside", [True, False])
def test_a_segmentation_cropped_to_its_extent_is_put_onto_its_image(tmp_path, beside):
    image = volume(SHAPE)
    labels = LEFT + 2 * RIGHT
    z, y, x = slice(1, 3), slice(1, 4), slice(0, 5)
    assert np.count_nonzero(labels[z, y, x]) == np.count_nonzero(labels)
    origin = [o + s * i for o, s, i in zip(ORIGIN, SPACING, (0, 1, 1), strict=True)]
    images, masks = (tmp_path, tmp_path) if beside else (tmp_path / "images", tmp_path / "labels")
    write_nrrd(images / "a.nrrd", image)
    keys = fields(("tumour", 1, 0), ("bone", 2, 0), offset=(0, 1, 1))
    write_nrrd(masks / "a.seg.nrrd", labels[z, y, x], keys, origin)
    case = read_one(tmp_path)
    np.testing.assert_array_equal(case.labels, labels.T)
    dataset = list_dataset(tmp_path)
    np.testing.assert_array_equal(read_labels(dataset, dataset.refs[0]), labels.T)


def test_a_crop_that_leaves_its_image_or_lies_elsewhere(tmp_path):
    write_nrrd(tmp_path / "a.nrrd", volume(SHAPE))
    keys = fields(("tumour", 1, 0), offset=(4, 0, 0))
    write_nrrd(tmp_path / "a.seg.nrrd", RIGHT, keys)
    with pytest.raises(CaseError, match="6 segmented voxels lie outside of"):
        read_one(tmp_path)
    keys = fields(("tumour", 1, 0), offset=(0, 1, 1))
    write_nrrd(tmp_path / "a.seg.nrrd", RIGHT[1:, 1:], keys)  # not where the offset puts it
    with pytest.raises(CaseError, match="lie on different grids"):
        read_one(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Segment0_LabelValue": "x"}, "Segment0_LabelValue 'x'; expected a whole number"),
        ({"Segment0_LabelValue": "-1"}, "expected a whole number"),
        ({"Segment0_Layer": "3"}, "into layer 3, but has 1"),
        ({"Segment1_Name": "bone", "Segment1_LabelValue": "1"}, "value 1 of layer 0 twice"),
        ({"Segmentation_ReferenceImageExtentOffset": "1 2"}, "expected 3 whole numbers"),
        ({"Segmentation_ReferenceImageExtentOffset": "1 2 nan"}, "expected 3 whole numbers"),
    ],
)
def test_headers_that_contradict_themselves(tmp_path, change, words):
    keys = {**fields(("tumour", 1, 0), offset=(0, 0, 0)), **change}
    path = write_nrrd(tmp_path / "a.seg.nrrd", LEFT, keys)
    with pytest.raises(CaseError, match=words):
        read_label_map(path)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_truncated(tmp_path, keep):
    path = write_nrrd(tmp_path / "a.seg.nrrd", LEFT, fields(("tumour", 1, 0)))
    with pytest.raises(CaseError, match=r"a\.seg\.nrrd"):
        read_label_map(truncate(path, keep))
