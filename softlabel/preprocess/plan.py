"""Which steps a data set takes, and one case through them and back.

>>> import numpy as np
>>> from softlabel.phantom import make_oct_subject
>>> bscan = make_oct_subject(1, 1, (256, 128, 1)).images[..., 0]
>>> case = Case("a", bscan[None], np.zeros_like(bscan), None, spacing_mm=(0.00387, 0.01133))
>>> done = preprocess(case, plan_of(PreprocessOptions(preprocess="oct", denoise="none")))
>>> [record.step for record in done.records]
['wedges', 'flatten', 'crop']
>>> restore(done.records, done.case.labels, "labels").shape
(256, 128)
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from softlabel.coerce import make_plain
from softlabel.errors import CaseError, did_you_mean
from softlabel.preprocess.dncnn import DnCNN
from softlabel.preprocess.record import Record
from softlabel.preprocess.step import KINDS, Kind
from softlabel.preprocess.steps import PRESETS, STEPS
from softlabel.types import Array, Case

_LEAVE_OUT = ("keep", "none")


def _word(step: str, help: str) -> Any:
    return field(default=None, metadata={"help": help, "choices": STEPS[step].words})


@dataclass(frozen=True)
class PreprocessOptions:
    """What is done to every case of a data set before superpixels.

    Attributes
    ----------
    preprocess : {"none", "oct", "mri"}
        Usual steps together (:data:`softlabel.preprocess.PRESETS`); the others add, change or leave
        out a step. None is what the preset says.
    wedges : {"keep", "mask", "fill"} or None
    denoise : {"none", "tv", "nlm", "bilateral", "dncnn"} or None
    flatten : {"none", "pixel", "subpixel"} or None
    crop : {"none", "retina"} or None
    brain_mask : {"none", "given", "labels", "intensity"} or None
    box : {"none", "mask"} or None
    resample_mm : tuple of float or None
        Size of voxels, once or along each axis; None does not resample.
    normalise : {"none", "zscore"} or None
    step_options : mapping
        Further options of the steps: ``{"tv_weight": 3.0, "margin_um": 50.0}``; see the dataclasses
        in :data:`softlabel.preprocess.STEPS`. ``axial_axis`` goes to every step.
    """

    preprocess: str = field(
        default="none",
        metadata={"help": "Usual steps together.", "choices": tuple(PRESETS)},
    )
    wedges: str | None = _word("wedges", "Registration wedges: keep, mask, or fill and mask them.")
    denoise: str | None = _word("denoise", "How noise is taken out.")
    flatten: str | None = _word("flatten", "Flatten to Bruch's membrane, by whole pixels or not.")
    crop: str | None = _word("crop", "Keep the rows of the retina and a margin.")
    brain_mask: str | None = _word("brain_mask", "Where the mask of the brain comes from.")
    box: str | None = _word("box", "Keep the box of the mask, or of what is not 0.")
    resample_mm: tuple[float, ...] | None = field(
        default=None, metadata={"help": "Size of voxels in mm, once or along each axis."}
    )
    normalise: str | None = _word("normalise", "Standard deviations from the mean of the mask.")
    step_options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        make_plain(self)
        for option in fields(self):
            words, value = option.metadata.get("choices"), getattr(self, option.name)
            if words is not None and value is not None and value not in words:
                raise ValueError(
                    f"{option.name} must be one of {', '.join(words)}; got {value!r}"
                    f"{did_you_mean(value, words) or '.'}"
                )


class PlannedStep(NamedTuple):
    """A step and its options.

    Attributes
    ----------
    name : str
        In :data:`softlabel.preprocess.STEPS`.
    options : dataclass
        Of the step's own type.
    """

    name: str
    options: Any


Plan = tuple[PlannedStep, ...]


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A case after all steps.

    Attributes
    ----------
    case : Case
    records : tuple of Record
        What each step did, in order.
    seconds : tuple of float
        How long each step took.
    """

    case: Case
    records: tuple[Record, ...]
    seconds: tuple[float, ...] = ()


def plan_of(options: PreprocessOptions) -> Plan:
    """The steps that options ask for, in the order of :data:`softlabel.preprocess.STEPS`.

    Raises
    ------
    ValueError
        When an option of a step is unknown, cannot be, or its step is not asked for.

    Examples
    --------
    >>> [step.name for step in plan_of(PreprocessOptions(preprocess="oct", crop="none"))]
    ['wedges', 'denoise', 'flatten']
    """
    wanted: dict[str, dict[str, Any]] = {}
    for name, step in STEPS.items():
        word = getattr(options, asked_by(name))
        if word not in _LEAVE_OUT and (word or name in PRESETS[options.preprocess]):
            said = {} if word is None else step.of_word(word)
            known = {f.name for f in fields(step.options)}
            given = {key: v for key, v in options.step_options.items() if key in known}
            if twice := sorted(set(said) & set(given)):
                raise ValueError(
                    f"{twice[0]} is what {asked_by(name)}={word!r} says; leave {twice[0]} out."
                )
            wanted[name] = {**given, **said}
    _refuse_unknown(wanted, options.step_options)
    plan = tuple(PlannedStep(name, STEPS[name].options(**own)) for name, own in wanted.items())
    _refuse_idle(plan, options.step_options)
    return plan


def asked_by(step: str) -> str:
    """Field of :class:`PreprocessOptions` that asks for a step."""
    return STEPS[step].asked_by or step


def _refuse_unknown(wanted: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> None:
    """Refuse an option that no step has of those that are asked for."""
    names = {step: {f.name for f in fields(entry.options)} for step, entry in STEPS.items()}
    for name in sorted(given):
        known = set().union(*(names[step] for step in wanted))
        if name not in known:
            owners = " or ".join(step for step in STEPS if name in names[step])
            advice = f"; leave it out{f', or ask for the step {owners}' if owners else ''}."
            raise ValueError(
                f"no step of this preprocessing ({', '.join(wanted) or 'none'}) has the option "
                f"{name!r}{did_you_mean(name, known) or advice}"
            )


def _refuse_idle(plan: Plan, given: Mapping[str, Any]) -> None:
    """Refuse an option that no step heeds beside its others (``idle`` in the field's metadata)."""
    for name in given:
        owners = [(step, f) for step in plan for f in fields(step.options) if f.name == name]
        reasons = [f.metadata.get("idle", lambda _: "")(step.options) for step, f in owners]
        if all(reasons):
            raise ValueError(
                f"{name} has no meaning beside {reasons[0]}; leave it out, or change that."
            )


def weights_needed(plan: Plan) -> set[str]:
    """SHA-256 of the files of weights that the steps of a plan need.

    Examples
    --------
    >>> weights_needed(plan_of(PreprocessOptions(denoise="tv")))
    set()
    >>> [len(sha256) for sha256 in weights_needed(plan_of(PreprocessOptions(denoise="dncnn")))]
    [64]
    """
    return {_weights(step) for step in plan} - {""}


def _weights(step: PlannedStep) -> str:
    weights = STEPS[step.name].weights
    return "" if weights is None else weights(step.options)


def preprocess(case: Case, plan: Plan, networks: Mapping[str, DnCNN] | None = None) -> Preprocessed:
    """Take a case through the steps of a plan.

    Parameters
    ----------
    case : Case
    plan : tuple of PlannedStep
    networks : mapping of str to DnCNN, optional
        Networks by the SHA-256 of their weights, for the steps that need one.

    Returns
    -------
    Preprocessed

    Raises
    ------
    CaseError
        When a step cannot change this case.
    MissingExtraError
        When a step needs a library that is not installed.
    """
    records, seconds = [], []
    for step in plan:
        started = time.perf_counter()
        name, options = step
        sha256 = _weights(step)
        network = ((networks or {}).get(sha256),) if sha256 else ()
        try:
            case, record = STEPS[name].apply(case, options, *network)
        except ValueError as error:
            raise CaseError(f"{case.name}: step {name}: {error}") from error
        records.append(record)
        seconds.append(time.perf_counter() - started)
    return Preprocessed(case, tuple(records), tuple(seconds))


def restore(records: Sequence[Record], array: Array, kind: Kind) -> Array:
    """Bring an array back to the grid that the case had before all steps.

    Parameters
    ----------
    records : sequence of Record
        In the order in which the steps were applied.
    array : ndarray, shape (..., *spatial)
        On the grid after the last step: an image (C, *spatial), a label map (*spatial), or values
        of each class (K, *spatial).
    kind : {"image", "labels", "soft"}
        Labels come from the nearest pixel; images and soft values are interpolated where a step
        moved pixels by fractions, soft values with their range and sum.

    Returns
    -------
    ndarray of the same dtype, shape (..., *spatial before)

    Raises
    ------
    ValueError
        When the array does not lie on the grid after the last step, or a record is of an unknown
        step.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {kind!r}.")
    for record in reversed(records):
        spatial = array.shape[array.ndim - len(record.shape_after) :]
        if spatial != record.shape_after:
            raise ValueError(
                f"an array of shape {array.shape} does not lie on the grid {record.shape_after} "
                f"that the step {record.step} left; give what was computed from that case."
            )
        if record.step not in STEPS:
            raise ValueError(
                f"the record names the step {record.step!r}, which this version does not know; "
                f"known are {', '.join(STEPS)}. Update softlabel."
            )
        try:
            array = STEPS[record.step].restore(record, array, kind)
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(
                f"the record of the step {record.step} is incomplete or damaged "
                f"({type(error).__name__}: {error}); preprocess the case again."
            ) from error
    return array
