"""From options to steps, a case through all of them, and arrays back."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from softlabel.errors import CaseError
from softlabel.phantom import make_brain
from softlabel.preprocess import (
    PRESETS,
    STEPS,
    BrainMaskOptions,
    CropOptions,
    DenoiseOptions,
    FlattenOptions,
    PreprocessOptions,
    Record,
    ResampleOptions,
    WedgeOptions,
    plan_of,
    preprocess,
    restore,
)

from . import brains
from .cases import case_of


def names(**options):
    return [step.name for step in plan_of(PreprocessOptions(**options))]


def test_presets():
    assert names() == []
    assert names(preprocess="oct") == ["wedges", "denoise", "flatten", "crop"]
    defaults = [WedgeOptions(), DenoiseOptions(), FlattenOptions(), CropOptions()]
    assert [s.options for s in plan_of(PreprocessOptions(preprocess="oct"))] == defaults
    assert names(preprocess="mri") == ["brain_mask", "box", "normalise"]
    assert all(set(steps) <= set(STEPS) for steps in PRESETS.values())


def test_words_add_change_and_leave_out_steps():
    assert names(denoise="nlm", crop="retina") == ["denoise", "crop"]
    assert names(preprocess="oct", denoise="none", wedges="keep") == ["flatten", "crop"]
    assert names(preprocess="mri", resample_mm=(1, 1, 3), box="none") == [
        "brain_mask", "resample", "normalise"
    ]  # fmt: skip
    mri = dict(plan_of(PreprocessOptions(brain_mask="intensity", resample_mm=[2])))
    assert mri == {
        "brain_mask": BrainMaskOptions("intensity"),
        "resample": ResampleOptions((2.0,)),
    }
    plan = plan_of(PreprocessOptions(preprocess="oct", wedges="mask", flatten="subpixel"))
    assert plan[0].options == WedgeOptions("mask")
    assert plan[2].options == FlattenOptions(subpixel=True)


def test_options_reach_their_steps():
    given = {"tv_weight": 3, "margin_um": 50, "axial_axis": 1}
    plan = dict(plan_of(PreprocessOptions(preprocess="oct", step_options=given)))
    assert plan["denoise"].tv_weight == 3.0 and plan["crop"].margin_um == 50.0
    assert {options.axial_axis for options in plan.values()} == {1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"preprocess": "otc"},
            "preprocess must be one of none, oct, mri; got 'otc'; did you mean oct",
        ),
        ({"denoise": "bm3d"}, "denoise must be one of none, tv, nlm, bilateral"),
        ({"resample_mm": "1"}, "resample_mm must be numbers or None; got '1'"),
        ({"flatten": True}, "flatten must be text or None"),
    ],
)
def test_words_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        PreprocessOptions(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tv_wieght": 3}, "has the option 'tv_wieght'; did you mean tv_weight"),
        ({"margin_um": -4}, "margin_um must be 0 or more"),
    ],
)
def test_options_of_steps_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        plan_of(PreprocessOptions(preprocess="oct", step_options=options))
    no_step = (
        r"no step of this preprocessing \(none\) has the option 'margin_um'; leave it out, or "
    )
    with pytest.raises(ValueError, match=no_step + "ask for the step crop"):
        plan_of(PreprocessOptions(step_options={"margin_um": 4}))
    with pytest.raises(ValueError, match=r"has the option 'nonesuch'; leave it out\.$"):
        plan_of(PreprocessOptions(step_options={"nonesuch": 4}))


def test_a_word_and_the_option_that_it_stands_for_are_not_given_both():
    with pytest.raises(ValueError, match="method is what denoise='tv' says; leave method out"):
        plan_of(PreprocessOptions(denoise="tv", step_options={"method": "nlm"}))
    (step,) = plan_of(PreprocessOptions(denoise="nlm"))
    assert step.options.method == "nlm"
    preset = PreprocessOptions(preprocess="oct", step_options={"method": "nlm"})
    assert dict(plan_of(preset))["denoise"].method == "nlm"


def test_every_option_can_become_one_of_the_command_line():
    for options in (PreprocessOptions, *(step.options for step in STEPS.values())):
        for field in fields(options):
            if field.name != "step_options":
                assert field.metadata["help"].endswith("."), field.name
                default = field.default
                assert default is None or "choices" not in field.metadata or (
                    default in field.metadata["choices"]
                )  # fmt: skip


@pytest.fixture(scope="module")
def done(bscans):
    case = case_of(bscans[4], ignore=255)
    labels = case.labels.copy()
    labels[:, :80] = 255
    case = replace(case, labels=labels)
    return case, preprocess(case, plan_of(PreprocessOptions(preprocess="oct", denoise="none")))


def test_all_steps_and_back_bit_for_bit(done):
    case, result = done
    records = [Record.from_json(json.loads(json.dumps(r.as_json()))) for r in result.records]
    after = result.case
    image = restore(records, after.image, "image")
    ones = restore(records, np.ones_like(after.image), "image")
    kept = (ones > 0)[0]
    wedge = case.image[0] == 255
    assert kept.mean() > 0.2 and image.dtype == np.uint8
    np.testing.assert_array_equal(image[0][kept], case.image[0][kept])
    np.testing.assert_array_equal(image[0][wedge & kept], 255)
    for name, before, now in (
        ("labels", case.labels, after.labels), ("truth", case.truth, after.truth),
        ("grader2", case.label_maps["grader2"], after.label_maps["grader2"]),
    ):  # fmt: skip
        back = restore(records, now, "labels")
        assert back.shape == case.shape and back.dtype == before.dtype, name
        inside = kept & (case.image[0] < 255)
        np.testing.assert_array_equal(back[inside], before[inside])


def test_steps_in_place_leave_every_pixel_where_it_is(done):
    for record in done[1].records:
        step = STEPS[record.step]
        place = np.arange(np.prod(record.shape_after)).reshape(record.shape_after)
        moved = not np.array_equal(step.restore(record, place, "labels"), place)
        assert moved == (not step.in_place), record.step


def test_soft_maps_come_back_with_range_and_sum(done):
    case, result = done
    for subpixel in ("pixel", "subpixel"):
        plan = plan_of(PreprocessOptions(preprocess="oct", denoise="none", flatten=subpixel))
        result = preprocess(case, plan)
        soft = np.random.default_rng(0).dirichlet(np.ones(3), result.case.shape)
        back = restore(result.records, np.moveaxis(soft, -1, 0).astype(np.float32), "soft")
        assert back.shape == (3, *case.shape) and back.dtype == np.float32
        np.testing.assert_allclose(back.sum(axis=0), 1, atol=1e-6)
        assert back.min() >= 0 and back.max() <= 1


def test_the_same_case_gives_the_same_bytes(done):
    case, result = done
    again = preprocess(case, plan_of(PreprocessOptions(preprocess="oct", denoise="none")))
    assert again.case.image.tobytes() == result.case.image.tobytes()
    assert again.records == result.records


def test_no_step_is_no_change(bscans):
    case = case_of(bscans[0])
    result = preprocess(case, ())
    assert result.case is case and restore(result.records, case.labels, "labels") is case.labels


def test_ignored_columns_do_not_matter_to_the_image(bscans):
    """All columns may be ignored: what is predicted has no labels at all."""
    plan = plan_of(PreprocessOptions(preprocess="oct", denoise="none"))
    case = case_of(bscans[0])
    nothing = replace(case, labels=np.full_like(case.labels, 255), ignore=255)
    assert (
        preprocess(nothing, plan).case.image.tobytes()
        == preprocess(case, plan).case.image.tobytes()
    )


def test_a_case_that_a_step_cannot_change_is_named(bscans):
    rng = np.random.default_rng(0)
    case = case_of(bscans[0], image=rng.integers(0, 200, (1, 496, 768)).astype(np.uint8))
    with pytest.raises(CaseError, match=r"scan 1 \(scan.png\): step flatten: no retina was found"):
        preprocess(case, plan_of(PreprocessOptions(preprocess="oct", denoise="none")))


def test_arrays_that_do_not_fit_the_records(done):
    case, result = done
    with pytest.raises(ValueError, match="does not lie on the grid"):
        restore(result.records, case.labels, "labels")
    with pytest.raises(ValueError, match="kind must be one of image, labels, soft"):
        restore(result.records, result.case.labels, "mask")
    unknown = replace(result.records[0], step="dncnn")
    with pytest.raises(ValueError, match="names the step 'dncnn', which this version does not"):
        restore([unknown], case.labels, "labels")


def test_a_brain_through_all_steps_and_back():
    brain = make_brain(3004, 1, (64, 64, 16))
    case = brains.case_of(brain, mask=brain.labels > 0)
    words = PreprocessOptions(preprocess="mri", resample_mm=(3.0, 3.0, 0))
    result = preprocess(case, plan_of(words))
    records = [Record.from_json(json.loads(json.dumps(r.as_json()))) for r in result.records]
    assert [record.step for record in records] == ["brain_mask", "box", "resample", "normalise"]
    assert result.case.image.dtype == np.float32 and result.case.mask.any()
    back = restore(records, result.case.labels, "labels")
    assert back.shape == case.shape and (back == case.labels).mean() > 0.97
    assert not back[case.labels == 0].all()
    assert restore(records, result.case.image, "image").shape == case.image.shape
