from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softlabel.readers.matching import NamePattern, match_names, wildcard_key


def match(images, labels):
    return match_names([NamePattern(*p) for p in images], NamePattern(*labels))


def test_by_stem_across_endings():
    found = match([("img/*", ("img/a.png", "img/b.png"))], ("mask/*", ("mask/a.tif", "mask/b.bmp")))
    assert found.rule == "by stem" and not found.problems
    assert found.pairs == {
        "a": (("img/a.png",), "mask/a.tif"),
        "b": (("img/b.png",), "mask/b.bmp"),
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
    assert found.pairs["s2"] == (("s2/t1.nii.gz", "s2/t2.nii.gz"), "s2/label.nii.gz")


def test_prefixes_and_suffixes_around_a_wildcard():
    found = match(
        [("img_*.png", ("img_01.png",))],
        ("lab_*_v2.png", ("lab_01_v2.png",)),
    )
    assert found.pairs == {"01": (("img_01.png",), "lab_01_v2.png")}


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
    found = match_names(
        [NamePattern("images/*", tuple(f"images/{image.format(n)}" for n in names))],
        NamePattern("labels/*", tuple(f"labels/{label.format(n)}" for n in names)),
    )
    assert list(found.pairs) == names and not found.problems
    assert found.rule == "by stem without words such as img and mask"


def test_words_never_make_two_files_one():
    found = match_names(
        [NamePattern("i/*", ("i/a_img.png", "i/img_a.png", "i/b_img.png"))],
        NamePattern("m/*", ("m/a_mask.png", "m/b_mask.png")),
    )
    assert (
        list(found.pairs) == ["b"] and "has 2 files that could be its image" in found.problems["a"]
    )


def test_what_has_no_partner_is_named():
    found = match([("img/*", ("img/a.png", "img/b.png"))], ("mask/*", ("mask/a.png", "mask/c.png")))
    assert set(found.pairs) == {"a"}
    assert "img/b.png has no label map (mask/*)" in found.problems["b"]
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
    assert wildcard_key("**/img/*.png", "a/b/img/x.png") == "a_b__x"
    assert wildcard_key("**/img/*.png", "img/x.png") == "x"
    assert wildcard_key("s?/[ab]*.nii.gz", "s1/b7.nii.gz") == "1_b_7"
    assert wildcard_key("s[!2]/*", "s1/b7.nii.gz") == "1_b7"
    assert wildcard_key("img/*", "img/a.b.png") == "a.b"
    assert wildcard_key("a[.png", "a[.png") == "a["


names = st.lists(st.text("ab1_-.", min_size=1, max_size=6), min_size=1, max_size=6, unique=True)


@given(names)
def test_equal_stems_always_match(stems):
    images = tuple(f"i/{s}x.png" for s in stems)
    labels = tuple(f"l/{s}x.nii.gz" for s in stems)
    found = match([("i/*", images)], ("l/*", labels))
    assert {k: v[1] for k, v in found.pairs.items()} == {f"{s}x": f"l/{s}x.nii.gz" for s in stems}
