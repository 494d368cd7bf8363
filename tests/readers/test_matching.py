from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.readers.matching import Match, NamePattern, Roles, match_names, wildcard_key


def match(images, labels):
    return match_names(Roles(tuple(NamePattern(*p) for p in images), NamePattern(*labels)))


def test_by_stem_across_endings():
    found = match([("img/*", ("img/a.png", "img/b.png"))], ("mask/*", ("mask/a.tif", "mask/b.bmp")))
    assert found.rule == "by stem" and not found.problems
    assert found.pairs == {
        "a": Match(("img/a.png",), ("mask/a.tif",), ("a",)),
        "b": Match(("img/b.png",), ("mask/b.bmp",), ("b",)),
    }


def test_by_stem_but_for_a_suffix():
    found = match(
        [("img/*", ("img/a.png", "img/b.png"))], ("mask/*", ("mask/a_seg.png", "mask/b_GT.png"))
    )
    assert set(found.pairs) == {"a", "b"}
    assert found.rule == "by stem, label maps ending in _gt, _seg"


def test_a_suffix_that_both_carry_is_part_of_the_stem():
    found = match([("i/*", ("i/x_mask.png",))], ("m/*", ("m/x_mask.png",)))
    assert found.rule == "by stem" and set(found.pairs) == {"x_mask"}


def test_by_what_the_wildcards_stand_for():
    found = match(
        [
            ("*/t1.nii.gz", ("s1/t1.nii.gz", "s2/t1.nii.gz")),
            ("*/t2.nii.gz", ("s1/t2.nii.gz", "s2/t2.nii.gz")),
        ],
        ("*/label.nii.gz", ("s1/label.nii.gz", "s2/label.nii.gz")),
    )
    assert found.rule == "by what * stands for" and not found.problems
    assert found.pairs["s2"].images == ("s2/t1.nii.gz", "s2/t2.nii.gz")
    assert found.pairs["s2"].labels == ("s2/label.nii.gz",)


def test_prefixes_and_suffixes_around_a_wildcard():
    found = match(
        [("img_*.png", ("img_01.png",))],
        ("lab_*_v2.png", ("lab_01_v2.png",)),
    )
    assert found.pairs == {"01": Match(("img_01.png",), ("lab_01_v2.png",), ("lab_01_v2",))}


def test_channels_by_wildcard_and_labels_by_suffix():
    found = match(
        [("*_t1.nii", ("a_t1.nii",)), ("*_t2.nii", ("a_t2.nii",))],
        ("seg/*", ("seg/a_seg.nii",)),
    )
    assert set(found.pairs) == {"a"}
    assert found.rule == "by what * stands for, label maps ending in _seg"


@pytest.mark.parametrize("image, label", [
    ("{}_img.png", "{}_mask.png"), ("img_{}.png", "mask_{}.png"), ("{}-image.tif", "{}-seg.png"),
    ("Scan {}.png", "gt {}.png"), ("{}_img.png", "{}.png"), ("{}.png", "label_{}.png"),
])  # fmt: skip
def test_words_that_say_what_a_file_is_are_no_part_of_its_name(image, label):
    names = ["case1", "case2", "b"]
    found = match(
        [("images/*", tuple(f"images/{image.format(n)}" for n in names))],
        ("labels/*", tuple(f"labels/{label.format(n)}" for n in names)),
    )
    assert list(found.pairs) == names and not found.problems
    assert found.rule == "by stem without words such as img and mask"


def test_words_never_make_two_files_one():
    found = match(
        [("i/*", ("i/a_img.png", "i/img_a.png", "i/b_img.png"))],
        ("m/*", ("m/a_mask.png", "m/b_mask.png")),
    )
    assert (
        list(found.pairs) == ["b"] and "has 2 files that could be its image" in found.problems["a"]
    )


def test_what_has_no_partner_is_named():
    found = match([("img/*", ("img/a.png", "img/b.png"))], ("mask/*", ("mask/a.png", "mask/c.png")))
    assert set(found.pairs) == {"a"}
    assert found.unlabelled == ("img/b.png",) and set(found.problems) == {"c"}
    assert "mask/c.png has no image (img/*)" in found.problems["c"]


def test_ambiguous_matches_are_refused():
    found = match(
        [("img/*", ("img/a.png", "img/b.png", "img/b.tif"))], ("m/*", ("m/a.png", "m/b.png"))
    )
    assert set(found.pairs) == {"a"}
    assert "2 files that could be its image (img/*): img/b.png, img/b.tif" in found.problems["b"]


def test_a_missing_channel_is_a_problem():
    found = match(
        [("t1/*", ("t1/a.nii", "t1/b.nii")), ("t2/*", ("t2/a.nii",))],
        ("seg/*", ("seg/a.nii", "seg/b.nii")),
    )
    assert set(found.pairs) == {"a"} and "no image (t2/*)" in found.problems["b"]


def test_wildcard_keys():
    assert wildcard_key("**/img/*.png", "a/b/img/x.png") == "a_b_x"
    assert wildcard_key("**/img/*.png", "img/x.png") == "x"
    assert wildcard_key("s?/[ab]*.nii.gz", "s1/b7.nii.gz") == "1_b7"
    assert wildcard_key("s[!2]/*", "s1/b7.nii.gz") == "1_b7"
    assert wildcard_key("img/*", "img/a.b.png") == "a.b"
    assert wildcard_key("a[.png", "a[.png") == "a["


names = st.lists(st.text("ab1_-.", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)


@given(names)
def test_equal_stems_always_match(stems):
    images = tuple(f"i/{s}x.png" for s in stems)
    labels = tuple(f"l/{s}x.nii.gz" for s in stems)
    found = match([("i/*", images)], ("l/*", labels))
    assert {k: v.labels[0] for k, v in found.pairs.items()} == {
        f"{s}x": f"l/{s}x.nii.gz" for s in stems
    }


def several(images, labels):
    roles = Roles(tuple(NamePattern(*p) for p in images), NamePattern(*labels), several=True)
    return match_names(roles)


def test_touching_wildcards_stand_for_one_text():
    """GlaS: train_1.bmp and train_1_anno.bmp in one folder."""
    found = match(
        [("*[0-9].bmp", ("train_1.bmp", "train_12.bmp"))],
        ("*_anno.bmp", ("train_1_anno.bmp", "train_12_anno.bmp")),
    )
    assert set(found.pairs) == {"train_1", "train_12"} and not found.problems


def test_numbered_masks_of_one_image():
    found = several(
        [("*", ("b (1).png", "b (2).png"))],
        ("*_mask*.png", ("b (1)_mask.png", "b (1)_mask_1.png", "b (2)_mask.png")),
    )
    assert found.pairs["b (1)"].labels == ("b (1)_mask.png", "b (1)_mask_1.png")
    assert found.pairs["b (2)"].labels == ("b (2)_mask.png",)


def test_one_file_a_class_in_a_folder():
    found = several(
        [("*/ct.nii.gz", ("s1/ct.nii.gz", "s2/ct.nii.gz"))],
        ("*/organs/*.nii.gz", ("s1/organs/liver.nii.gz", "s1/organs/spleen.nii.gz",
                               "s2/organs/spleen.nii.gz")),
    )  # fmt: skip
    assert found.pairs["s1"].parts == ("liver", "spleen")
    assert found.pairs["s2"].parts == ("spleen",)


def test_masks_in_the_folder_of_their_case():
    found = several(
        [("*/images/*", ("7f/images/7f.png",))], ("*/masks/*", ("7f/masks/a.png", "7f/masks/b.png"))
    )
    assert found.pairs["7f"].labels == ("7f/masks/a.png", "7f/masks/b.png")


def test_one_file_a_class_by_the_beginning_of_its_name():
    found = several(
        [("i/*", ("i/p1.nii", "i/p10.nii"))],
        ("l/*", ("l/p10_liver.nii", "l/p1_liver.nii", "l/p1_left_kidney.nii")),
    )
    assert found.pairs["p1"].parts == ("liver", "left_kidney")
    assert found.pairs["p10"].labels == ("l/p10_liver.nii",)


def test_raters_and_masks():
    roles = Roles(
        (NamePattern("i/*", ("i/a.png", "i/b.png")),), None,
        raters=(NamePattern("r1/*", ("r1/a.png", "r1/b.png")), NamePattern("r2/*", ("r2/a.png",))),
        masks=NamePattern("m/*", ("m/a.png",)),
    )  # fmt: skip
    found = match_names(roles)
    assert found.pairs["a"] == Match(("i/a.png",), raters=("r1/a.png", "r2/a.png"), mask="m/a.png")
    assert "r2/*" in found.problems["b"]
