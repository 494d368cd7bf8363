"""The index while a run goes on: brought up to date for whoever reads the cache meanwhile.

A run of days that is killed leaves a cache that reads up to its last refresh, and a training that
waits for data sees them grow. What that costs grows with the number of cases, so it is counted.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import replace

from softlabel.cache import SeenFile, read_index, rebuild_index
from softlabel.errors import CacheError
from softlabel.files.owner import Claim
from softlabel.generation.plan import Plan

SHARE = 0.02
"""Largest part of a run's time that refreshes take."""

PAUSE_SECONDS = 30.0
"""Shortest time between two of them."""


class IndexRefresh:
    """When to write the index of a run, and with what.

    Parameters
    ----------
    decided : Plan
    claim : Claim
    """

    def __init__(self, decided: Plan, claim: Claim) -> None:
        self._decided, self._claim = decided, claim
        self._started = self._ended = time.monotonic()
        self._spent = self._last = 0.0

    def is_due(self) -> bool:
        """Whether one may be made now.

        Never where a cache is made anew: the index is that of the old one until all cases are
        there. Never by a shard: each would read the parts of all of them.
        """
        now = time.monotonic()
        if self._decided.replaces is not None or self._decided.shard is not None:
            return False
        if now - self._ended < PAUSE_SECONDS:
            return False
        # the next one may take longer than the last
        return self._spent + 2 * self._last <= SHARE * (now - self._started)

    def write(self, seen: Mapping[str, SeenFile], reported: Collection[str]) -> None:
        """Write an index of the parts that are there.

        Where that cannot be written, as on a full disk, the old one stays as it is and the run
        goes on: its next part tells what is wrong.

        Parameters
        ----------
        seen : mapping of str to SeenFile
            Input files as seen by now.
        reported : collection of str
            Ids of the cases that the run is done with.

        Raises
        ------
        LostClaimError
            When another run has taken the output over.
        """
        started = time.monotonic()
        self._claim.require()
        content = self._decided.index_content(seen)
        unsettled = (self._decided.unsettled | self._unsettled_by_others()) - set(reported)
        try:
            # one look is enough: what comes while this is written, the next one takes in
            rebuild_index(
                self._decided.out, replace(content, unsettled=unsettled), self._decided.parts,
                attempts=1,
            )  # fmt: skip
        except OSError:
            pass
        finally:
            self._ended = time.monotonic()
            self._last = self._ended - started
            self._spent += self._last

    def _unsettled_by_others(self) -> frozenset[str]:
        """Cases whose parts a run that shares the output may be replacing, as the index says."""
        try:
            manifest = read_index(self._decided.out).manifest
        except CacheError:  # then it is written anew
            return frozenset()
        return frozenset(case_id for case_id, entry in manifest.items() if not entry.digest)
