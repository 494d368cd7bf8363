"""What the record of settings says, and where two differ."""

from __future__ import annotations

from softlabel.generation.records import settings_differences
from softlabel.generation.settings import Settings


def test_differences_are_named_both_ways():
    old = Settings(boundary="edge", superpixel_size=50).as_json({"format": "pairs"})
    new = Settings(n_segments=9).as_json({"format": "pairs", "format_options": {"ignore": 9}})
    assert settings_differences(old, new) == [
        "boundary: edge → inner", "ignore: unset → 9", "n_segments: unset → 9",
        "superpixel_size: 50.0 → unset",
    ]  # fmt: skip
    assert settings_differences(old, old) == []


def test_defaults_and_groups_of_readers_make_no_difference():
    recorded = {"group": "(p.)", "grids": "refuse", "ignore": None, "images": "images"}
    old = Settings().as_json({"format": "pairs", "format_options": recorded})
    new = Settings().as_json({"format": "pairs", "format_options": {"images": "images"}})
    assert settings_differences(old, new) == []
