"""What settings do to soft labels, and controls that are as soft as the superpixels make them.

Run with ``python -m benchmarks.softness`` on B-scans of a phantom, or with ``python -m
benchmarks.softness CACHE.h5 [--cases 4]`` for the controls of a cache of your own.

*Entropy* is the mean over the known pixels, in bits, of q divided by its sum over the classes.
*Soft* is the share of the known pixels with a value that is neither 0 nor 1, *own q* the mean over
the classes of the mean soft label in their own pixels, *Σq* the mean sum over the classes in soft
pixels. ∣Δq∣ compares with the first row: the largest difference over the classes, mean over the
pixels that either has softened. A control is as soft as the superpixels where its entropy is the
same; it is then soft in other places. *Another class* is the share of the known pixels whose most
probable class is not the annotated one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measure import one_thread, show

one_thread()

import numpy as np  # noqa: E402

from benchmarks import data  # noqa: E402
from softlabel.cache import Cache, CachedCase, Header, open_cache  # noqa: E402
from softlabel.generation.case_superpixels import make_superpixels  # noqa: E402
from softlabel.generation.compute import request_of  # noqa: E402
from softlabel.generation.settings import Settings  # noqa: E402
from softlabel.softening import METHODS, soften_by  # noqa: E402
from softlabel.softmaps.entropy import entropy_bits  # noqa: E402
from softlabel.softmaps.maps import SoftMaps  # noqa: E402
from softlabel.types import Array, Case  # noqa: E402

Row = dict[str, Any]

DEFAULT = Settings()
SETTINGS: dict[str, Settings] = {
    "the default": DEFAULT,
    "boundary outer": replace(DEFAULT, boundary="outer"),
    "boundary edge": replace(DEFAULT, boundary="edge"),
    "boundary symmetric": replace(DEFAULT, boundary="symmetric"),
    "normalize sum": replace(DEFAULT, normalize="sum"),
    "scale 2": replace(DEFAULT, scale=2.0),
    "distances in mm": replace(DEFAULT, distance_unit="mm"),
    "sigma 0": replace(DEFAULT, sigma=0.0),
    "sigma 2": replace(DEFAULT, sigma=2.0),
    "compactness 0.02": replace(DEFAULT, compactness=0.02),
    "compactness 0.05": replace(DEFAULT, compactness=0.05),
    "compactness 0.3": replace(DEFAULT, compactness=0.3),
    "n_segments 500": replace(DEFAULT, n_segments=500),
    "n_segments 1000": replace(DEFAULT, n_segments=1000),
    "n_segments 3500": replace(DEFAULT, n_segments=3500),
    "superpixels grid": replace(DEFAULT, superpixels="grid"),
    "shuffled superpixels": DEFAULT,
    "method gaussian": Settings(method="gaussian"),
    "method distance": Settings(method="distance"),
}
"""Those of the first table; the default first."""


@dataclass(frozen=True)
class Control:
    """A method with one number that makes it softer.

    Attributes
    ----------
    name : str
    low, high : float
        Where that number is looked for.
    settings : callable (number, settings of the cache) -> Settings
    """

    name: str
    low: float
    high: float
    settings: Callable[[float, Settings], Settings]


def _method(name: str, option: str) -> Callable[[float, Settings], Settings]:
    """Settings of a method without superpixels, by its option."""
    return lambda number, given: replace(
        given, method=name, superpixels="slic", method_options={option: number}, normalize="none"
    )


CONTROLS = (
    Control("gaussian", 0.3, 30.0, _method("gaussian", "blur")),
    Control("distance", 0.5, 64.0, _method("distance", "width")),
    Control("smoothing", 1e-4, 0.9, _method("smoothing", "epsilon")),
    Control(
        "grid", 4.0, 1e5,
        lambda number, given: replace(
            given, superpixels="grid", superpixel_size=number, preset="none"
        ),
    ),
)  # fmt: skip


def softened(case: Case, settings: Settings, ids: Array | None = None) -> SoftMaps:
    """Soft maps of a case as ``softlabel generate`` makes them, or inside given superpixels."""
    assert case.classes is not None
    header = Header("", "", case.classes, case.ignore, case.channels)
    if ids is None and METHODS[settings.method].needs_superpixels:
        ids = make_superpixels(case, settings)[0]
    return soften_by(request_of(case, header, settings), case.labels, ids)


def shuffled(ids: Array) -> Array:
    """The same superpixels half an image further along every axis, over the wrong tissue."""
    return np.roll(ids, [n // 2 for n in ids.shape], range(ids.ndim))


def slabs(maps: SoftMaps) -> Iterator[tuple[slice, Array, Array]]:
    """Some rows at a time: which, their dense values (K, pixels), and which pixels are known."""
    rows = max(1, (1 << 22) // (maps.index[0].size * len(maps.table)))
    for first in range(0, len(maps.index), rows):
        part = slice(first, first + rows)
        yield part, maps.patch(part).reshape(len(maps.table), -1), maps.known[part].ravel()


def mean_entropy(found: Iterable[SoftMaps]) -> float:
    """Mean entropy in bits of the known pixels of all cases."""
    total = pixels = 0.0
    for maps in found:
        for _, soft, known in slabs(maps):
            total += float(entropy_bits(soft).sum(dtype=np.float64))
            pixels += int(known.sum())
    return total / pixels


def setting_table(cases: Sequence[Case]) -> list[Row]:
    """What each setting does to the soft labels of cases, alone."""
    first = [softened(case, DEFAULT) for case in cases]
    rows = []
    for name, settings in SETTINGS.items():
        found = []
        for case, default in zip(cases, first, strict=True):
            ids = None
            if name == "shuffled superpixels":
                ids = shuffled(make_superpixels(case, settings)[0])
            found.append(figures(softened(case, settings, ids), default))
        rows.append(
            {"setting": name} | {k: float(np.mean([f[k] for f in found])) for k in found[0]}
        )
    return rows


def figures(maps: SoftMaps, default: SoftMaps) -> Row:
    """How soft the labels of a case are, and how far from others."""
    soft, other = maps.dense(), default.dense()
    known, band = maps.known, maps.band
    counts = np.bincount(maps.index[known], minlength=len(maps.table))
    there = counts > 0
    either = band | default.band
    return {
        "soft": float(band[known].mean()),
        "entropy": float(entropy_bits(soft)[known].mean(dtype=np.float64)),
        "own q": float((maps.own_class_sums(maps.index)[there] / counts[there]).mean()),
        "Σq": float(soft.sum(0)[band].mean()),
        "mean ∣Δq∣": float(np.abs(soft - other).max(0)[either].mean()),
    }


def matched(cases: Sequence[Case], control: Control, given: Settings, wanted: float) -> float:
    """The control's number at which its mean entropy is ``wanted``, within a percent.

    Entropy grows with it; where it grows in steps, the nearest that halving the interval finds.
    """
    low, high = control.low, control.high
    best, off = low, np.inf
    for _ in range(14):
        number = float(f"{np.sqrt(low * high):.4g}")
        settings = control.settings(number, given)
        found = mean_entropy(softened(case, settings) for case in cases)
        if abs(found - wanted) < off:
            best, off = number, abs(found - wanted)
        if off <= 0.005 * wanted:
            break
        low, high = (number, high) if found < wanted else (low, number)
    return best


def control_table(cases: Sequence[Case], given: Settings, own: Sequence[SoftMaps]) -> list[Row]:
    """Each control as soft as the labels ``own``, and the keys of a recipe that ask for it."""
    wanted = mean_entropy(own)
    rows = [{"control": "none, superpixels"} | softness(own) | {"keys of a recipe": ""}]
    for control in CONTROLS:
        settings = control.settings(matched(cases, control, given, wanted), given)
        found = [softened(case, settings) for case in cases]
        keys = {"keys of a recipe": recipe_keys(settings)}
        rows.append({"control": control.name} | softness(found) | keys)
    return rows


def softness(found: Sequence[SoftMaps]) -> Row:
    """How soft labels are, and how often the annotated class is not the most probable one."""
    known = sum(int(maps.known.sum()) for maps in found)
    soft = sum(int(maps.band[maps.known].sum()) for maps in found)
    other = sum(
        int((dense.argmax(0) != maps.index[part].ravel())[is_known].sum())
        for maps in found
        for part, dense, is_known in slabs(maps)
    )
    entropy = mean_entropy(found)
    return {"entropy": entropy, "soft": soft / known, "another class": other / known}


def recipe_keys(settings: Settings) -> str:
    """What a recipe is given for these settings of a control.

    Examples
    --------
    >>> recipe_keys(Settings(method="gaussian", method_options={"blur": 3.4}))
    "generate.method=gaussian 'generate.method_options={blur: 3.4}'"
    """
    if settings.superpixels == "grid":
        return f"generate.superpixels=grid generate.superpixel_size={settings.superpixel_size:g}"
    [(option, number)] = settings.method_options.items()
    given = f"'generate.method_options={{{option}: {number:g}}}'"
    return f"generate.method={settings.method} {given}"


def case_of(name: str, cached: CachedCase, cache: Cache) -> Case:
    """A case of a cache, as it was softened."""
    return Case(
        name, cached.image[...], cached.labels[...], cache.classes, cache.ignore,
        mask=None if cached.mask is None else cached.mask[...].astype(bool),
        spacing_mm=cached.spacing_mm, channels=cache.channels, slice_axis=cached.slice_axis,
    )  # fmt: skip


def main(repeats: int = 1) -> list[Row]:
    """Print both tables of a phantom and return their rows; nothing is timed or repeated."""
    cases = data.annotated_bscans()
    own = [softened(case, DEFAULT) for case in cases]
    tables = {
        f"{len(cases)} B-scans of a phantom, one setting at a time": setting_table(cases),
        "Controls as soft as the default": control_table(cases, DEFAULT, own),
    }
    for title, rows in tables.items():
        show(title, rows)
    return [row for rows in tables.values() for row in rows]


def of_cache(path: Path, most: int) -> list[Row]:
    """Print the controls of a cache and return their rows."""
    with open_cache(path) as cache:
        settings = Settings.from_json(cache.header.settings)
        if settings.method != "superpixel":
            raise SystemExit(
                f"{path} holds soft labels of the method {settings.method}; give a cache of the "
                "method superpixel, whose softness the controls are to have."
            )
        # its images are those after the steps
        settings = replace(settings, preprocess="none", preprocess_options={})
        chosen = list(cache.items())[:most]
        cases = [case_of(name, cached, cache) for name, cached in chosen]
        own = [
            softened(case, settings, cached.superpixels[...])
            for case, (_, cached) in zip(cases, chosen, strict=True)
            if cached.superpixels is not None
        ]
    rows = control_table(cases, settings, own)
    show(f"Controls as soft as {path}", rows)
    return rows


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path, nargs="?")
    parser.add_argument("--cases", type=int, default=4, help="of the cache, from the first on")
    options = parser.parse_args()
    if options.cache is None:
        main()
    else:
        of_cache(options.cache, options.cases)
