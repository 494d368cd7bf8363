"""Which cases are looked at, and when a tuning ends."""

from __future__ import annotations

import factories
import nibabel
import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.generation.settings import Settings
from softlabel.phantom import write_mri_dataset
from softlabel.readers import list_dataset
from softlabel.tuning.fit import Fit, Trial
from softlabel.tuning.rows import row_of
from softlabel.tuning.sweep import DEFAULT, SIZES_2D, Grid, spread, tune
from softlabel.types import CaseRef

FEW = Grid(sizes=(20.0, 60.0), compactness=(0.1,), sigma=(0.0, 1.0))


@pytest.fixture
def dataset(tmp_path):
    return list_dataset(factories.write_scenes(tmp_path / "data", "abcdef"))


@pytest.mark.parametrize("count", [1, 3, 4, 10, 17])
def test_the_first_few_cases_are_spread_too(count):
    refs = [CaseRef(f"{n:03}", "", "", ()) for n in range(100)]
    chosen = [int(ref.id) for ref in spread(refs, count)]
    assert len(set(chosen)) == count
    ordered = sorted(chosen)
    assert np.diff([-1, *ordered, 100]).max() <= 100 / count + 2
    if count >= 4:
        assert min(chosen[:2]) < 50 <= max(chosen[:2]), "both halves"
    assert [ref.id for ref in spread(refs[:3], 10)] and len(spread(refs[:3], 10)) == 3


def test_every_setting_is_tried_on_every_chosen_case(dataset):
    told = []
    found = tune(dataset, Settings(), FEW, cases=3, progress=lambda: told.append(1))
    assert len(told) == 3 and found.complete and not (found.out_of_time or found.interrupted)
    assert [case.id for case in found.cases] == ["b", "f", "d"] and found.of == 6
    expected = [DEFAULT] + [Trial(s, 0.1, g) for s in (20.0, 60.0) for g in (0.0, 1.0)]
    assert [row.trial for row in found.rows] == expected
    assert {row.cases for row in found.rows} == {3}
    assert set(found.classes) == {0, 128, 255}


def test_when_time_is_up_whole_cases_count(dataset):
    """Each look at the clock is a second: 2 a case and 4 between settings."""
    ticks = iter(range(10_000))
    found = tune(dataset, Settings(), FEW, seconds=13, clock=lambda: float(next(ticks)))
    assert found.out_of_time and found.complete and 1 < len(found.cases) < 6
    assert {row.cases for row in found.rows} == {len(found.cases)}


def test_when_the_first_case_is_not_done_in_time_what_there_is_of_it_counts(dataset):
    ticks = iter(range(10_000))
    found = tune(dataset, Settings(), FEW, seconds=2, clock=lambda: float(next(ticks)))
    assert found.out_of_time and not found.complete
    assert len(found.cases) == 1 and 1 <= len(found.rows) < 5


def test_a_stop_keeps_what_was_measured(dataset):
    asked = iter([False] * 9)
    found = tune(dataset, Settings(), FEW, stopped=lambda: next(asked, True))
    assert found.interrupted and not found.out_of_time
    assert found.complete and len(found.cases) == 1 and len(found.rows) == 5


def test_a_stop_before_the_first_case(dataset):
    with pytest.raises(KeyboardInterrupt):
        tune(dataset, Settings(), FEW, stopped=lambda: True)


def test_broken_cases_are_told_and_the_others_count(dataset):
    (dataset.root / "labels/b.png").write_bytes(b"broken")
    found = tune(dataset, Settings(), FEW, cases=3)
    assert list(found.failures) == ["b"] and [case.id for case in found.cases] == ["f", "d"]
    for path in (dataset.root / "labels").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(CaseError, match=r"No case could be looked at: .*b\.png"):
        tune(dataset, Settings(), FEW, cases=3)


def test_a_case_of_one_class_has_no_boundary(tmp_path):
    data = factories.write_scenes(tmp_path / "data", "a")
    factories.Image.fromarray(np.zeros((40, 44), np.uint8)).save(data / "labels/a.png")
    with pytest.raises(CaseError, match="no boundary between classes"):
        tune(list_dataset(data), Settings(), FEW)


@pytest.mark.parametrize(("dims", "axes"), [("volume", 3), ("slice", 2)])
def test_volumes(tmp_path, dims, axes):
    write_mri_dataset(tmp_path / "mri", n_subjects=1, shape=(64, 64, 16))
    grid = Grid(sizes=(27.0,), compactness=(0.1,), sigma=(1.0,))
    found = tune(list_dataset(tmp_path / "mri"), Settings(slic_dims=dims), grid)
    assert found.dims == axes and found.cases[0].shape == (64, 64, 16)
    assert 10 < found.rows[1].made_size < 60


def test_a_volume_of_one_slice_is_an_image(tmp_path):
    labels = np.zeros((40, 44, 1), np.uint8)
    labels[10:30, 8:33] = 1
    image = labels * 80 + np.random.default_rng(0).normal(0, 10, labels.shape)
    for folder, array in (("images", image), ("labels", labels)):
        (tmp_path / folder).mkdir()
        nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / folder / "a.nii.gz")
    found = tune(list_dataset(tmp_path), Settings(), Grid(compactness=(0.1,), sigma=(0.0,)))
    assert found.cases[0].shape == (40, 44, 1) and found.dims == 2
    assert tuple(row.trial.size for row in found.rows[1:]) == SIZES_2D


def test_steps_before_superpixels_come_first(tmp_path):
    data = factories.write_scenes(tmp_path / "data", "a")
    settings = Settings(preprocess_options={"denoise": "tv"})
    plain, smooth = (tune(list_dataset(data), s, FEW) for s in (Settings(), settings))
    assert plain.rows != smooth.rows


def test_means_over_cases_leave_out_what_a_case_does_not_have(dataset):
    def one(dice, recall):
        return Fit(100, 10, recall, 0.3, 0.4, dice, dice, 0.2, 0.3, 0.5)

    row = row_of(DEFAULT, [one({0: 1.0, 7: 0.5}, 0.9), one({0: 0.8}, float("nan"))])
    assert row.dice == {0: 0.9, 7: 0.5} and row.mean_dice == pytest.approx(0.7)
    assert row.recall == 0.9 and row.over_chance == pytest.approx(0.5)
    assert row.as_dict()["recall"] == 0.9 and row.cases == 2
    nothing = row_of(DEFAULT, [one({0: 0.8}, float("nan"))])
    assert nothing.as_dict()["recall"] is None
