"""What a cache holds, as plain data for a table or JSON; prints nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from softlabel.cache.facts import CaseFacts
from softlabel.cache.read import Cache
from softlabel.errors import CacheError


def describe(cache: Cache) -> dict[str, Any]:
    """Facts of a cache, without reading an array.

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
    found: dict[str, CaseFacts] = {}
    problems = {}
    for case_id in cache:
        try:
            found[case_id] = cache.facts(case_id)
        except CacheError as error:
            problems[case_id] = str(error)
    cases = [_case(cache, case_id, facts) for case_id, facts in found.items()]
    statistics = cache.statistics
    pixels = np.sum(
        [s["class_pixels"] for s in statistics.values()]
        or [np.zeros(len(cache.classes), np.uint64)],
        axis=0,
    )
    total = int(pixels.sum())
    softness = _softness(found, len(cache.classes))
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
        "preprocessing": _preprocessing(list(found.values())),
        "cases": cases,
        "missing": None if cache.missing is None else [*cache.missing, *problems],
        "problems": problems,
        "bytes": cache.path.stat().st_size
        + (0 if cache.is_packed else sum(c["bytes"] for c in cases)),
        "softened_share": _share(cases, "softened_pixels"),
        "mean_soft_sum": _share(cases, "soft_sum"),
    }


def _softness(cases: Mapping[str, CaseFacts], n_classes: int) -> list[dict[str, Any]]:
    """How far each class was softened: the mean soft label in its own pixels, 1 for hard ones.

    Nothing for classes without pixels, and where a part of an earlier format does not know it.
    """
    ids, shape = list(cases), (len(cases), n_classes)
    counts = np.array([c.class_pixels for c in cases.values()], np.float64).reshape(shape)
    unknown = (np.nan,) * n_classes
    sums = np.array([c.own_class_sum or unknown for c in cases.values()]).reshape(shape)
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


def _preprocessing(cases: list[CaseFacts]) -> dict[str, Any] | None:
    """What the steps before superpixels saved, and what they noted; None without any."""
    taken = [(c.original_pixels, c) for c in cases if c.original_pixels is not None]
    if not taken:
        return None
    before, after = sum(pixels for pixels, _ in taken), sum(math.prod(c.shape) for _, c in taken)
    notes: dict[str, dict[str, Any]] = {}
    for _, case in taken:
        for code, text in case.notes:
            known = notes.setdefault(code, {"code": code, "cases": 0, "text": text})
            known["cases"] += 1
    return {
        "pixels_before": before,
        "pixels_after": after,
        "saved_share": 1 - after / before,
        "notes": list(notes.values()),
    }


def _case(cache: Cache, case_id: str, facts: CaseFacts) -> dict[str, Any]:
    return {
        "id": case_id,
        "group": facts.group,
        "shape": list(facts.shape),
        "channels": facts.channels,
        "spacing_mm": None if facts.spacing_mm is None else list(facts.spacing_mm),
        "superpixels": facts.superpixels,
        "superpixels_asked": facts.superpixels_asked,
        "superpixel_settings": dict(facts.superpixel_settings),
        "known_pixels": sum(facts.class_pixels),
        "softened_pixels": facts.softened_pixels,
        "soft_sum": facts.soft_sum,
        "bytes": cache.stored_bytes(case_id),
    }


def _share(cases: list[dict[str, Any]], name: str) -> float | None:
    known = sum(c["known_pixels"] for c in cases)
    return sum(c[name] for c in cases) / known if known else None
