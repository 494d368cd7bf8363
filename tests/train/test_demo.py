"""Train and evaluate on OCT, from nothing to the table."""

from __future__ import annotations

import pytest
from softlabel_train.demo import Size, train_oct


@pytest.mark.slow
def test_train_oct_goes_from_nothing_to_the_table(tmp_path):
    size = Size("smoke", 4, 2, (224, 144, 2), 80)
    overrides = ["train.steps=2", "evaluate.bootstrap=0", "train.pictures=0"]
    # smoke has arms of the same meaning under shorter names
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("softlabel_train.demo.ARMS", ("hard", "superpixel"))
        for _ in range(2):
            result = train_oct(tmp_path, size=size, overrides=overrides, show=False,
                               say=lambda text: None)  # fmt: skip
    assert [a.arm.name for a in result.arms] == ["hard", "superpixel"]
    assert {against for against, _ in result.arms[0].values} == {"labels", "truth"}
    assert not result.failures


@pytest.mark.slow
def test_train_oct_on_files_is_scored_against_the_other_grader(oct_data, tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("softlabel_train.demo.ARMS", ("hard", "superpixel"))
        result = train_oct(
            tmp_path, data=oct_data, size=Size("smoke", 0, 0, (0, 0, 0), 0), show=False,
            overrides=["train.steps=1", "evaluate.bootstrap=0", "generate.n_segments=80"],
            say=lambda text: None,
        )  # fmt: skip
    assert not result.failures
    assert {against for against, _ in result.arms[0].values} == {"labels", "grader2"}
    assert not (tmp_path / "phantoms").exists()
