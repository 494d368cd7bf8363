"""Steps before superpixels as a part of the computation of a case."""

from __future__ import annotations

from dataclasses import replace

import factories
import numpy as np
import pytest
from PIL import Image

from softlabel import generate
from softlabel.cache import Header, open_cache
from softlabel.errors import CaseError, UsageError
from softlabel.generation.compute import compute
from softlabel.generation.settings import Settings
from softlabel.phantom import write_oct_dataset
from softlabel.preprocess import preprocess

CASE = factories.oct_case()
HEADER = Header("{}", "", CASE.classes, CASE.ignore, ())
OCT = factories.OCT


def test_everything_is_computed_from_the_case_after_the_steps():
    found = compute(CASE, HEADER, OCT)
    expected = preprocess(CASE, OCT.preprocessing).case
    plain = compute(expected, HEADER, Settings(n_segments=60))
    assert np.array_equal(found.case.image, expected.image)
    assert np.array_equal(found.labels, expected.labels)
    assert np.array_equal(found.superpixels, plain.superpixels)
    assert np.array_equal(found.soft.dense(), plain.soft.dense())
    assert found.statistics.pixels == np.count_nonzero(expected.mask)
    assert plain.before is None


def test_raters_go_along_and_their_majority_is_the_original():
    labels = np.stack([CASE.truth, CASE.truth, np.roll(CASE.truth, 1, 0)])
    raters = replace(CASE, labels=labels, rater_axis=0, raters=("a", "b", "c"))
    found = compute(raters, HEADER, OCT)
    assert np.array_equal(found.before.maps["labels"], CASE.truth)
    assert np.array_equal(found.before.maps["label_maps/c"], labels[2])
    assert found.label_maps["c"].shape == found.case.shape


def test_superpixels_of_a_file_lie_on_the_grid_of_the_scanner():
    ids = np.zeros(CASE.shape, np.int32)
    moving = Settings(superpixels="file", preprocess_options={"wedges": "fill", "flatten": "pixel"})
    with pytest.raises(CaseError, match="the step flatten moves pixels; make superpixels with"):
        compute(CASE, HEADER, moving, superpixels=ids)
    staying = Settings(superpixels="file", preprocess_options={"denoise": "tv"})
    assert np.array_equal(compute(CASE, HEADER, staying, superpixels=ids).superpixels, ids)


@pytest.mark.parametrize("step", [{"wedges": "fill"}, {"denoise": "tv"}, {"crop": "retina"}])
def test_a_step_of_oct_fails_a_volume_of_mri(step):
    case = replace(factories.full_case(), image=factories.full_case().image[:1], channels=())
    header = Header("{}", "", factories.FULL_CLASSES, 999, ())
    with pytest.raises(CaseError, match=r"Fall 1 – größer .*: step .*: the pixels lie 0\.5 mm"):
        compute(case, header, Settings(preprocess_options=step))


@pytest.fixture(scope="module")
def duke(tmp_path_factory):
    folder = tmp_path_factory.mktemp("duke") / "oct"
    write_oct_dataset(folder, n_subjects=1, shape=(256, 128, 2), n_annotated=2, seed=1)
    return folder


def test_the_whole_run(duke, tmp_path):
    """Finished cases stay, however the same steps are asked for; other steps are refused."""
    settings = replace(OCT, preprocess_options={"denoise": "none"})
    report = generate(duke, tmp_path / "c.h5", settings)
    assert (report.cases, report.failures) == (2, {})
    with open_cache(tmp_path / "c.h5") as cache:
        case = next(iter(cache.values()))
        assert [r.step for r in case.preprocessing] == ["wedges", "flatten", "crop"]
        assert case.shape[0] % 32 == 0
    steps = {"wedges": "fill", "flatten": "pixel", "crop": "retina"}
    one_by_one = Settings(n_segments=60, preprocess_options=steps)
    again = generate(duke, tmp_path / "c.h5", one_by_one)
    assert (again.cases, again.skipped) == (0, 2)
    with pytest.raises(UsageError, match=r"other settings .*denoise: unset → tv"):
        generate(duke, tmp_path / "c.h5", OCT)


def test_notes_are_warnings_of_the_run(tmp_path):
    Image.fromarray(CASE.image[0]).save(tmp_path / "scan.png")
    Image.fromarray(CASE.labels.astype(np.uint8)).save(tmp_path / "scan_label.png")
    report = generate(tmp_path, tmp_path / "c.h5", OCT)
    warned = [w for w in report.warnings if w.startswith("[assumed-spacing] In 1 of 1 cases")]
    assert len(warned) == 1 and "3.87 × 11.33 µm" in warned[0]
