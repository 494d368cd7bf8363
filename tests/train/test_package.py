"""The public names."""

from __future__ import annotations

import subprocess
import sys

import pytest
import softlabel_train


def test_public_names_are_there_and_torch_waits_for_them():
    for name in softlabel_train.__all__:
        assert getattr(softlabel_train, name) is not None
    assert set(softlabel_train.__all__) <= set(dir(softlabel_train))
    assert callable(softlabel_train.metrics.evaluate)
    with pytest.raises(AttributeError, match="'fitt'"):
        softlabel_train.fitt  # noqa: B018
    code = "import sys, softlabel_train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_generator_knows_nothing_of_the_trainer():
    code = "import sys, softlabel.generation.run, softlabel.cli; print([m for m in sys.modules if m.startswith(('torch', 'softlabel_train'))])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
