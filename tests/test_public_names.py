"""The public names of the package, with torch and without it."""

from __future__ import annotations

import factories
import pytest

import softlabel

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
"""


def test_public_names_are_there():
    pytest.importorskip("torch")
    for name in softlabel.__all__:
        assert getattr(softlabel, name) is not None
    assert set(softlabel.__all__) <= set(dir(softlabel))
    assert callable(softlabel.soften_batch)
    with pytest.raises(AttributeError, match="'soffen'"):
        softlabel.soffen  # noqa: B018


def test_everything_can_be_imported_without_torch():
    code = "from softlabel import *; import pydoc, softlabel; pydoc.render_doc(softlabel)"
    output = factories.run_python(f"{WITHOUT_TORCH}{code}; print(soften, generate)")
    assert "function soften" in output


def test_what_needs_torch_says_how_to_get_it():
    code = """
import softlabel
try:
    softlabel.soften_batch
except softlabel.errors.MissingExtraError as error:
    print(error)
"""
    assert factories.run_python(WITHOUT_TORCH + code).strip() == (
        "softlabel.soften_batch needs torch, which is not installed; run pip install '.[gpu]' in "
        "the clone of softlabel, or pip install torch."
    )
