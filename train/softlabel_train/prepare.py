"""Before a run: the cache that a recipe asks for, checked, split and summed up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from softlabel.cache import Cache, CachedCase, open_cache
from softlabel.errors import CacheError, UsageError, plural
from softlabel.generation import (
    CaseReport,
    Report,
    generate,
    read_failures,
    recorded_settings,
)
from softlabel.readers import list_dataset
from softlabel.types import ClassTable, Dataset
from softlabel_train.config import Recipe, generation_settings
from softlabel_train.data import Intensity, require_axes
from softlabel_train.losses import enet_weights
from softlabel_train.owndata import digests_of
from softlabel_train.splits import LEAKS, Split, group_parts, leaks, make_split


@dataclass(frozen=True)
class LeftOut:
    """A case of the data set that could not be computed, so that the cache lacks it.

    Attributes
    ----------
    id : str
    patient : str or None
        None where the data set could not even say whose it is.
    reason : str
    """

    id: str
    patient: str | None
    reason: str


@dataclass(frozen=True)
class FoundCache:
    """The cache that a recipe asks for.

    Attributes
    ----------
    path : Path
    left_out : tuple of LeftOut
        Cases of the data set that it was generated from, and does not hold.
    warnings : tuple of str
        Of the generation just now.
    """

    path: Path
    left_out: tuple[LeftOut, ...] = ()
    warnings: tuple[str, ...] = ()


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
        Settings in which cache and recipe differ, groups that look forgotten, and cases that are
        left out.
    left_out : tuple of LeftOut
        Cases that could not be computed: no part of the split has them.
    digests : mapping of str to str
        Of the cases that train and validate, see :mod:`softlabel_train.owndata`.
    """

    cache: Cache
    split: Split
    classes: ClassTable
    channels: int
    dims: int
    intensity: Intensity | None
    class_pixels: npt.NDArray[np.int64]
    warnings: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)

    def class_weights(self, kind: str) -> npt.NDArray[np.float64] | None:
        """Weights of the classes in the loss; None for ``none``."""
        return enet_weights(self.class_pixels) if kind == "enet" else None


def find_cache(
    recipe: Recipe, *, jobs: int = 1, progress: Callable[[CaseReport], None] | None = None
) -> FoundCache:
    """The recipe's cache, generated first when it is missing or not complete.

    Cases that cannot be computed are left out, as long as they are no larger share of the data set
    than ``data.may_fail``. A cache that was given is taken as it is; the list of cases that failed,
    which ``softlabel generate`` leaves beside it, says what it lacks.

    Raises
    ------
    UsageError
        When the recipe names neither a cache nor a data set, too many cases could not be
        computed, or the split of the listed cases is impossible, which is seen before any is.
    """
    data = recipe.data
    if data.source is None:
        path = given_cache(data.cache)
        with open_cache(path) as cache:
            failed = {id: r for id, r in read_failures(path).items() if id not in cache}
        return FoundCache(path, tuple(LeftOut(id, None, reason) for id, reason in failed.items()))
    path = cache_path(recipe)
    dataset = listed_source(recipe)
    check_listed(recipe, dataset, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    report = generate(
        dataset, path, generation_settings(recipe.generate), jobs=jobs, progress=progress
    )
    if report.interrupted:
        raise KeyboardInterrupt
    if report.stopped or report.remaining:
        note = report.stopped or " ".join(report.warnings) or "Run the same command again."
        raise UsageError(
            f"The cache {path} could not be finished: {report.remaining} cases remain. {note}"
        )
    return FoundCache(path, _left_out(recipe, dataset, report), report.warnings)


def given_cache(name: str | None) -> Path:
    """The cache of ``data.cache``, where there is no data set.

    Raises
    ------
    UsageError
        When it is not there.
    """
    if name is None:
        raise UsageError(
            "The recipe names no data: give data.cache=NAME.h5, or data.source=FOLDER to "
            "generate one."
        )
    if not Path(name).is_file():
        raise UsageError(
            f"The cache {name} does not exist; make it with `softlabel generate`, or "
            "give data.source=FOLDER to generate it here."
        )
    return Path(name)


def listed_source(recipe: Recipe) -> Dataset:
    """The cases of ``data.source``; reads no image."""
    data = recipe.data
    return list_dataset(str(data.source), data.format, data.format_options)


def check_listed(recipe: Recipe, dataset: Dataset, path: Path) -> None:
    """Refuse what the list of cases already shows, before hours are spent on a cache.

    Parameters
    ----------
    recipe : Recipe
    dataset : Dataset
        Of :func:`listed_source`.
    path : Path
        The cache; cases that an earlier run left in it are divided too, as :func:`open_data` does.

    Raises
    ------
    UsageError
        When the split is impossible, or more cases than ``data.may_fail`` cannot be read.
    """
    groups: dict[str, str] = {}
    # a cache that is missing or damaged is generated
    with suppress(CacheError), open_cache(path) as cache:
        groups = {case_id: cache.facts(case_id).group for case_id in cache}
    make_split(groups | {ref.id: ref.group for ref in dataset.refs}, recipe.data.split)
    require_computable(recipe, dataset, dataset.problems)


def require_computable(
    recipe: Recipe, dataset: Dataset, failures: Mapping[str, str], more: int = 0
) -> None:
    """Refuse a data set of which too many cases fail, or all of them.

    Parameters
    ----------
    recipe : Recipe
    dataset : Dataset
    failures : mapping of str to str
        Reason by case.
    more : int
        Other cases that fail, of unknown ids.

    Raises
    ------
    UsageError
        Naming the first one.
    """
    total = len({*(ref.id for ref in dataset.refs), *dataset.problems})
    whose = f"the {plural(total, 'case')} of {recipe.data.source}"
    _require_few(failures, len(failures) + more, total, recipe.data.may_fail, whose)
    if total and len(failures) + more >= total:  # however large a share may fail
        case, reason = next(iter(failures.items()))
        raise UsageError(f"None of {whose} can be computed; {case}: {reason} Fix them.")


def _left_out(recipe: Recipe, dataset: Dataset, report: Report) -> tuple[LeftOut, ...]:
    """The cases that failed; too many of them are refused."""
    groups = {ref.id: ref.group for ref in dataset.refs}
    left_out = tuple(
        LeftOut(case, groups.get(case), reason) for case, reason in report.failures.items()
    )
    require_computable(recipe, dataset, report.failures)
    return left_out


def _require_few(
    failures: Mapping[str, str], failed: int, total: int, may_fail: float, whose: str
) -> None:
    """Refuse a share of failed cases that is larger than ``data.may_fail``."""
    if failed > may_fail * total + 1e-9:
        case, reason = next(iter(failures.items()))
        raise UsageError(
            f"{failed} of {whose} could not be computed, first of all {case}: {reason} Fix them or "
            f"take them out of the data set; data.may_fail, now {may_fail:g}, is the largest share "
            "of cases that may be left out."
        )


def cache_path(recipe: Recipe) -> Path:
    """Where the cache of ``data.source`` is, or will be."""
    return Path(recipe.data.cache) if recipe.data.cache else generated_path(recipe)


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


def open_data(recipe: Recipe, path: Path, left_out: Sequence[LeftOut] = ()) -> TrainingData:
    """Open a cache, see that it fits the recipe, and divide it.

    Parameters
    ----------
    recipe : Recipe
    path : Path
    left_out : sequence of LeftOut
        Cases that the cache lacks. Patients are divided as if it had them, so that one B-scan
        without a retina moves no patient to another part.

    Raises
    ------
    UsageError
        When classes, channels, images or the softening method are not what the recipe expects,
        the split is impossible, or too few cases of a part of it could be computed.
    CacheError
        When the cache is damaged.
    """
    cache = open_cache(path, verify=recipe.data.verify)
    if not len(cache):
        raise UsageError(f"The cache {path} is empty.")
    first = cache[next(iter(cache))]
    channels, dims = first.image.shape[0], len(first.shape)
    _check_numbers(recipe, path, len(cache.classes), channels)
    _check_axes(recipe, path, dims)
    _check_raters(recipe, path, cache)
    warnings = (
        *_check_settings(recipe, path, cache), *_forgotten_groups(cache), *_told(left_out)
    )  # fmt: skip
    split = _split_of(recipe, cache, left_out)
    for case_id in split.evaluation[:1]:  # before training, and not after it
        require_maps(cache[case_id], recipe.evaluate.against)
    if leaks(group_parts(split)):
        warnings = (f"This run {LEAKS}.", *warnings)
    present = {cache[case_id].group for case_id in split.train}
    try:
        of_training = [cache.statistics[g] for g in split.train_groups if g in present]
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
        cache, split, cache.classes, channels, dims, intensity, np.asarray(counts), warnings,
        tuple(left_out), digests_of(cache, split),
    )  # fmt: skip


def _check_raters(recipe: Recipe, path: Path, cache: Cache) -> None:
    """Refuse to draw among raters where there is one."""
    if recipe.data.raters == "sample" and len(cache.raters) < 2:
        raise UsageError(
            f"data.raters=sample draws one of several annotators, and the cache {path} was made of "
            "one; generate it with --raters, or set data.raters=fused."
        )


def require_maps(case: CachedCase, names: Sequence[str]) -> None:
    """Refuse to score a case against label maps that it does not have.

    Raises
    ------
    UsageError
    """
    known = ["labels", *(["truth"] if case.truth is not None else []), *case.label_maps]
    if missing := [name for name in names if name not in known]:
        raise UsageError(
            f"evaluate.against asks for {missing[0]!r}, which the case {case.id} does not have; it "
            f"has {', '.join(known)}. Set evaluate.against to these, or give `softlabel-train "
            "evaluate` --against."
        )


def _split_of(recipe: Recipe, cache: Cache, left_out: Sequence[LeftOut]) -> Split:
    """Divide all cases of the data set, and take those out that could not be computed.

    Raises
    ------
    UsageError
        When the cache has an earlier result of one, or too many of a part are gone.
    """
    if outdated := [case.id for case in left_out if case.id in cache]:
        raise UsageError(
            f"The cache {cache.path} has an earlier result of {outdated[0]}, which cannot be "
            "computed any more; fix the case, or take it out of the data set and give another "
            "data.cache."
        )
    missing = {case.id: case for case in left_out}
    groups = {case_id: cache.facts(case_id).group for case_id in cache}
    groups |= {case.id: case.patient for case in left_out if case.patient is not None}
    whole = make_split(groups, recipe.data.split)
    parts = {"train": whole.train, "validation": whole.validation, "evaluation": whole.evaluation}
    for name, cases in parts.items():
        gone = [missing[case] for case in cases if case in missing]
        if name == "evaluation":
            whose = f"the {plural(len(cases), 'case')} that {recipe.name} evaluates"
            reasons = {case.id: case.reason for case in gone}
            _require_few(reasons, len(gone), len(cases), recipe.data.may_fail, whose)
        if gone and len(gone) == len(cases):
            raise UsageError(
                f"No {name} case could be computed, first of all {gone[0].id}: {gone[0].reason} "
                "Fix them, or choose another data.split."
            )
    return replace(
        whole, **{n: tuple(c for c in cases if c not in missing) for n, cases in parts.items()}
    )


def with_network_shape(recipe: Recipe, data: TrainingData) -> Recipe:
    """The recipe with the patch and the spacing that its network is made for.

    Only ``dynunet`` is made for any: by default for patches of ``data.crop``, or of the median
    image where there is none, and for the median spacing of the training cases. A checkpoint has
    them, so that the network can be made again without the data.
    """
    if recipe.model.architecture != "dynunet":
        return recipe
    cases = [data.cache[case_id] for case_id in data.split.train]
    spacings = [case.spacing_mm or (1.0,) * data.dims for case in cases]
    found = {
        "patch": recipe.data.crop or np.median([c.shape for c in cases], axis=0).astype(int),
        "spacing_mm": [float(f"{s:.4g}") for s in np.median(spacings, axis=0)],
    }
    options = {name: [n.item() if isinstance(n, np.generic) else n for n in numbers]
               for name, numbers in found.items()}  # fmt: skip
    model = recipe.model.model_copy(update={"options": options | recipe.model.options})
    return recipe.model_copy(update={"model": model})


def _told(left_out: Sequence[LeftOut]) -> tuple[str, ...]:
    if not left_out:
        return ()
    named = " ".join(f"{case.id}: {case.reason}" for case in left_out)
    are = "is" if len(left_out) == 1 else "are"
    return (f"{plural(len(left_out), 'case')} could not be computed and {are} left out. {named}",)


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
    axes = {"augment.flip": recipe.augment.flip, "evaluate.flips": recipe.evaluate.flips}
    for key, named in axes.items():
        if beyond := [axis for axis in named if axis >= dims]:
            raise UsageError(
                f"{key} names the axis {beyond[0]} and the images of {path} have {dims} spatial "
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
    made_with = json.loads(json.dumps(recorded_settings(cache.header.settings)))
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
    # each says how large superpixels are, and a cache records one of them
    sizes = ("preset", "superpixel_size", "n_segments")
    found_by = next((size for size in sizes if made_with.get(size) is not None), None)
    asked_by = next((size for size in sizes if size in recipe.generate), None)
    if found_by and asked_by and found_by != asked_by:
        told.append(
            f"The cache {path} was made with {found_by}={made_with[found_by]}; the recipe says "
            f"{asked_by}={wanted[asked_by]}."
        )
    return tuple(told)
