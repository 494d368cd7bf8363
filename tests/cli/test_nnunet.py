"""``softlabel nnunet``."""

from __future__ import annotations

from pathlib import Path

import factories
import numpy as np
import pytest
from click.testing import CliRunner
from readers.factories import write_nnunet_preprocessed

from softlabel.cli import main


def run(*arguments):
    return CliRunner().invoke(main, [*map(str, arguments)])


def test_path_is_that_of_the_trainer_which_is_not_imported():
    result = run("nnunet", "path")
    assert result.exit_code == 0 and Path(result.stdout.strip()).name == "nnunet_trainers"
    script = (
        "import sys; from softlabel.bridges import trainer_folder; trainer_folder(); "
        "print(*sys.modules)"
    )
    loaded = factories.run_python(script).split()
    assert not {"softlabel_train", "nnunetv2", "torch"} & set(loaded)


def test_prepare_says_what_it_made_and_what_failed(tmp_path):
    pytest.importorskip("blosc2", reason="needs blosc2: pip install '.[nnunet]'")
    images = write_nnunet_preprocessed(tmp_path) / "nnUNetPlans_2d"
    arguments = ("nnunet", "prepare", images, "--superpixel-size", "6", "-j", "1")
    folder = tmp_path / "softlabel/nnUNetPlans_2d"
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (0, f"{folder}: 2 cases made.\n")
    assert "superpixels: 2 of 2" in result.stderr
    np.savez_compressed(images / "case_2.npz", data=np.zeros(3), seg=np.zeros(3))
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stdout == f"{folder}: 0 cases made, 1 were there.\n"
    assert result.stderr.splitlines()[-1].startswith("failed: case_2: ")


def test_prepare_refuses_in_one_sentence(tmp_path):
    result = run("nnunet", "prepare", tmp_path / "nowhere")
    assert result.exit_code in (1, 2) and len(result.stderr.splitlines()) == 1
    if "blosc2" in result.stderr:
        assert "pip install '.[nnunet]'" in result.stderr
    else:
        assert "There is no folder" in result.stderr
