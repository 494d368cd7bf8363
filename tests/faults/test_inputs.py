"""Damaged and hostile inputs of every kind: read, or refused in a sentence, within bounds.

More of them: ``python -m tests.faults.inputs --count 1000``.
"""

from __future__ import annotations

import random

import pytest

from . import inputs, mutations
from .inputs import Outcome, outcomes, table
from .subjects import subjects

pytest.importorskip("resource")

COUNT = 5
"""Inputs of each kind; there are some thirty kinds."""

KINDS = [name for name, subject in subjects().items() if subject.is_possible]
COSTLY = ("cache", "check", "recipe", "checkpoint", "weights")
"""They load torch, or compile kernels."""


def require_no_faults(found):
    faults = [f"{o.kind} {o.number}: {o.text}" for o in found if o.result == "fault"]
    assert not faults, "\n".join([table(found), *faults])


def test_files_and_data_sets():
    kinds = [kind for kind in KINDS if kind not in COSTLY]
    found = outcomes(kinds, 0, COUNT)
    require_no_faults(found)
    assert {o.kind for o in found} == set(kinds) and len(found) == COUNT * len(kinds)
    assert {o.result for o in found} == {"read", "refused"}


@pytest.mark.slow
def test_caches_checkpoints_and_recipes():
    kinds = [kind for kind in KINDS if kind in COSTLY]
    found = outcomes(kinds, 0, 4 * COUNT)
    require_no_faults(found)
    assert len(found) == 4 * COUNT * len(kinds)


def test_changes_depend_on_the_dice_alone_and_change_something():
    content = bytes(range(256)) * 20
    for change in mutations.CHANGES:
        first, again = (
            [change(content, random.Random(n)) for n in range(20)] for _ in range(2)
        )  # fmt: skip
        assert first == again
        assert len(set(first)) > 5 or change.__name__ == "_erase"


def test_a_crash_is_the_fault_of_its_input_and_the_others_are_read(monkeypatch):
    """Of three kinds of three inputs each the second input of the second kind ends the process."""
    calls = []

    def run(kinds, first, count):
        calls.append((kinds, first, count))
        lines = []
        for kind in kinds:
            for number in range(first, first + count):
                lines.append(f"# {kind} {number}")
                if (kind, number) == ("b c", 1):
                    return lines, "ended with -11: "
                outcome = inputs.asdict(Outcome(kind, number, "read", 0.1, 9.0))
                lines.append(inputs.json.dumps(outcome))
        return lines, ""

    monkeypatch.setattr(inputs, "_run", run)
    found = outcomes(["a", "b c", "d"], 0, 3)
    assert len(found) == 9 and len(calls) == 3
    assert [(o.kind, o.number) for o in found if o.result == "fault"] == [("b c", 1)]
    assert table(found).splitlines()[2].split()[:6] == ["b", "c", "3", "0", "2", "1"]
