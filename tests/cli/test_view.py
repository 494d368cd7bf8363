"""``softlabel view``: what it hands on, and what it refuses; the window is in tests/viewers."""

from __future__ import annotations

import os

import factories
import pytest
from click.testing import CliRunner

from softlabel.cli import main
from softlabel.viewers import window


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return factories.make_cache(tmp_path_factory.mktemp("view"))


@pytest.fixture
def opened(monkeypatch):
    """Calls of what opens the window."""
    calls = []
    monkeypatch.setattr(
        window, "open_window",
        lambda cache, case_id, **options: calls.append((cache.path, case_id, options)),
    )  # fmt: skip
    return calls


def view(*arguments):
    return CliRunner().invoke(main, ["view", *map(str, arguments)])


DEFAULTS = {"class_index": None, "window": None, "worst_first": False}


@pytest.mark.parametrize(
    ("arguments", "case_id", "options"),
    [
        ((), "a", {}),
        (("b",), "b", {}),
        (("[bc]",), "b", {}),
        (("--class", "label 255"), "a", {"class_index": 2}),
        (("--class", "128", "c"), "c", {"class_index": 1}),
        (("--window", "3", "90"), "a", {"window": (3.0, 90.0)}),
        (("b", "--worst-first"), "b", {"worst_first": True}),
    ],
)
def test_it_opens_what_it_was_told(cache, opened, arguments, case_id, options):
    result = view(cache, *arguments)
    assert result.exit_code == 0, result.output
    assert opened == [(cache, case_id, DEFAULTS | options)]


def test_the_worst_is_the_first_where_that_is_asked_for(cache, opened):
    from softlabel.cache import open_cache
    from softlabel.reports.contents import contents_of

    assert view(cache, "--worst-first").exit_code == 0
    with open_cache(cache) as read:
        assert opened[0][1] == contents_of(read).rows[0].id


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("z",), "has no case 'z'"),
        (("--class", "lens"), "There is no class 'lens'"),
        (("--window", "9", "1"), "The window 9 1 is empty"),
    ],
)
def test_what_the_cache_does_not_have_is_refused(cache, opened, arguments, words):
    result = view(cache, *arguments)
    assert result.exit_code == 2 and words in result.stderr and not opened


def test_what_is_no_cache_is_refused(tmp_path, opened):
    (tmp_path / "c.h5").write_bytes(b"no cache")
    result = view(tmp_path / "c.h5")
    assert result.exit_code == 2 and "cannot be opened as HDF5" in result.stderr and not opened


def test_in_a_process_without_a_display_it_ends_with_a_sentence(cache):
    """Without napari the sentence is another one."""
    hidden = {k: v for k, v in os.environ.items() if "DISPLAY" not in k and k != "QT_QPA_PLATFORM"}
    done = factories.run_cli("view", cache, env=hidden)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: softlabel view needs") or "there is no display" in line
