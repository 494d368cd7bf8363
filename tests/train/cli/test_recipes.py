"""``softlabel-train recipes``."""

from __future__ import annotations

import json

from ..factories import call


def test_recipes_are_listed_and_shown():
    assert "oct_dme" in call("recipes").output
    assert json.loads(call("recipes", "--json").output)["oct_dme"]["arms"]
    assert "beta: 1.0" in call("recipes", "smoke").output
    keys = {row["key"]: row for row in json.loads(call("recipes", "--keys", "--json").output)}
    assert keys["loss.beta"]["about"] == "weight of KL" and keys["data.batch_size"]["default"] == 16
