"""How much memory a worker takes, and how many of them fit into the machine.

The numbers are from processes that computed one case, with 3 to 60 classes, in 2D and 3D
(``tests/generation/test_memory.py`` measures again). They are meant as bounds for label maps of
anatomy, not of noise: a worker too few costs some time, one too many costs the run.
"""

from __future__ import annotations

import math

from softlabel.errors import plural
from softlabel.free_memory import shared_bytes
from softlabel.generation.plan import Plan

PROCESS_BYTES = 260_000_000
"""A worker with all libraries that it loads and one small case."""

IMAGE_BYTES = 12
"""Bytes a voxel and channel: as it was read, in float32, smoothed."""

LABEL_BYTES = 12
"""Bytes a voxel: label map, position of its class, superpixel, distances within a superpixel."""

MOST_CLASSES = 8
"""More classes than these do not meet in one neighbourhood."""

SOFT_BYTES = {"hard": 0, "superpixel": 4, "gaussian": 10, "svls": 10}
OTHER_SOFT_BYTES = 18
"""Bytes a voxel and class: methods that soften inside of superpixels keep most voxels hard."""

STEPS_BYTES = 24
"""Bytes a voxel and channel of what the steps before superpixels keep and work with."""

SHARE = 0.9
"""Of the memory that is there: the rest is for the run itself and for files that are read."""


def worker_bytes(decided: Plan) -> int | None:
    """Memory of a worker while it computes the largest case of a plan; None when that is unknown.

    Taken from the shapes that the check has seen, as if images were float32.
    """
    if decided.largest is None:
        return None
    settings = decided.settings
    channels = max(1, len(decided.header.channels))
    image = IMAGE_BYTES + (STEPS_BYTES if settings.preprocessing else 0)
    soft = SOFT_BYTES.get(settings.method, OTHER_SOFT_BYTES)
    classes = min(len(decided.header.classes), MOST_CLASSES)
    voxel = channels * image + LABEL_BYTES + classes * soft
    return PROCESS_BYTES + math.prod(decided.largest) * voxel


def workers_that_fit(decided: Plan, jobs: int) -> tuple[int, str]:
    """How many of so many workers fit into the memory, at least one, and why they are fewer.

    Returns
    -------
    int
    str
        Empty when all of them fit.
    """
    each = worker_bytes(decided)
    workers = min(jobs, max(1, len(decided.todo)))
    if each is None or workers <= 1:
        return jobs, ""
    there = shared_bytes()
    if there is None:
        return jobs, ""
    most = max(1, int(SHARE * there / each))
    if most >= workers:
        return jobs, ""
    size = "×".join(map(str, decided.largest or ()))
    return most, (
        f"{plural(most, 'worker')} instead of {workers}: one may take {gigabytes(each)} for a case "
        f"of {size}, and {gigabytes(there)} of memory are free."
    )


def gigabytes(count: float) -> str:
    """Bytes for people.

    Examples
    --------
    >>> gigabytes(2_340_000_000)
    '2.3 GB'
    """
    return f"{count / 1e9:.1f} GB"
