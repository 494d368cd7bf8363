"""Shards: a run on several machines is cut into as many, each for a run of its own.

Which cases a shard has depends on the listing alone, so that runs agree on it without a word.
"""

from __future__ import annotations

import heapq
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from softlabel.errors import UsageError
from softlabel.types import CaseRef

SLURM = "slurm"

SLURM_VARIABLES = tuple(
    f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "MIN", "MAX", "STEP", "COUNT")
)


@dataclass(frozen=True)
class Shard:
    """One of the runs that compute a data set together.

    Attributes
    ----------
    number : int
        From 1 to ``count``.
    count : int

    Examples
    --------
    >>> print(Shard(2, 8))
    2/8
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not (isinstance(self.number, int) and isinstance(self.count, int)):
            raise UsageError(f"A shard is two whole numbers; got {self.number!r}, {self.count!r}.")
        if not 1 <= self.number <= self.count:
            raise UsageError(
                f"There is no shard {self.number} of {self.count}; shards are counted from 1 to "
                "their number."
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, refs: Sequence[CaseRef]) -> list[CaseRef]:
        """The cases of this shard, in their order.

        Cases that share a source file stay together. Each source, in the order of the first cases,
        goes to the shard with the fewest cases so far.

        Examples
        --------
        >>> refs = [CaseRef(f"{s}{i}", s, s, ()) for s, n in (("a", 3), ("b", 1), ("c", 2))
        ...         for i in range(n)]
        >>> [[ref.id for ref in Shard(number, 2).of(refs)] for number in (1, 2)]
        [['a0', 'a1', 'a2'], ['b0', 'c0', 'c1']]
        """
        sizes: dict[str, int] = {}
        for ref in refs:
            sizes[_source(ref)] = sizes.get(_source(ref), 0) + 1
        loads = [(0, number) for number in range(1, self.count + 1)]  # a heap
        ours = set()
        for source, size in sizes.items():
            load, number = loads[0]
            heapq.heapreplace(loads, (load + size, number))
            if number == self.number:
                ours.add(source)
        return [ref for ref in refs if _source(ref) in ours]


def _source(ref: CaseRef) -> str:
    return ref.source or f"\0{ref.id}"  # what could not be listed has no source, and is alone


def shard_of(text: str, environment: Mapping[str, str] = os.environ) -> Shard:
    """The shard that an option names: ``i/n``, or ``slurm`` for what SLURM tells a job.

    Raises
    ------
    UsageError
        When it is neither, or SLURM's array does not tell it.

    Examples
    --------
    >>> print(shard_of("2/8"))
    2/8
    """
    if text == SLURM:
        return _slurm_shard(environment)
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None:
        raise UsageError(
            f"--shard {text} is no shard; give its number and how many there are, such as 1/8, or "
            f"{SLURM} within a job array."
        )
    return Shard(int(found[1]), int(found[2]))


def _slurm_shard(environment: Mapping[str, str]) -> Shard:
    """The place of a job in its array.

    SLURM tells a job of an array its own index, the first and the last one, the step between two
    and how many there are, not the others. Where an array has gaps, as 1,3,7 does, a job cannot
    know how many are before it.
    """
    missing = [name for name in SLURM_VARIABLES if not environment.get(name, "").isdecimal()]
    if missing:
        raise UsageError(
            f"--shard {SLURM} needs the variables of a SLURM job array, of which {missing[0]} is "
            "no number here; submit the job with sbatch --array=1-8, or give the shard as "
            "--shard 1/8."
        )
    index, first, last, step, count = (int(environment[name]) for name in SLURM_VARIABLES)
    if first > 1 or step < 1 or last - first != (count - 1) * step or (index - first) % step:
        raise UsageError(
            f"{count} jobs with indices from {first} to {last} are no array that begins at 0 or 1 "
            f"and has no gaps, so that a job cannot tell which of how many shards is its own; use "
            f"--array=1-{count}, or, to compute some shards again, the number of all shards: "
            f"--shard $SLURM_ARRAY_TASK_ID/{max(last, count)}."
        )
    return Shard((index - first) // step + 1, count)
