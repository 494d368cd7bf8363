"""What several annotators are called."""

from softlabel.raters import hard_label_rule, rater_names, recorded_raters


def test_names_are_what_differs():
    assert rater_names(["r/anna/*.png", "r/ben/*.png"]) == ["anna", "ben"]
    assert rater_names(["*_seg.png", "*_seg_2.png"]) == ["_seg", "_seg_2"]
    assert rater_names(["a/*", "a/?"]) == ["rater1", "rater2"]


def test_one_annotator_is_no_rater():
    assert recorded_raters({"format": "pairs", "format_options": {"labels": "mask"}}) == ()
    assert recorded_raters({"format": "duke", "format_options": {"grader": "2"}}) == ()
    assert recorded_raters({}) == ()
    assert recorded_raters({"format_options": "of a stranger"}) == ()


def test_the_raters_of_a_record():
    given = {"format": "pairs", "format_options": {"raters": "r/anna/*,r/ben/*"}}
    assert recorded_raters(given) == ("anna", "ben")
    duke = {"format": "duke", "format_options": {"grader": "both"}}
    assert recorded_raters(duke) == ("grader1", "grader2")


def test_the_rule_of_the_hard_label():
    assert hard_label_rule(["a", "b"]) == "that of a; where a ignored a pixel, that of b"
    assert hard_label_rule("abc") == "the majority of a, b, c; of equals that of the earliest"


def test_places_are_read_as_readers_read_them():
    record = {"format_options": {"raters": "labelsTr, labelsTr_second"}}
    assert recorded_raters(record) == ("labelsTr", "labelsTr_second")
