from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.readers import READERS, detect, list_dataset, scan_classes

from .factories import (
    label_volume,
    read_all,
    read_one,
    truncate,
    volume,
    write_nifti,
    write_pairs,
    write_png,
)


def test_one_case_with_two_images_says_so_and_not_that_nothing_matches(tmp_path):
    for name in ("images/a.png", "labels/a.png"):
        (tmp_path / name).parent.mkdir()
        write_png(tmp_path / name, np.zeros((6, 7), np.uint8))
    (tmp_path / "images/a.bmp").write_bytes(b"another one")
    with pytest.raises(SourceError, match=r"no case can be read\. The case 'a' has 2 files that"):
        list_dataset(tmp_path)


def test_usual_folder_names_are_found(tmp_path):
    write_pairs(tmp_path, ("scan10", "scan2"))
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "img" / ".DS_Store").write_text("x")
    assert detect(tmp_path)[1] == "image/label pairs: images img, label maps mask"
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["scan2", "scan10"]
    assert dataset.description == (
        "image/label pairs: 2 cases, images img, label maps mask, matched by stem"
    )
    assert dataset.classes is None and dataset.ignore is None
    assert dataset.options["images"] == "img" and dataset.options["labels"] == "mask"
    case = read_all(dataset)["scan2"]
    np.testing.assert_array_equal(case.image[0], volume((8, 9), 1, np.uint8))
    assert set(np.unique(case.labels)) == {0, 128, 255} and case.labels.dtype == np.uint8
    assert case.channels == ("intensity",) and case.spacing_mm is None and case.classes is None


def test_listing_reads_no_images(tmp_path):
    write_pairs(tmp_path)
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"")
    assert len(list_dataset(tmp_path).refs) == 2


@pytest.mark.parametrize(
    ("images", "labels"), [("Images", "SEG"), ("imagesTr", "labelsTr"), ("scans", "annotations")]
)
def test_other_usual_names(tmp_path, images, labels):
    write_pairs(tmp_path)
    (tmp_path / "img").rename(tmp_path / images)
    (tmp_path / "mask").rename(tmp_path / labels)
    assert len(list_dataset(tmp_path).refs) == 2


@pytest.mark.parametrize("ending", [".ome.tif", ".ome.tiff", ".OME.TIF"])
@pytest.mark.parametrize("label", ["a.tif", "a.ome.tif", "a.png"])
def test_the_id_of_an_ome_tiff_is_its_stem(tmp_path, ending, label):
    shape = (8, 9)
    for folder, name in (("images", f"a{ending}"), ("labels", label)):
        (tmp_path / folder).mkdir()
        values = np.ones(shape, np.uint8)
        path = tmp_path / folder / name
        if name.lower().endswith(".png"):
            write_png(path, values)
        else:
            metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
            tifffile.imwrite(path, values, ome=".ome" in name.lower(),
                             metadata=metadata if ".ome" in name.lower() else None)  # fmt: skip
    (case,) = read_all(list_dataset(tmp_path)).values()
    assert case.id == "a" and case.shape == shape
    assert case.spacing_mm == pytest.approx((0.25e-3, 0.5e-3))


def test_two_candidates_need_a_word(tmp_path):
    write_pairs(tmp_path)
    (tmp_path / "seg").mkdir()
    with pytest.raises(SourceError, match="mask"):
        list_dataset(tmp_path, "pairs")
    assert len(list_dataset(tmp_path, options={"images": "img", "labels": "mask"}).refs) == 2


def test_patterns_and_channels(tmp_path):
    for subject in ("s1", "s2"):
        write_nifti(tmp_path / subject / "t1.nii.gz", volume(seed=1))
        write_nifti(tmp_path / subject / "t2.nii.gz", volume(seed=2))
        write_nifti(tmp_path / subject / "label.nii.gz", label_volume())
    options = {"images": "*/t1.nii.gz, */t2.nii.gz", "labels": "*/label.nii.gz"}
    dataset = list_dataset(tmp_path, options=options)
    assert dataset.format == "pairs" and "matched by what * stands for" in dataset.description
    case = read_all(dataset)["s2"]
    np.testing.assert_array_equal(case.image[1], volume(seed=2))
    assert case.channels == ("channel 0", "channel 1")


def test_label_maps_beside_their_images(tmp_path):
    for name in ("a", "b"):
        write_nifti(tmp_path / f"{name}.nii.gz", volume())
        write_nifti(tmp_path / f"{name}_seg.nii.gz", label_volume())
    write_png(tmp_path / "preview.png", volume((4, 4), dtype=np.uint8))
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["a", "b"] and not dataset.problems
    assert "label maps ending in _seg" in dataset.description
    read_all(dataset)


def test_npz_files_with_both(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, vol=volume(dtype=np.float64), seg=label_volume().astype(np.float64))
    for root in (tmp_path, path):
        dataset = list_dataset(root)
        assert dataset.root == tmp_path and "each file holding both" in dataset.description
        case = read_one(root)
        np.testing.assert_array_equal(case.image[0], volume())
        np.testing.assert_array_equal(case.labels, label_volume())
        assert case.image.dtype == np.float64 and case.labels.dtype == np.uint8
        assert dataset.refs[0].files == ("scan.npz",)


def test_npz_files_with_other_keys(tmp_path):
    path = tmp_path / "scan.npz"
    np.savez(path, p=volume(), q=label_volume())
    with pytest.raises(SourceError, match="looked for"):
        list_dataset(tmp_path)
    options = {"image_key": "p", "label_key": "q"}
    for root in (tmp_path, path):
        np.testing.assert_array_equal(read_one(root, "auto", **options).labels, label_volume())
    case = read_one(tmp_path, "auto", images="*.npz", labels="*.npz", **options)
    np.testing.assert_array_equal(case.image[0], volume())


def test_class_table_and_ignore(tmp_path):
    write_pairs(tmp_path, ("a",))
    table = tmp_path / "classes.json"
    table.write_text(json.dumps({"0": "background", "128": "lesion", "255": "unknown"}))
    dataset = list_dataset(tmp_path, options={"classes": str(table), "ignore": 255})
    assert tuple(dataset.classes) == ((0, "background"), (128, "lesion")) and dataset.ignore == 255
    assert dataset.options["classes"] == "classes.json" and dataset.options["ignore"] == 255
    read_all(dataset)
    table.write_text(json.dumps({"background": 0, "lesion": 255, "ignore": 7}))
    dataset = list_dataset(tmp_path, options={"classes": str(table)})
    with pytest.raises(CaseError, match=r"128 \(\d+ pixels\).*ignore label 7"):
        read_all(dataset)
    with pytest.raises(UsageError, match="ignore is 255, but"):
        list_dataset(tmp_path, options={"classes": str(table), "ignore": 255})
    with pytest.raises(UsageError, match="ignore is -1"):
        list_dataset(tmp_path, options={"ignore": -1})


def test_label_maps_beside_the_first_stay_readable(tmp_path):
    write_pairs(tmp_path, ("a", "b", "c"))
    truncate(tmp_path / "mask/b.png")
    dataset = list_dataset(tmp_path)
    with pytest.raises(CaseError, match=r"mask/b\.png cannot be read"):
        read_all(dataset)
    assert scan_classes(dataset).values == (0, 128, 255)


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"images": "img"}, UsageError, "option labels is missing"),
        ({"labels": "mask"}, UsageError, "option images is missing"),
        ({"images": "../none", "labels": "mask"}, SourceError, "no image file that matches"),
        ({"images": "/none", "labels": "mask"}, SourceError, "no image file that matches"),
        (
            {"images": "img", "labels": "mask", "raters": "mask"},
            UsageError,
            "labels and raters are given together",
        ),
        ({"images": "img", "labels": "no/*.png"}, SourceError, "no image file that matches"),
        ({"images": "img", "labels": "mask", "channel_axis": "x"}, UsageError, "an integer"),
        ({"images": "img", "labels": "mask", "grader": "1"}, UsageError, "no option 'grader'"),
        ({"images": "img", "labels": "a**b/x"}, (SourceError, UsageError), r"a\*\*b"),
    ],
)
def test_options_that_cannot_work(tmp_path, options, error, reason):
    write_pairs(tmp_path)
    with pytest.raises(error, match=reason):
        list_dataset(tmp_path, options=options)


def test_no_matching_names(tmp_path):
    write_png(tmp_path / "img/a.png", volume((4, 4), dtype=np.uint8))
    write_png(tmp_path / "mask/z.png", label_volume((4, 4)))
    with pytest.raises(SourceError, match=r"img/a\.png and mask/z\.png"):
        list_dataset(tmp_path)


def test_a_file_that_is_no_data_set(tmp_path):
    path = write_png(tmp_path / "a.png", volume((4, 4), dtype=np.uint8))
    with pytest.raises(SourceError, match="is a file; expected a folder"):
        list_dataset(path, "pairs")


def test_special_characters_in_a_single_file(tmp_path):
    path = tmp_path / "a[1]*.npz"
    np.savez(path, image=volume(), label=label_volume())
    np.savez(tmp_path / "a1x.npz", image=volume(), label=label_volume())
    assert [ref.files for ref in list_dataset(path).refs] == [("a[1]*.npz",)]


def disk(centre, radius=8, shape=(40, 48)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2).astype(np.uint8)


def test_numbered_masks_are_one_annotation(tmp_path):
    """The BUSI layout: two lesions of one image, a mask each."""
    first, second = disk((12, 12)), disk((28, 34))
    write_png(tmp_path / "b (1).png", volume((40, 48), dtype=np.uint8))
    write_png(tmp_path / "b (1)_mask.png", 255 * first)
    write_png(tmp_path / "b (1)_mask_1.png", 255 * second)
    dataset = list_dataset(tmp_path)
    assert [ref.id for ref in dataset.refs] == ["b (1)"] and not dataset.problems
    np.testing.assert_array_equal(read_all(dataset)["b (1)"].labels, first | second)


def test_one_file_a_class(tmp_path):
    """The TotalSegmentator layout: a class that a case lacks keeps its value."""
    organs = {"liver": disk((12, 12)), "spleen": disk((28, 34)), "aorta": disk((20, 24), 3)}
    for subject, names in (("s1", organs), ("s2", ("spleen",))):
        write_nifti(tmp_path / subject / "ct.nii.gz", volume((40, 48, 2)))
        for name in names:
            mask = np.repeat(organs[name][..., None], 2, axis=2)
            write_nifti(tmp_path / subject / "segmentations" / f"{name}.nii.gz", mask)
    dataset = list_dataset(tmp_path)
    assert "TotalSegmentator" in dataset.description
    assert dict(dataset.classes) == {0: "background", 1: "aorta", 2: "liver", 3: "spleen"}
    cases = read_all(dataset)
    expected = np.where(organs["spleen"], 3, np.where(organs["liver"], 2, 0))
    expected = np.where(organs["aorta"], 1, expected)
    np.testing.assert_array_equal(cases["s1"].labels[..., 0], expected)
    np.testing.assert_array_equal(np.unique(cases["s2"].labels), [0, 3])


def test_overlapping_label_files(tmp_path):
    for name, mask in (("a", disk((20, 20))), ("b", disk((20, 24)))):
        write_png(tmp_path / "labels" / f"x_{name}.png", mask)
    write_png(tmp_path / "images/x.png", volume((40, 48), dtype=np.uint8))
    options = {"images": "images", "labels": "labels", "label_files": "class"}
    labels = read_one(tmp_path, "pairs", **options).labels
    np.testing.assert_array_equal(
        labels, np.where(disk((20, 24)), 2, disk((20, 20))), "the later file counts"
    )
    with pytest.raises(
        CaseError, match=r"x_b\.png overlaps an earlier label file .* in \d+ pixels"
    ):
        read_one(tmp_path, "pairs", **options, overlaps="refuse")


def test_raters_are_stacked(tmp_path):
    for rater, shift in (("rater1", 0), ("rater2", 2)):
        write_png(tmp_path / rater / "x.png", disk((20, 20 + shift)))
    write_png(tmp_path / "images/x.png", volume((40, 48), dtype=np.uint8))
    case = read_one(tmp_path, "pairs", images="images", raters="rater1/*,rater2/*")
    assert case.rater_axis == 0 and case.raters == ("rater1", "rater2")
    np.testing.assert_array_equal(case.labels[1], disk((20, 22)))


def test_a_mask_of_the_field_of_view_is_no_label(tmp_path):
    """The DRIVE layout: 1st_manual holds the annotation, mask a disc that is the field of view."""
    view, vessel = disk((20, 24), 18), disk((20, 24), 4)
    write_png(tmp_path / "images/21_training.png", volume((40, 48), dtype=np.uint8))
    write_png(tmp_path / "1st_manual/21_manual1.png", vessel)
    write_png(tmp_path / "mask/21_training_mask.png", 255 * view)
    dataset = list_dataset(tmp_path)
    case = read_all(dataset)["21"]
    np.testing.assert_array_equal(case.labels, vessel)
    np.testing.assert_array_equal(case.mask, view == 1)
    assert "mask taken for the field of view" in dataset.description


def test_two_folders_that_could_be_the_labels_are_named(tmp_path):
    write_pairs(tmp_path)
    write_png(tmp_path / "seg/scan1.png", disk((4, 4), 2))
    with pytest.raises(SourceError, match=r"label folders \['mask', 'seg'\].*--labels"):
        list_dataset(tmp_path, "pairs")


def test_images_and_labels_under_different_roots(tmp_path):
    write_png(tmp_path / "disk1/scans/a.png", volume((8, 9), dtype=np.uint8))
    write_png(tmp_path / "disk2/annotation/a.png", label_volume((8, 9)))
    options = {"images": str(tmp_path / "disk1/scans"), "labels": str(tmp_path / "disk2/*/*.png")}
    dataset = list_dataset(tmp_path / "disk1", "pairs", options)
    assert dataset.refs[0].files == ("disk1/scans/a.png", "disk2/annotation/a.png")
    assert dataset.root == tmp_path
    np.testing.assert_array_equal(read_all(dataset)["a"].labels, label_volume((8, 9)))


def test_absolute_patterns_below_the_data_set(tmp_path):
    write_pairs(tmp_path)
    options = {"images": str(tmp_path / "img"), "labels": str(tmp_path / "mask")}
    assert list_dataset(tmp_path, "pairs", options).options["images"] == "img"
    up = {"images": "../img", "labels": "../mask"}
    assert len(list_dataset(tmp_path / "img", "pairs", up).refs) == 2


def test_a_folder_a_patient_groups_its_slices(tmp_path):
    for patient in ("p1", "p2"):
        for name in ("a", "b"):
            write_png(tmp_path / "images" / patient / f"{name}.png", volume((8, 9), dtype=np.uint8))
            write_png(tmp_path / "labels" / patient / f"{name}.png", label_volume((8, 9)))
    dataset = list_dataset(tmp_path)
    assert {ref.id: ref.group for ref in dataset.refs} == {
        "p1_a": "p1", "p1_b": "p1", "p2_a": "p2", "p2_b": "p2",
    }  # fmt: skip


def test_images_without_a_label_are_no_failures(tmp_path):
    write_pairs(tmp_path, ("a",))
    for number in range(3):
        write_png(tmp_path / f"img/u{number}.png", volume((8, 9), dtype=np.uint8))
    dataset = list_dataset(tmp_path)
    assert len(dataset.refs) == 1 and not dataset.problems and len(dataset.unlabelled) == 3
    assert dataset.description.endswith("; 3 images without a label map left out")


def test_the_spacing_that_is_given_wins(tmp_path):
    write_nifti(tmp_path / "images/a.nii.gz", volume(), affine=np.eye(4))
    write_nifti(tmp_path / "labels/a.nii.gz", label_volume(), affine=np.eye(4))
    case = read_one(tmp_path, "pairs", spacing_mm="0.5,0.5,3")
    assert case.spacing_mm == (0.5, 0.5, 3.0)
    np.testing.assert_array_equal(np.diag(case.affine), [0.5, 0.5, 3, 1])


def test_label_maps_on_another_grid(tmp_path):
    """A label map of half the resolution, and one whose x axis runs the other way."""
    labels = label_volume((6, 5, 4))
    fine = labels.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    half = np.diag([0.5, 0.5, 0.5, 1.0])
    half[:3, 3] = -0.25  # the same corner
    write_nifti(tmp_path / "images/a.nii.gz", volume(fine.shape), affine=half)
    write_nifti(tmp_path / "labels/a.nii.gz", labels, affine=np.eye(4))
    flipped = np.diag([-0.5, 0.5, 0.5, 1.0])
    flipped[:3, 3] = half[0, 3] + 0.5 * (fine.shape[0] - 1), -0.25, -0.25
    write_nifti(tmp_path / "images/b.nii.gz", volume(fine.shape), affine=half)
    write_nifti(tmp_path / "labels/b.nii.gz", fine[::-1].copy(), affine=flipped)
    cases = read_all(list_dataset(tmp_path, "pairs", {"grids": "resample"}))
    for case in cases.values():
        np.testing.assert_array_equal(case.labels, fine)
    dataset = list_dataset(tmp_path, "pairs")
    with pytest.raises(CaseError, match="axes towards L, A, S"):
        reader_of(dataset, "b")
    trusted = list_dataset(tmp_path, "pairs", {"grids": "trust"})
    np.testing.assert_array_equal(reader_of(trusted, "b").labels, fine[::-1])


def reader_of(dataset, case_id):
    ref = next(ref for ref in dataset.refs if ref.id == case_id)
    return READERS["pairs"].read_case(dataset, ref, None)
