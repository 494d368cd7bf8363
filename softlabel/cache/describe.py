"""What a cache holds, as plain data for a table or JSON; prints nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from softlabel.cache import schema
from softlabel.cache.read import Cache
from softlabel.errors import CacheError


def describe(cache: Cache) -> dict[str, Any]:
    """Facts of a cache, read from attributes only.

    Returns
    -------
    dict
        ``path``, ``generator``, ``algorithm``, ``settings``, ``software``, ``channels``,
        ``ignore``, ``classes`` (value, name, pixels, frequency, ``own_class_q``: mean soft label
        of the class in its own pixels, and ``softest``: the case where that is lowest), ``groups``
        (name, cases), ``cases`` (id, group, shape, spacing_mm, superpixels, softened share, mean
        Σq, bytes), ``missing`` (ids of the cases that the data set has and the cache has not, or
        not readable; None when it does not tell),
        ``preprocessing`` (None without steps before superpixels: pixels before and after them,
        ``saved_share``, and their notes by code: number of cases, text of the first),
        ``bytes``, ``softened_share``, ``problems`` (id to what is wrong with its file, which is
        not among the cases); frequencies and shares leave ignored pixels out.
    """
    cases, problems = [], {}
    for case_id in cache:
        try:
            cases.append(_case(cache, case_id))
        except CacheError as error:
            problems[case_id] = str(error)
    statistics = cache.statistics
    pixels = np.sum(
        [s["class_pixels"] for s in statistics.values()]
        or [np.zeros(len(cache.classes), np.uint64)],
        axis=0,
    )
    total = int(pixels.sum())
    softness = _softness({c["id"]: cache[c["id"]].statistics for c in cases}, len(cache.classes))
    return {
        "path": str(cache.path),
        "generator": cache.header.generator,
        "algorithm": cache.header.algorithm,
        "settings": json.loads(cache.header.settings),
        "software": json.loads(cache.header.software),
        "findings": [dict(finding) for finding in cache.findings],
        "channels": list(cache.channels),
        "ignore": cache.ignore,
        "classes": [
            {
                "value": v,
                "name": n,
                "pixels": int(p),
                "frequency": int(p) / total if total else None,
                **soft,
            }
            for (v, n), p, soft in zip(cache.classes, pixels, softness, strict=True)
        ],
        "groups": [{"name": g, "cases": int(s["cases"])} for g, s in statistics.items()],
        "preprocessing": _preprocessing(cache, [case["id"] for case in cases]),
        "cases": cases,
        "missing": None if cache.missing is None else [*cache.missing, *problems],
        "problems": problems,
        "bytes": sum(p.stat().st_size for p in {cache.path, *(cache[c["id"]].path for c in cases)}),
        "softened_share": _share(cases, "softened_pixels"),
        "mean_soft_sum": _share(cases, "soft_sum"),
    }


def _softness(cases: Mapping[str, Mapping[str, Any]], n_classes: int) -> list[dict[str, Any]]:
    """How far each class was softened: the mean soft label in its own pixels, 1 for hard ones.

    Nothing for classes without pixels, and where a part of an earlier format does not know it.
    """
    ids, shape = list(cases), (len(cases), n_classes)
    counts = np.array([c["class_pixels"] for c in cases.values()], np.float64).reshape(shape)
    unknown = np.full(n_classes, np.nan)
    sums = np.array([c.get("own_class_sum", unknown) for c in cases.values()]).reshape(shape)
    softness: list[dict[str, Any]] = []
    for pixels, own in zip(counts.T, sums.T, strict=True):
        (holding,) = np.nonzero(pixels)
        if not len(holding) or np.isnan(own[holding]).any():
            softness.append({"own_class_q": None, "softest": None})
            continue
        means = own[holding] / pixels[holding]
        lowest = {"case": ids[holding[means.argmin()]], "own_class_q": float(means.min())}
        mean = float(own[holding].sum() / pixels[holding].sum())
        softness.append({"own_class_q": mean, "softest": lowest})
    return softness


def _preprocessing(cache: Cache, ids: list[str]) -> dict[str, Any] | None:
    """What the steps before superpixels saved, and what they noted; None without any."""
    cases = [cache[i] for i in ids if schema.RECORDS in cache[i].datasets]
    if not cases:
        return None
    before, after = (
        sum(math.prod(shape) for shape in shapes)
        for shapes in ((c.original_shape for c in cases), (c.shape for c in cases))
    )
    notes: dict[str, dict[str, Any]] = {}
    for case in cases:
        for note in case.notes:
            known = notes.setdefault(note.code, {"code": note.code, "cases": 0, "text": note.text})
            known["cases"] += 1
    return {
        "pixels_before": before,
        "pixels_after": after,
        "saved_share": 1 - after / before,
        "notes": list(notes.values()),
    }


def _case(cache: Cache, case_id: str) -> dict[str, Any]:
    case = cache[case_id]
    numbers = case.statistics
    known = int(numbers["class_pixels"].sum())
    return {
        "id": case_id,
        "group": case.group,
        "shape": list(case.shape),
        "channels": case.image.shape[0],
        "spacing_mm": None if case.spacing_mm is None else list(case.spacing_mm),
        "superpixels": int(numbers["n_superpixels"]),
        "superpixels_asked": int(numbers["n_superpixels_asked"]),
        "known_pixels": known,
        "softened_pixels": int(numbers["softened_pixels"]),
        "soft_sum": float(numbers["soft_sum"]),
        "bytes": case.path.stat().st_size,
    }


def _share(cases: list[Mapping[str, Any]] | list[dict[str, Any]], name: str) -> float | None:
    known = sum(c["known_pixels"] for c in cases)
    return sum(c[name] for c in cases) / known if known else None
