"""What a part keeps of a case before the steps: written, read, and refused where it is garbled."""

from __future__ import annotations

import json
from dataclasses import replace

import factories
import h5py
import numpy as np
import pytest

from softlabel.cache import open_cache, regrouped_part
from softlabel.cache.before import chain_problem
from softlabel.cache.files import seal, text_array
from softlabel.cache.verify import verify
from softlabel.errors import CacheError
from softlabel.generation.settings import Settings
from softlabel.preprocess import Record, restore

CASE = factories.oct_case()


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return factories.oct_cache(tmp_path_factory.mktemp("oct"))


@pytest.fixture
def cache(shared, tmp_path):
    return factories.copy_cache(shared, tmp_path / "copy")


def test_the_original_is_kept_as_it_was(shared):
    with open_cache(shared) as opened:
        stored = opened[CASE.id]
        assert np.array_equal(stored.original_image, CASE.image)
        assert stored.original_image.dtype == CASE.image.dtype
        assert np.array_equal(stored.original_labels, CASE.labels)
        assert np.array_equal(stored.original_truth, CASE.truth)
        assert np.array_equal(
            stored.original_label_maps["other grader"], CASE.label_maps["other grader"]
        )
        assert stored.original_shape == CASE.shape != stored.shape
        assert stored.original_spacing_mm is None
        assert [note.code for note in stored.notes] == ["assumed-spacing"]
    assert verify(shared) == []


def test_the_records_bring_maps_back(shared):
    """Where the crop cut nothing away the labels are those of the reader."""
    with open_cache(shared) as opened:
        stored = opened[CASE.id]
        assert [r.step for r in stored.preprocessing] == ["wedges", "denoise", "flatten", "crop"]
        back = restore(stored.preprocessing, np.asarray(stored.labels), "labels")
        kept = np.ones(stored.shape, np.uint8)
        *others, crop = stored.preprocessing
        replaced = replace(crop, settings={**crop.settings, "outside": "background",
                                           "outside_label": 0})  # fmt: skip
        kept = restore((*others, replaced), kept, "labels") > 0
    assert back.shape == CASE.shape and kept.mean() > 0.3
    assert np.array_equal(back[kept], CASE.labels[kept])


def test_a_case_without_steps_is_its_own_original(tmp_path):
    with open_cache(factories.full_cache(tmp_path)) as opened:
        (stored,) = opened.values()
        assert stored.preprocessing == stored.notes == ()
        assert np.array_equal(stored.original_image, stored.image)
        assert np.array_equal(stored.original_labels, stored.labels)
        assert np.array_equal(stored.original_truth, stored.truth)
        assert stored.original_spacing_mm == stored.spacing_mm
        assert np.array_equal(stored.original_affine, stored.affine)


def test_the_image_is_left_out_when_it_is_not_to_be_kept(tmp_path):
    settings = replace(factories.OCT, keep_original=False)
    with open_cache(factories.oct_cache(tmp_path, settings=settings)) as opened:
        assert opened[CASE.id].original_image is None
        assert np.array_equal(opened[CASE.id].original_labels, CASE.labels)


def test_maps_are_kept_once_where_the_steps_move_nothing(tmp_path):
    settings = Settings(n_segments=60, preprocess_options={"denoise": "tv"})
    path = factories.oct_cache(tmp_path, settings=settings)
    with open_cache(path) as opened:
        stored = opened[CASE.id]
        assert {n for n in stored.datasets if n.startswith("original")} == {"original/image"}
        assert np.array_equal(stored.original_labels, CASE.labels)
        assert not np.array_equal(stored.image, stored.original_image)
    assert verify(path) == []


def test_the_same_case_gives_the_same_bytes(shared, tmp_path):
    again = factories.oct_cache(tmp_path)
    assert factories.files_of(again) == factories.files_of(shared)


def test_another_group_keeps_all_of_it(cache):
    path = factories.part(cache, CASE.id)
    before = path.read_bytes()
    assert regrouped_part(path, CASE.group) == before


def with_texts(cache, name, texts):
    """Replace the texts of a dataset of the case, sealed as ours are."""
    with h5py.File(factories.part(cache, CASE.id), "r+") as file:
        del file["case"][name]
        values = text_array(list(texts))
        file["case"].create_dataset(name, data=values, chunks=(1,))
        seal(file["case"][name])
    return open_cache(cache, verify=False)[CASE.id]  # the case's digest would tell before the texts


def records(cache):
    with open_cache(cache) as opened:
        return [record.as_json() for record in opened[CASE.id].preprocessing]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda found: ["{"], "no JSON"),
        (lambda found: ["[" * 100_000], "no JSON"),
        (lambda found: ["3"], "no JSON object"),
        (lambda found: [json.dumps({"step": "crop"})], "has the keys step, shape_before"),
        (lambda found: map(json.dumps, found[1:2] + found[3:]), "begins at"),
        (lambda found: map(json.dumps, found[:-1]), "the records end at"),
        (
            lambda found: [json.dumps(found[0] | {"shape_after": [10**9, 10**9]})],
            "leads to the shape",
        ),
        (
            lambda found: [json.dumps(found[0] | {"arrays": {"x": {
                "dtype": "S1000000000", "shape": [1], "values": ["a"]}}})],
            "an array of the type 'S1000000000'",
        ),
    ],
)  # fmt: skip
def test_records_that_are_none(cache, change, sentence):
    case = with_texts(cache, "preprocessing", change(records(cache)))
    with pytest.raises(CacheError, match=sentence):
        _ = case.preprocessing
    assert any(sentence in f.problem or "damaged" in f.problem for f in verify(cache))


def test_notes_that_are_none(cache):
    case = with_texts(cache, "notes", ['{"code": 3}'])
    with pytest.raises(CacheError, match="a note has a code and a text"):
        _ = case.notes


def test_more_texts_than_can_be(cache):
    case = with_texts(cache, "preprocessing", ["{}"] * 65)
    with pytest.raises(CacheError, match="has 65 texts of 2 bytes"):
        _ = case.image.shape


def test_originals_on_different_grids(cache):
    with h5py.File(factories.part(cache, CASE.id), "r+") as file:
        del file["case/original/truth"]
        file["case/original"].create_dataset("truth", data=np.zeros((9, 9), "u1"), chunks=(9, 9))
        seal(file["case/original/truth"])
    with pytest.raises(CacheError, match=r"original/truth has shape .9, 9., expected .256, 128"):
        _ = open_cache(cache)[CASE.id].labels.shape


def test_a_changed_record_is_no_longer_what_was_written(cache):
    found = records(cache)
    found[-1]["settings"]["margin_um"] = 79.0
    with_texts(cache, "preprocessing", map(json.dumps, found))
    assert any(f.where.endswith("digest") for f in verify(cache))


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        ([], "the records end at (4, 4), the case has (2, 4)"),
        ([((4, 4), (2, 4))], None),
        ([((4, 4), (8, 4)), ((8, 4), (2, 4))], None),
        ([((3, 4), (2, 4))], "the record of s begins at (3, 4), not at (4, 4)"),
        ([((4, 4), (0, 4))], "the record of s leads to the shape (0, 4)"),
    ],
)
def test_a_chain_of_shapes(shapes, sentence):
    chain = [Record("s", before, after) for before, after in shapes]
    assert chain_problem(chain, (4, 4), (2, 4)) == sentence
