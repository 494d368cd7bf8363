"""The steps by name, in the order in which they are applied, and usual sets of them.

To add one, write its module, its entry in :data:`STEPS`, and a field of
:class:`softlabel.preprocess.PreprocessOptions` that asks for it.
"""

from __future__ import annotations

from softlabel.preprocess.box import BoxOptions, apply_box, restore_box
from softlabel.preprocess.brain_mask import SOURCES, BrainMaskOptions, apply_brain_mask
from softlabel.preprocess.crop import CropOptions, apply_crop, restore_crop
from softlabel.preprocess.denoise import METHODS, DenoiseOptions, apply_denoise, weights_of
from softlabel.preprocess.flatten import FlattenOptions, apply_flatten, restore_flatten
from softlabel.preprocess.normalise import (
    NormaliseOptions,
    apply_normalise,
    restore_normalise,
)
from softlabel.preprocess.resample import ResampleOptions, apply_resample, restore_resample
from softlabel.preprocess.step import Step, unchanged
from softlabel.preprocess.wedges import WEDGES, WedgeOptions, apply_wedges, restore_wedges

STEPS: dict[str, Step] = {
    "wedges": Step(
        "OCT: mask registration wedges, and fill them with the background",
        WedgeOptions,
        apply_wedges,
        restore_wedges,
        words=("keep", *WEDGES),
        of_word=lambda word: {"wedges": word},
        in_place=True,
    ),
    "denoise": Step(
        "OCT: total variation, non-local means, a bilateral filter or a DnCNN",
        DenoiseOptions,
        apply_denoise,
        unchanged,
        words=("none", *METHODS),
        of_word=lambda word: {"method": word},
        weights=weights_of,
        in_place=True,
    ),
    "flatten": Step(
        "OCT: bring Bruch's membrane to one row (Lang et al. 2013)",
        FlattenOptions,
        apply_flatten,
        restore_flatten,
        words=("none", "pixel", "subpixel"),
        of_word=lambda word: {"subpixel": word == "subpixel"},
    ),
    "crop": Step(
        "OCT: keep the rows of the retina and a margin",
        CropOptions,
        apply_crop,
        restore_crop,
        words=("none", "retina"),
    ),
    "brain_mask": Step(
        "MRI: a mask of the brain, and the image without what lies outside",
        BrainMaskOptions,
        apply_brain_mask,
        unchanged,
        words=("none", *SOURCES),
        of_word=lambda word: {"source": word},
        in_place=True,
    ),
    "box": Step(
        "MRI, CT: keep the box of the mask, or of what is not 0",
        BoxOptions,
        apply_box,
        restore_box,
        words=("none", "mask"),
    ),
    "resample": Step(
        "MRI, CT: voxels of another size, by splines and class by class",
        ResampleOptions,
        apply_resample,
        restore_resample,
        of_word=lambda sizes: {"spacing_mm": sizes},
        asked_by="resample_mm",
    ),
    "normalise": Step(
        "MRI, CT: clip to a window, then standard deviations from the mean of the mask",
        NormaliseOptions,
        apply_normalise,
        restore_normalise,
        words=("none", "zscore"),
        in_place=True,
    ),
}

PRESETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "oct": ("wedges", "denoise", "flatten", "crop"),
    "mri": ("brain_mask", "box", "normalise"),
}
"""Steps that are usual together, with their own defaults. Resampling is in none of them: which
spacing a data set should have is no default."""
