"""Before a run: the cache that a recipe asks for, checked, split and summed up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from softlabel.cache import Cache, open_cache
from softlabel.errors import CacheError, UsageError
from softlabel.generation import CaseReport, Settings, generate
from softlabel.types import ClassTable
from softlabel_train.config import Recipe, generation_settings
from softlabel_train.data import Intensity, require_axes
from softlabel_train.losses import enet_weights
from softlabel_train.splits import LEAKS, Split, group_parts, leaks, make_split


@dataclass(frozen=True, eq=False)
class TrainingData:
    """A cache, and what training needs to know of it.

    Attributes
    ----------
    cache : Cache
    split : Split
    classes : ClassTable
    channels, dims : int
        Image channels and spatial axes.
    intensity : Intensity or None
        Normalisation of all images; None normalises each by itself, or not at all.
    class_pixels : ndarray of int64, shape (K,)
        Of the training patients, without ignored pixels.
    warnings : tuple of str
        Settings in which cache and recipe differ, and groups that look forgotten.
    """

    cache: Cache
    split: Split
    classes: ClassTable
    channels: int
    dims: int
    intensity: Intensity | None
    class_pixels: npt.NDArray[np.int64]
    warnings: tuple[str, ...]

    def class_weights(self, kind: str) -> npt.NDArray[np.float64] | None:
        """Weights of the classes in the loss; None for ``none``."""
        return enet_weights(self.class_pixels) if kind == "enet" else None


def find_cache(
    recipe: Recipe, *, jobs: int = 1, progress: Callable[[CaseReport], None] | None = None
) -> Path:
    """Path of the recipe's cache, generated first when it is missing or not complete.

    Raises
    ------
    UsageError
        When the recipe names neither a cache nor a data set, or cases could not be computed.
    """
    data = recipe.data
    if data.source is None:
        if data.cache is None:
            raise UsageError(
                "The recipe names no data: give data.cache=NAME.h5, or data.source=FOLDER to "
                "generate one."
            )
        if not Path(data.cache).is_file():
            raise UsageError(
                f"The cache {data.cache} does not exist; make it with `softlabel generate`, or "
                "give data.source=FOLDER to generate it here."
            )
        return Path(data.cache)
    path = Path(data.cache) if data.cache else generated_path(recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    report = generate(
        data.source, path, generation_settings(recipe.generate), format=data.format,
        format_options=data.format_options, jobs=jobs, progress=progress,
    )  # fmt: skip
    if report.interrupted:
        raise KeyboardInterrupt
    if report.failures:
        case, reason = next(iter(report.failures.items()))
        raise UsageError(
            f"{len(report.failures)} cases of {data.source} could not be computed, first of all "
            f"{case}: {reason} Fix them or take them out of the data set."
        )
    if not report.complete:
        note = " ".join(report.warnings) or "Run the same command again."
        raise UsageError(
            f"The cache {path} could not be finished: {report.remaining} cases remain. {note}"
        )
    return path


def generated_path(recipe: Recipe) -> Path:
    """Where the cache of ``data.source`` with the recipe's settings goes.

    Examples
    --------
    >>> recipe = Recipe(data={"source": "scans/oct"}, generate={"n_segments": 500})
    >>> generated_path(recipe).as_posix()
    'caches/oct-superpixel-...h5'
    """
    source = Path(str(recipe.data.source))
    settings = generation_settings(recipe.generate)
    text = settings.as_json(
        {
            "source": source.resolve().as_posix(),
            "format": recipe.data.format,
            "format_options": recipe.data.format_options,
        }
    )
    digest = hashlib.sha256(text.encode()).hexdigest()[:10]
    name = f"{source.resolve().name}-{settings.method}-{digest}.h5"
    return Path(recipe.data.cache_folder) / name


def open_data(recipe: Recipe, path: Path) -> TrainingData:
    """Open a cache, see that it fits the recipe, and divide it.

    Raises
    ------
    UsageError
        When classes, channels, images or the softening method are not what the recipe expects,
        or the split is impossible.
    CacheError
        When the cache is damaged.
    """
    cache = open_cache(path)
    if not len(cache):
        raise UsageError(f"The cache {path} is empty.")
    first = cache[next(iter(cache))]
    channels, dims = first.image.shape[0], len(first.shape)
    _check_numbers(recipe, path, len(cache.classes), channels)
    _check_axes(recipe, path, dims)
    warnings = (*_check_settings(recipe, path, cache), *_forgotten_groups(cache))
    groups = {case_id: cache[case_id].group for case_id in cache}
    split = make_split(groups, recipe.data.split)
    if leaks(group_parts(split)):
        warnings = (f"This run {LEAKS}.", *warnings)
    try:
        of_training = [cache.statistics[g] for g in split.train_groups]
    except KeyError as error:
        raise CacheError(
            f"The index {path} has no statistics of the patient {error}; rebuild it with "
            f"`softlabel index {path}`."
        ) from error
    intensity = None
    if recipe.data.normalize == "dataset":
        intensity = Intensity.of(of_training)
    elif recipe.data.normalize == "none":
        intensity = Intensity((0.0,) * channels, (1.0,) * channels)
    counts = np.sum([np.asarray(s["class_pixels"], np.int64) for s in of_training], axis=0)
    if not counts.sum():
        raise UsageError(f"The training patients of {path} have no annotated pixel.")
    return TrainingData(
        cache, split, cache.classes, channels, dims, intensity, np.asarray(counts), warnings
    )


def _check_numbers(recipe: Recipe, path: Path, classes: int, channels: int) -> None:
    for name, expected, found in (
        ("classes", recipe.data.classes, classes),
        ("channels", recipe.data.channels, channels),
    ):
        if expected is not None and expected != found:
            raise UsageError(
                f"The cache {path} has {found} {name} and the recipe {recipe.name} expects "
                f"{expected}; use another cache or recipe, or set data.{name}={found}."
            )


def _check_axes(recipe: Recipe, path: Path, dims: int) -> None:
    """Refuse sizes and axes of images that have more or fewer of them."""
    require_axes("data.crop", recipe.data.crop, dims, f"the images of {path}")
    require_axes("evaluate.window", recipe.evaluate.window, dims, f"the images of {path}")
    if beyond := [axis for axis in recipe.augment.flip if axis >= dims]:
        raise UsageError(
            f"augment.flip names the axis {beyond[0]} and the images of {path} have {dims} spatial "
            f"axes, 0 to {dims - 1}."
        )


def _forgotten_groups(cache: Cache) -> tuple[str, ...]:
    """What the check of the data set said of slices that are groups of their own."""
    return tuple(
        f"{finding['text']} Training and validation would share patients; run softlabel generate "
        "again with --group, which computes nothing anew."
        for finding in cache.findings
        if finding["code"] == "groups" and len(cache.statistics) == len(cache)
    )


def _check_settings(recipe: Recipe, path: Path, cache: Cache) -> tuple[str, ...]:
    """Refuse soft labels of another method; other settings that differ are warnings."""
    made_with = json.loads(json.dumps(Settings.from_json(cache.header.settings).recorded()))
    settings = generation_settings(recipe.generate)
    wanted = asdict(settings)
    # a preset and its steps one by one are the same
    wanted["preprocess_options"] = settings.recorded().get("preprocess_options", {})
    made_with.setdefault("preprocess_options", {})
    asked_for = {"preprocess_options" if k == "preprocess" else k: None for k in recipe.generate}
    differ = {
        key: (made_with[key], wanted[key])
        for key in asked_for
        if key in made_with and json.loads(json.dumps(wanted[key])) != made_with[key]
    }
    if "method" in differ and recipe.loss.beta > 0 and recipe.loss.target == "soft":
        found, asked = differ["method"]
        raise UsageError(
            f"The cache {path} holds soft labels of the method {found} and the recipe asks for "
            f"generate.method={asked}; give data.source=FOLDER so that the right cache is "
            f"generated, another data.cache, or generate.method={found}."
        )
    told = [
        f"The cache {path} was made with {key}={found}; the recipe says {asked}."
        for key, (found, asked) in differ.items()
        if key not in ("method", "compression")
    ]
    # either says how large superpixels are, and a cache records one of them
    sizes = ("superpixel_size", "n_segments")
    found_by = next((size for size in sizes if made_with.get(size) is not None), None)
    asked_by = next((size for size in sizes if size in recipe.generate), None)
    if found_by and asked_by and found_by != asked_by:
        told.append(
            f"The cache {path} was made with {found_by}={made_with[found_by]}; the recipe says "
            f"{asked_by}={wanted[asked_by]}."
        )
    return tuple(told)
