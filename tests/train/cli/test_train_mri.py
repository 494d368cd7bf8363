"""``softlabel-train train-mri``."""

from __future__ import annotations

from dataclasses import replace

import pytest
from click.testing import CliRunner
from softlabel_train.cli.demonstration import make_command
from softlabel_train.demo import MRI, Size

from ..factories import call


def test_data_that_are_not_there_are_named_before_anything_is_made(tmp_path):
    result = call("train-mri", "--data", tmp_path / "none", "-o", tmp_path / "x")
    assert result.exit_code == 2 and "no folder; give the folder of MRBrainS18" in result.output
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_the_table_is_followed_by_what_it_is(tmp_path):
    small = Size("smoke", 80, {"n_subjects": 4, "shape": (64, 64, 16)})
    demo = replace(MRI, arms=("hard", "superpixel"), small=small)
    result = CliRunner().invoke(
        make_command(demo),
        ["-o", str(tmp_path / "x"), "--size", "small", "-q", "--jobs", "1", "train.steps=2",
         "evaluate.bootstrap=0", "train.pictures=0", "data.crop=[32, 32, 16]",
         "evaluate.window=[32, 32, 16]", "data.batch_size=2"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    for against in ("labels", "truth"):
        assert f"against {against}" in text
    assert text.count("4 synthetic MRI patients, smoke, 2 steps, 1 seed: a demonstration") == 2
