"""``--preset auto``: superpixel settings by the shape of a case, as they were measured.

The figures are those of ``python -m benchmarks.presets``. A cache records the word and, for each
case, what it became there. So that a cache can be continued, a rule that is to be another one gets
a name of its own.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace

from softlabel.generation.settings import OF_PRESET, Settings
from softlabel.softening import method_named
from softlabel.types import long_axes

PERCENTILES = (1.0, 99.5)
"""Of each channel: a few very bright pixels flatten everything else otherwise."""

SMALL_IMAGE = 1 << 16
"""Most pixels of a small image: 256 × 256."""


@dataclass(frozen=True)
class Rule:
    """Superpixels for one kind of case.

    Attributes
    ----------
    superpixel_size : float
        Pixels.
    compactness : float
    sigma : float
    """

    superpixel_size: float
    compactness: float
    sigma: float


IMAGE = Rule(95.0, 0.1, 2.0)
SMALL = Rule(16.0, 0.2, 0.0)
VOLUME = Rule(27.0, 0.2, 0.0)
"""Where edges of superpixels have 3 or 4 pixels, smoothing would blur away what they are to follow;
the weight of space holds against the noise instead."""


def rule_of(shape: tuple[int, ...]) -> Rule:
    """The rule for a spatial shape; a volume of one slice is an image.

    Examples
    --------
    >>> rule_of((496, 768)) is IMAGE, rule_of((1, 120, 120)) is SMALL
    (True, True)
    >>> rule_of((240, 240, 48)) is VOLUME
    True
    """
    if len(long_axes(shape)) > 2:
        return VOLUME
    return SMALL if math.prod(shape) <= SMALL_IMAGE else IMAGE


def resolved(settings: Settings, shape: tuple[int, ...]) -> Settings:
    """The settings of a case of this spatial shape: without a preset the same.

    Examples
    --------
    >>> resolved(Settings(preset="auto"), (120, 120)).superpixel_size
    16.0
    """
    if settings.preset == "none":
        return settings
    rule = rule_of(shape)
    return replace(
        settings, preset="none", n_segments=Settings.n_segments, slic_dims="volume",
        superpixel_size=rule.superpixel_size, compactness=rule.compactness, sigma=rule.sigma,
        channel_percentiles=PERCENTILES,
    )  # fmt: skip


def preset_hint(settings: Settings) -> str:
    """That there is the preset, for warnings of how large superpixels are by default.

    Empty where something else than the defaults was asked for.
    """
    usual = Settings()
    if not method_named(settings.method).needs_superpixels:
        return ""
    if settings.superpixels == "file" or any(
        getattr(settings, name) != getattr(usual, name) for name in (*OF_PRESET, "preset")
    ):
        return ""
    return (
        f" By default an image has {usual.n_segments} superpixels, whatever its size; --preset "
        "auto chooses by the shape of each case."
    )


def resolution_record(settings: Settings, shape: tuple[int, ...]) -> str:
    """What a preset became for a case, as a JSON text for its part; empty without a preset.

    Examples
    --------
    >>> print(resolution_record(Settings(preset="auto", superpixels="grid"), (9, 9, 9)))
    {"slic_dims": "volume", "superpixel_size": 27.0}
    """
    if "preset" not in settings.recorded():
        return ""
    has_say = resolved(settings, shape).recorded()
    return json.dumps({n: has_say[n] for n in sorted(OF_PRESET) if n in has_say})
