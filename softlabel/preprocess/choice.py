"""Steps as one flat mapping of words and numbers, as settings have them, and back.

``{"denoise": "nlm", "nlm_h": 2.0, "crop": "none"}`` beside a preset: words of
:class:`softlabel.preprocess.PreprocessOptions`, and further options of the steps under their own
names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, fields
from typing import Any

from softlabel.preprocess.plan import (
    Plan,
    PlannedStep,
    PreprocessOptions,
    asked_by,
    plan_of,
)
from softlabel.preprocess.steps import STEPS

NOT_WORDS = ("preprocess", "step_options")


def word_fields() -> dict[str, Field[Any]]:
    """The fields of :class:`PreprocessOptions` that ask for a step each, by name.

    Most are words, with ``choices`` in their metadata; ``resample_mm`` is numbers.
    """
    return {f.name: f for f in fields(PreprocessOptions) if f.name not in NOT_WORDS}


def step_fields() -> dict[str, dict[str, Field[Any]]]:
    """Further options with ``help``: name → step → field; what a word says is not among them.

    Examples
    --------
    >>> list(step_fields()["tv_weight"]), "method" in step_fields()
    (['denoise'], False)
    """
    found: dict[str, dict[str, Field[Any]]] = {}
    for step, entry in STEPS.items():
        said = _said_by_words(step)
        for field in fields(entry.options):
            if "help" in field.metadata and field.name not in said:
                found.setdefault(field.name, {})[step] = field
    return found


def chosen_options(preprocess: str, given: Mapping[str, Any]) -> PreprocessOptions:
    """The options that a preset and a flat mapping stand for.

    Raises
    ------
    ValueError
        When a word is none of those that its step knows.

    Examples
    --------
    >>> chosen_options("oct", {"denoise": "nlm", "nlm_h": 2.0}).step_options
    {'nlm_h': 2.0}
    """
    words = {name: value for name, value in given.items() if name in word_fields()}
    further = {name: value for name, value in given.items() if name not in words}
    return PreprocessOptions(preprocess=preprocess, **words, step_options=further)


def plain_options(plan: Plan) -> dict[str, Any]:
    """The flat mapping that gives a plan without a preset: one for each plan, however it was asked.

    A record of it means the same when a later version has other steps or defaults in a preset.

    Examples
    --------
    >>> plan = plan_of(PreprocessOptions(preprocess="oct", denoise="tv", crop="none"))
    >>> plain_options(plan)
    {'wedges': 'fill', 'denoise': 'tv', 'flatten': 'pixel'}
    >>> plan_of(chosen_options("none", plain_options(plan))) == plan
    True
    """
    plain: dict[str, Any] = {}
    for step in plan:
        plain |= _plain_step(step)
    return plain


def _plain_step(step: PlannedStep) -> dict[str, Any]:
    said = _said_by_words(step.name)
    further = {
        f.name: getattr(step.options, f.name)
        for f in fields(step.options)
        if f.name not in said and getattr(step.options, f.name) != f.default
    }
    asked = _field_of(step.name)
    for word in asked.metadata.get("choices", vars(step.options).values()):
        try:
            made = plan_of(chosen_options("none", {asked.name: word, **further}))
        except ValueError:  # another word leaves one of the options no say
            continue
        if made == (step,):
            return {asked.name: word, **further}
    raise ValueError(f"no value of {asked.name} asks for {step.options}.")


def _field_of(step: str) -> Field[Any]:
    return word_fields()[asked_by(step)]


def _said_by_words(step: str) -> set[str]:
    """Options of a step that its words, or numbers, set."""
    return {name for word in STEPS[step].words or (None,) for name in STEPS[step].of_word(word)}
