"""The arms of a sweep: their names, and what they set in a recipe."""

from __future__ import annotations

from softlabel_train.arms import Arm
from softlabel_train.config import load_recipe


def test_arms_have_names_that_are_no_paths():
    arm = Arm({"loss.beta": 0.5, "data.source": "../x", "data.crop": [64, 64]})
    assert arm.name == "loss.beta=0.5 data.source=../x data.crop=[64, 64]"
    assert "/" not in arm.folder and arm.folder.startswith("loss_beta=0_5_data_source=")
    assert Arm({"loss.beta": 0.5}).folder == "loss.beta=0.5"
    assert Arm({"data.source": "a/b"}).folder != Arm({"data.source": "a_b"}).folder


def test_a_recipe_is_loaded_with_the_values_of_an_arm():
    """A value that looks like something else than it is stays what it is."""
    arm = Arm({"data.source": "1e3", "data.crop": [64, 48], "loss.beta": 0.25, "name": "null"})
    recipe = load_recipe("smoke", arm.words)
    assert (str(recipe.data.source), recipe.name) == ("1e3", "null")
    assert (tuple(recipe.data.crop), recipe.loss.beta) == ((64, 48), 0.25)
