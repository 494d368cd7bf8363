"""Validation while a network is trained: which classes are scored, and how well they do."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn

from softlabel.errors import UsageError
from softlabel.softmaps import class_index_map, ignored_index
from softlabel_train.config import Recipe
from softlabel_train.metrics import CLASS_SETS, ClassSet, evaluate
from softlabel_train.predict import case_image, predict_classes
from softlabel_train.prepare import TrainingData
from softlabel_train.record import RunRecord, picture_of


def validated_classes(recipe: Recipe, data: TrainingData) -> dict[int, str]:
    """Label values and names of the classes that are scored."""
    return scored_classes(recipe.evaluate.classes, dict(data.classes))


def scored_classes(
    chosen: str | tuple[int, ...] | None, names: Mapping[int, str]
) -> dict[int, str]:
    """Label values and names of the classes of ``evaluate.classes``.

    Raises
    ------
    UsageError
        When the data do not have one of them.
    """
    if chosen is None:
        values = tuple(names)[1:]
    else:
        values = CLASS_SETS[chosen].values if isinstance(chosen, str) else tuple(chosen)
    if missing := [v for v in values if v not in names]:
        raise UsageError(
            f"evaluate.classes asks for the label values {missing}, which the data do not have; "
            f"they have {', '.join(f'{v} ({n})' for v, n in names.items())}."
        )
    return {v: names[v] for v in values}


def scored_set(chosen: str | tuple[int, ...] | None, values: Mapping[int, str]) -> ClassSet:
    """The same with what is excluded, as :func:`softlabel_train.metrics.evaluate` takes it."""
    excluded = CLASS_SETS[chosen].excluded if isinstance(chosen, str) else ()
    return ClassSet(tuple(values), excluded)


def validate(
    fabric: Fabric,
    recipe: Recipe,
    data: TrainingData,
    net: nn.Module,
    record: RunRecord | None,
    step: int,
) -> tuple[float, dict[str, float]]:
    """Mean Dice over the validation cases, and of each class; each process does its share.

    Parameters
    ----------
    fabric : Fabric
    recipe : Recipe
    data : TrainingData
    net : Module
        Without its wrapper, whose processes would wait for each other: they may have unequal
        numbers of cases.
    record : RunRecord or None
        Gets the pictures.
    step : int
        Of the training.
    """
    classes = validated_classes(recipe, data)
    chosen = scored_set(recipe.evaluate.classes, classes)
    # rows: sum and count of the cases' means, then of each class
    sums = torch.zeros(2, 1 + len(classes), dtype=torch.float64)
    drawn = 0
    net.eval()
    if fabric.world_size > 1:
        for buffer in net.buffers():  # the statistics that a checkpoint holds
            torch.distributed.broadcast(buffer, 0)
    for case_id in data.split.validation[fabric.global_rank :: fabric.world_size]:
        case = data.cache[case_id]
        image = case_image(case, data.intensity)
        with fabric.autocast():
            index = predict_classes(
                net, image.to(fabric.device), window=recipe.evaluate.window,
                overlap=recipe.evaluate.overlap,
            ).numpy()  # fmt: skip
        values = np.asarray(data.classes.values)[index]
        labels = case.labels[...]
        found = evaluate(values, labels, chosen, ignore=data.cache.ignore, distances=False)
        dice = torch.tensor([found[v]["dice"] for v in classes], dtype=torch.float64)
        row = torch.cat([torch.nanmean(dice).unsqueeze(0), dice])
        sums += torch.stack([row.nan_to_num(0), (~row.isnan()).double()])
        if record is not None and drawn < recipe.train.pictures:
            drawn += 1
            truth = class_index_map(labels, data.classes, data.cache.ignore)
            title = f"{case_id}, step {step}, Dice {row[0].item():.3f}"
            panels = picture_of(
                case.image[...], index, truth, ignored_index(truth.dtype), data.classes.names, title
            )
            record.picture(step, case_id, panels)
    if fabric.world_size > 1:
        sums = fabric.all_reduce(sums.to(fabric.device), reduce_op="sum").cpu()  # type: ignore[union-attr]
    score, *each = (sums[0] / sums[1]).tolist()
    return score, dict(zip(classes.values(), each, strict=True))
