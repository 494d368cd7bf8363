"""Steps as a flat mapping: one for each plan, and a plan for each."""

from __future__ import annotations

from dataclasses import fields

import pytest

from softlabel.preprocess import (
    PRESETS,
    STEPS,
    PlannedStep,
    PreprocessOptions,
    chosen_options,
    plain_options,
    plan_of,
    step_fields,
    word_fields,
)


def plan(preprocess="none", **given):
    return plan_of(chosen_options(preprocess, given))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_written_out(preset):
    plain = plain_options(plan(preset))
    assert tuple(plain) == PRESETS[preset]
    assert plan(**plain) == plan(preset)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"denoise": "none", "crop": "none"}, {"wedges": "fill", "flatten": "pixel"}),
        (
            {"wedges": "mask", "denoise": "nlm", "nlm_h": 2, "flatten": "none", "crop": "none"},
            {"wedges": "mask", "denoise": "nlm", "nlm_h": 2.0},
        ),
        (
            {"wedges": "keep", "denoise": "none", "flatten": "subpixel", "margin_um": 50},
            {"flatten": "subpixel", "crop": "retina", "margin_um": 50.0},
        ),
        (
            {"denoise": "none", "flatten": "none", "crop": "none", "axial_axis": 1},
            {"wedges": "fill", "axial_axis": 1},
        ),
        ({"tv_weight": 2.5, "height": None}, plain_options(plan("oct"))),
    ],
)
def test_what_differs_from_the_defaults_of_the_steps(given, plain):
    assert plain_options(plan("oct", **given)) == plain
    assert plan(**plain) == plan("oct", **given)


def test_words_are_the_fields_of_the_options():
    own = {f.name for f in fields(PreprocessOptions)} - {"preprocess", "step_options"}
    assert set(word_fields()) == own and len(own) == len(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_every_step_can_be_asked_for_alone(step):
    alone = (PlannedStep(step, STEPS[step].options()),)
    assert plan(**plain_options(alone)) == alone


def test_further_options_leave_out_what_words_say():
    assert not {"wedges", "method", "subpixel"} & set(step_fields())
    assert {"tv_weight", "height", "outside"} <= set(step_fields())
    assert {"wedges", "denoise", "flatten", "crop"} <= set(step_fields()["axial_axis"])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"denoise": "nlm", "tv_weight": 3.0}, "tv_weight has no meaning beside denoise=nlm"),
        ({"height": 256, "multiple": 16}, "multiple has no meaning beside height; leave it out"),
        ({"tv_wieght": 3.0}, "has the option 'tv_wieght'; did you mean tv_weight"),
    ],
)
def test_options_without_a_meaning(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        plan("oct", **given)
