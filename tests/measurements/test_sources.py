"""Label maps of caches, data sets and folders are those that lie there."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest
from PIL import Image

from softlabel.errors import CaseError, SourceError, UsageError
from softlabel.generation.settings import Settings
from softlabel.mapping import parse_mapping
from softlabel.measurements.sources import (
    CaseLabels,
    kind_of,
    open_labels,
    open_pair,
    reference_ids,
)

STEPS = {"wedges": "fill", "flatten": "pixel", "crop": "retina"}


def test_a_data_set_has_the_label_maps_of_its_reader(duke, cases):
    source = open_labels(duke)
    assert source.ids == tuple(cases) and "Duke" in source.description
    for case_id, case in cases.items():
        found = source.read(case_id)
        assert list(found.maps) == ["labels", "truth", "grader2", "automatic"]
        assert found.graders == ("labels", "grader2")
        assert (found.spacing_mm, found.ignore) == (case.spacing_mm, 255)
        np.testing.assert_array_equal(found.map_of("labels"), case.labels)
        np.testing.assert_array_equal(found.map_of("truth"), case.truth)
        np.testing.assert_array_equal(found.map_of("grader2"), case.label_maps["grader2"])
        np.testing.assert_array_equal(found.image(), case.image[0])


def test_several_annotators_have_their_names_and_none_is_the_one(duke, cases):
    source = open_labels(duke, options={"grader": "both"})
    found = source.read(source.ids[0])
    assert found.graders == ("grader1", "grader2")
    np.testing.assert_array_equal(found.map_of("grader1"), cases[source.ids[0]].labels)
    with pytest.raises(CaseError, match=r"has no label map 'labels'.* grader1, grader2, truth"):
        found.map_of("labels")
    with pytest.raises(CaseError, match=r"did you mean grader[12]"):
        found.map_of("grader")


def test_a_cache_has_label_maps_on_the_grid_of_the_scanner(tmp_path):
    settings = Settings(n_segments=60, preprocess_options=STEPS)
    case = factories.oct_case()
    other = np.roll(case.labels, 1, axis=0)
    case = replace(case, label_maps={"grader2": other}, truth=other)
    source = open_labels(factories.oct_cache(tmp_path, [case], settings))
    found = source.read(case.id)
    np.testing.assert_array_equal(found.map_of("labels"), case.labels)
    np.testing.assert_array_equal(found.map_of("truth"), other)
    np.testing.assert_array_equal(found.map_of("grader2"), other)
    assert found.graders == ("labels", "grader2")
    np.testing.assert_array_equal(found.image(), case.image[0])
    assert found.spacing_mm == pytest.approx(case.spacing_mm)
    with pytest.raises(UsageError, match="is a cache, which takes no --format"):
        open_labels(source.path, mapping=parse_mapping("1=2"))


def test_label_maps_alone_are_one_case_a_file(predictions, cases):
    assert kind_of(predictions) == "files"
    source = open_labels(predictions)
    assert source.ids == tuple(cases) and source.description == "label maps alone: 3 files"
    found = source.read(source.ids[1])
    assert found.spacing_mm is None and found.graders is None and found.image is None
    np.testing.assert_array_equal(found.map_of("labels")[1:], cases[source.ids[1]].truth[:-1])
    one = predictions / f"{source.ids[1]}.png"
    assert open_labels(one).ids == (source.ids[1],)


def test_label_maps_alone_take_a_mapping(predictions):
    source = open_labels(predictions, mapping=parse_mapping("1-8=1,9=ignore"))
    found = source.read(source.ids[0])
    values = np.unique(found.map_of("labels"))
    assert found.ignore in {255, values[-1]} and set(values) <= {0, 1, found.ignore}


def test_two_files_of_one_case_are_refused(predictions, cases):
    case_id = next(iter(cases))
    np.save(predictions / f"{case_id}.npy", cases[case_id].truth)
    with pytest.raises(SourceError, match=r"would both be the label map of the case 'Subject_01"):
        open_labels(predictions)


def test_options_are_those_of_the_data_set_among_two(duke, predictions):
    for first, second in ((predictions, duke), (duke, predictions)):
        opened = open_pair(first, second, options={"grader": "2", "spacing_mm": "0.002,0.01"})
        data_set = opened[0] if first == duke else opened[1]
        assert data_set.description.endswith("grader 2")
        assert data_set.read(data_set.ids[0]).spacing_mm == (0.002, 0.01)
    alone, none = open_pair(predictions, None, options={"spacing_mm": "0.002,0.01"})
    assert none is None and "alone" in alone.description


def test_what_is_not_there(tmp_path):
    with pytest.raises(SourceError, match="nowhere does not exist"):
        open_labels(tmp_path / "nowhere")
    with pytest.raises(SourceError, match="of no format that softlabel recognises"):
        open_labels(tmp_path)


def test_cases_match_by_id_and_by_the_name_that_a_prediction_has(tmp_path):
    def source(*ids):
        for case_id in ids:
            folder = tmp_path / "-".join(map(str, ids)).replace(":", "_")
            folder.mkdir(exist_ok=True)
            Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / f"{case_id}.png")
        return open_labels(folder)

    predicted, other = source("a_1", "b", "c"), source("b", "d")
    named = type(other)(other.path, "", ("a:1", "b"), lambda _: None)
    assert reference_ids(predicted, named) == {"a_1": "a:1", "b": "b"}
    long = "x" * 130
    cut, whole = (type(other)(other.path, "", (i,), lambda _: None) for i in (long[:120], long))
    assert reference_ids(cut, whole) == {long[:120]: long}, "predictions have shorter names"
    with pytest.raises(UsageError, match=r"No case of .* 'a_1' and so on, and 'd' and so on"):
        reference_ids(predicted, type(other)(other.path, "", ("d",), lambda _: None))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("labels", "truth"), None),
        (("labels", "grader2", "automatic"), ("labels", "grader2")),
        (("labels", "grader2", "grader1"), ("grader2", "grader1")),
        (("Rater_A", "Rater_B", "Rater_C"), ("Rater_A", "Rater_B")),
        (("grader1",), None),
    ],
)
def test_two_graders_are_known_by_their_names(names, expected):
    assert CaseLabels("a", "a", "", dict.fromkeys(names)).graders == expected
