"""What a run would do, without doing it: all is checked, and one case computed to tell the time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from softlabel.generation import ESTIMATE_ATTEMPTS, CaseReport, decide, estimate
from softlabel_train.config import Recipe, generation_settings
from softlabel_train.devices import check_devices
from softlabel_train.loggers import check_loggers
from softlabel_train.models import check_network
from softlabel_train.prepare import (
    cache_path,
    check_listed,
    given_cache,
    listed_source,
    open_data,
    require_computable,
)
from softlabel_train.runfolder import check_data, check_folder
from softlabel_train.splits import Split
from softlabel_train.validation import validated_classes


@dataclass(frozen=True)
class DryRun:
    """What a run would do.

    Attributes
    ----------
    cache : Path
    to_compute : int
        Cases that the cache still lacks.
    cases : int
        Of the data set, or of the cache that was given.
    sample : CaseReport or None
        A case of them that was computed to tell the time; None when the cache lacks none.
    split : Split or None
        Who trains; None while the cache lacks cases.
    """

    cache: Path
    to_compute: int
    cases: int
    sample: CaseReport | None = None
    split: Split | None = None


def dry_run(recipe: Recipe, folder: Path, *, jobs: int = 1, overwrite: bool = False) -> DryRun:
    """Check a recipe, its run folder and its data, as :func:`softlabel_train.loop.fit` begins.

    Writes nothing but what the check of the data set remembers of label maps.

    Raises
    ------
    SoftlabelError
        For what would end the run before it trains, as far as it can be seen without computing
        all cases.
    """
    check_devices(recipe)
    check_loggers(recipe)
    check_network(recipe.model)
    check_folder(folder, recipe, overwrite)
    if recipe.data.source is None:
        return _of_cache(recipe, given_cache(recipe.data.cache), folder, overwrite)
    path = cache_path(recipe)
    dataset = listed_source(recipe)
    check_listed(recipe, dataset, path)
    decided = decide(dataset, path, generation_settings(recipe.generate), jobs=jobs)
    if decided.todo:
        sample = estimate(decided)
        if sample is not None and sample.error:  # so did all that were tried
            tried = min(len(decided.todo), ESTIMATE_ATTEMPTS)
            failures = {sample.id: sample.error, **dataset.problems}
            require_computable(recipe, dataset, failures, more=tried - 1)
        return DryRun(path, len(decided.todo), len(decided.steps), sample)
    return _of_cache(recipe, path, folder, overwrite)


def _of_cache(recipe: Recipe, path: Path, folder: Path, overwrite: bool) -> DryRun:
    data = open_data(recipe, path)
    if not overwrite:
        check_data(folder, data)
    validated_classes(recipe, data)
    return DryRun(path, 0, len(data.cache), split=data.split)
