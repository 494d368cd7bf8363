"""Steps from case to case before superpixels are made, each with an exact way back.

OCT: registration wedges filled, noise taken out, flattened to Bruch's membrane, cropped to the
retina. MRI and CT: a brain mask, the box of it, voxels of another size, standard deviations.
:func:`preprocess` takes a case through a plan of steps and :func:`restore` brings arrays
back; the functions on arrays (:func:`denoise_bscan`, :func:`find_retina`, :func:`flat_window`,
:func:`crop_rows`, :func:`take_rows`, :func:`fill_background`; :func:`intensity_mask`,
:func:`box_of`, :func:`resample_image`, :func:`resample_labels`, :func:`resample_soft`,
:func:`normalise_image`) can be called one by one.
"""

from softlabel.preprocess.background import fill_background
from softlabel.preprocess.box import BoxOptions, box_of
from softlabel.preprocess.brain_mask import BrainMaskOptions, intensity_mask, why_no_brain
from softlabel.preprocess.bscans import Axes, axes_of
from softlabel.preprocess.choice import chosen_options, plain_options, step_fields, word_fields
from softlabel.preprocess.crop import CropOptions, crop_rows
from softlabel.preprocess.denoise import (
    SHIPPED_WEIGHTS,
    DenoiseOptions,
    denoise_bscan,
    noise_sigma,
)
from softlabel.preprocess.dncnn import DnCNN, DnCNNSettings, apply_dncnn, require_torch
from softlabel.preprocess.flatten import FlattenOptions, flat_window
from softlabel.preprocess.normalise import (
    Normalised,
    NormaliseOptions,
    foreground_percentiles,
    normalise_image,
)
from softlabel.preprocess.plan import (
    Plan,
    PlannedStep,
    Preprocessed,
    PreprocessOptions,
    plan_of,
    preprocess,
    restore,
    weights_needed,
)
from softlabel.preprocess.record import Record
from softlabel.preprocess.resample import (
    ResampleOptions,
    resample_image,
    resample_labels,
    resample_soft,
    resampled_shape,
)
from softlabel.preprocess.retina import Retina, find_retina
from softlabel.preprocess.step import Kind, Step
from softlabel.preprocess.steps import PRESETS, STEPS
from softlabel.preprocess.wedges import WedgeOptions
from softlabel.preprocess.weights import LARGEST_WEIGHTS, pack_network, unpack_network
from softlabel.preprocess.window import RowWindow, take_rows

__all__ = [
    "LARGEST_WEIGHTS",
    "PRESETS",
    "SHIPPED_WEIGHTS",
    "STEPS",
    "Axes",
    "BoxOptions",
    "BrainMaskOptions",
    "CropOptions",
    "DenoiseOptions",
    "DnCNN",
    "DnCNNSettings",
    "FlattenOptions",
    "Kind",
    "NormaliseOptions",
    "Normalised",
    "Plan",
    "PlannedStep",
    "PreprocessOptions",
    "Preprocessed",
    "Record",
    "ResampleOptions",
    "Retina",
    "RowWindow",
    "Step",
    "WedgeOptions",
    "apply_dncnn",
    "axes_of",
    "box_of",
    "chosen_options",
    "crop_rows",
    "denoise_bscan",
    "fill_background",
    "find_retina",
    "flat_window",
    "foreground_percentiles",
    "intensity_mask",
    "noise_sigma",
    "normalise_image",
    "pack_network",
    "plain_options",
    "plan_of",
    "preprocess",
    "require_torch",
    "resample_image",
    "resample_labels",
    "resample_soft",
    "resampled_shape",
    "restore",
    "step_fields",
    "take_rows",
    "unpack_network",
    "weights_needed",
    "why_no_brain",
    "word_fields",
]
