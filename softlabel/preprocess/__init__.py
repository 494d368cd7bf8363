"""Steps from case to case before superpixels are made, each with an exact way back.

OCT: registration wedges filled, noise taken out, flattened to Bruch's membrane, cropped to the
retina. :func:`preprocess` takes a case through a plan of steps and :func:`restore` brings arrays
back; the functions on arrays (:func:`denoise_bscan`, :func:`find_retina`, :func:`flat_window`,
:func:`crop_rows`, :func:`take_rows`, :func:`fill_background`) can be called one by one.
"""

from softlabel.preprocess.background import fill_background
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
    "CropOptions",
    "DenoiseOptions",
    "DnCNN",
    "DnCNNSettings",
    "FlattenOptions",
    "Kind",
    "Plan",
    "PlannedStep",
    "PreprocessOptions",
    "Preprocessed",
    "Record",
    "Retina",
    "RowWindow",
    "Step",
    "WedgeOptions",
    "apply_dncnn",
    "chosen_options",
    "crop_rows",
    "denoise_bscan",
    "fill_background",
    "find_retina",
    "flat_window",
    "noise_sigma",
    "pack_network",
    "plain_options",
    "plan_of",
    "preprocess",
    "require_torch",
    "restore",
    "step_fields",
    "take_rows",
    "unpack_network",
    "weights_needed",
    "word_fields",
]
