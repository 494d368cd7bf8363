"""The steps by name, in the order in which they are applied, and usual sets of them.

To add one, write its module and its entry in :data:`STEPS`.
"""

from __future__ import annotations

from softlabel.preprocess.crop import CropOptions, apply_crop, restore_crop
from softlabel.preprocess.denoise import DenoiseOptions, apply_denoise, weights_of
from softlabel.preprocess.flatten import FlattenOptions, apply_flatten, restore_flatten
from softlabel.preprocess.step import Step, unchanged
from softlabel.preprocess.wedges import WedgeOptions, apply_wedges, restore_wedges

STEPS: dict[str, Step] = {
    "wedges": Step(
        "OCT: mask registration wedges, and fill them with the background",
        WedgeOptions,
        apply_wedges,
        restore_wedges,
    ),
    "denoise": Step(
        "OCT: total variation, non-local means, a bilateral filter or a DnCNN",
        DenoiseOptions,
        apply_denoise,
        unchanged,
        weights_of,
    ),
    "flatten": Step(
        "OCT: bring Bruch's membrane to one row (Lang et al. 2013)",
        FlattenOptions,
        apply_flatten,
        restore_flatten,
    ),
    "crop": Step(
        "OCT: keep the rows of the retina and a margin",
        CropOptions,
        apply_crop,
        restore_crop,
    ),
}

PRESETS: dict[str, tuple[str, ...]] = {
    "none": (),
    "oct": ("wedges", "denoise", "flatten", "crop"),
}
"""Steps that are usual together, with their own defaults."""
