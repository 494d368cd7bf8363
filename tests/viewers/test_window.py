"""What ``softlabel view`` needs, and what it opens where there is a display."""

from __future__ import annotations

import os
import sys

import pytest

from softlabel.errors import MissingExtraError, SoftlabelError
from softlabel.viewers import window
from softlabel.viewers.window import open_window, require_display, require_napari

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a display")


def test_without_napari_it_says_how_to_get_it(monkeypatch, images):
    monkeypatch.setitem(sys.modules, "napari", None)
    with pytest.raises(MissingExtraError, match=r"needs napari, .* pip install '\.\[napari\]'"):
        open_window(images, "a")


def test_without_qt_it_says_how_to_get_it(monkeypatch):
    pytest.importorskip("napari", reason="needs napari: pip install '.[napari]'")
    monkeypatch.setitem(sys.modules, "qtpy", None)
    with pytest.raises(MissingExtraError, match=r"needs PyQt6, .* pip install '\.\[napari\]'"):
        require_napari()


@linux
@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, r"there is no display \(DISPLAY and WAYLAND_DISPLAY are not set\)"),
        ({"DISPLAY": ""}, "there is no display"),
        ({"QT_QPA_PLATFORM": "offscreen", "DISPLAY": ":0"}, "QT_QPA_PLATFORM=offscreen shows none"),
        ({"QT_QPA_PLATFORM": "minimal:fontconfig"}, "QT_QPA_PLATFORM=minimal shows none"),
    ],
)
def test_without_a_display_it_says_what_to_do_instead(images, monkeypatch, environment, found):
    monkeypatch.setattr(window, "PROBE", "")  # a Qt that would open one
    with pytest.raises(SoftlabelError, match=f"{found}.*; run it on a desktop") as refused:
        require_display(environment, images)
    assert f"`softlabel report {images.path}`" in str(refused.value)


@pytest.mark.parametrize("platform", ["xcb", "wayland", ""])
def test_with_a_display_qt_has_the_word(images, monkeypatch, platform):
    environment = dict(os.environ, DISPLAY=":1", QT_QPA_PLATFORM=platform)
    monkeypatch.setattr(window, "PROBE", "")
    require_display(environment, images)
    dying = (
        "import os, sys; print('no plugin xcb.\\nmore', file=sys.stderr, flush=True); os.abort()"
    )
    monkeypatch.setattr(window, "PROBE", dying)
    with pytest.raises(SoftlabelError, match=r"Qt cannot open one here \(no plugin xcb\); run it"):
        require_display(environment, images)
    monkeypatch.setattr(window, "PROBE", "import time; time.sleep(60)")
    monkeypatch.setattr(window, "PATIENCE", 0.2)
    with pytest.raises(SoftlabelError, match=r"did not answer within 0\.2 s"):
        require_display(environment, images)


@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display: make test-napari")
def test_the_window_shows_the_case_and_the_list_of_all(images, monkeypatch):
    napari = pytest.importorskip("napari", reason="needs napari: pip install '.[napari]'")
    from softlabel.viewers.viewer import shown_case

    seen = []

    def run():
        viewer = napari.current_viewer()
        widgets = viewer.window.dock_widgets
        seen.append((viewer.title, shown_case(viewer), list(widgets)))
        seen.append(viewer.layers["soft label of label 128"].visible)
        viewer.close()

    monkeypatch.setattr(napari, "run", run)
    open_window(images, "b", class_index=1)
    assert seen == [("c.h5", (images.path, "b"), ["Cases of a cache"]), True]
