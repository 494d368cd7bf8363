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
        ``ignore``, ``classes`` (value, name, pixels, frequency), ``groups`` (name, cases),
        ``cases`` (id, group, shape, spacing_mm, superpixels, softened share, mean Σq, bytes),
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
            }
            for (v, n), p in zip(cache.classes, pixels, strict=True)
        ],
        "groups": [{"name": g, "cases": int(s["cases"])} for g, s in statistics.items()],
        "preprocessing": _preprocessing(cache, [case["id"] for case in cases]),
        "cases": cases,
        "problems": problems,
        "bytes": sum(p.stat().st_size for p in {cache.path, *(cache[c["id"]].path for c in cases)}),
        "softened_share": _share(cases, "softened_pixels"),
        "mean_soft_sum": _share(cases, "soft_sum"),
    }


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
