"""The widget of the plugin, offscreen: with the model of a viewer, and in a window where it can."""

from __future__ import annotations

import os

import factories
import pytest

pytest.importorskip("napari", reason="needs napari: pip install '.[napari]'")
pytest.importorskip("qtpy.QtWidgets", reason="needs Qt: pip install '.[napari]'",
                    exc_type=ImportError)  # fmt: skip
if not os.environ.get("DISPLAY"):
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # else Qt ends the process

from napari.components import ViewerModel
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QPushButton

from softlabel.cache import open_cache
from softlabel.viewers.case_list import NO_CACHE, CaseList
from softlabel.viewers.reader import read_cache
from softlabel.viewers.viewer import layers_of, show_case, shown_case


@pytest.fixture(scope="module", autouse=True)
def application():
    return QApplication.instance() or QApplication([])


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def errors():
    """Errors that napari shows."""
    shown = []
    notification_manager.notification_ready.connect(shown.append)
    yield shown
    notification_manager.notification_ready.disconnect(shown.append)


def texts(widget):
    return [widget._list.item(row).text() for row in range(widget._list.count())]


def press(widget, text):
    (button,) = (b for b in widget.findChildren(QPushButton) if b.text() == text)
    button.click()


def test_without_a_cache_it_is_empty(viewer):
    widget = CaseList(viewer)
    assert widget._title.text() == NO_CACHE and texts(widget) == [] and widget.case_id is None
    press(widget, "Next")
    assert not viewer.layers


def test_it_takes_the_cache_that_is_shown(viewer, images):
    show_case(viewer, images, "b")
    widget = CaseList(viewer)
    assert texts(widget) == ["a", "b", "c"] and widget.case_id == "b"
    assert shown_case(viewer) == (images.path, "b")
    assert widget._title.text() == "c.h5: 3 cases"


def test_it_takes_a_cache_that_is_opened_later(viewer, images):
    widget = CaseList(viewer)
    for layer in read_cache(images.path):
        viewer.add_layer(layer) if hasattr(layer, "contour") else viewer._add_layer_from_data(
            *layer
        )
    assert texts(widget) == ["a", "b", "c"] and widget.case_id == "a"


def test_next_and_previous_show_the_cases_in_their_order(viewer, images):
    show_case(viewer, images, "a")
    widget = CaseList(viewer)
    found = []
    for button in ("Next", "Next", "Next", "Previous", "Previous", "Previous"):
        press(widget, button)
        found.append(shown_case(viewer)[1])
    assert found == ["b", "c", "c", "b", "a", "a"]


def test_a_choice_in_the_list_keeps_what_the_user_set(viewer, images):
    show_case(viewer, images, "a")
    widget = CaseList(viewer)
    viewer.layers["entropy"].visible = True
    widget._list.setCurrentRow(2)
    assert shown_case(viewer)[1] == widget.case_id == "c" and viewer.layers["entropy"].visible


def test_the_softest_come_first_where_that_is_chosen(viewer, images):
    show_case(viewer, images, "a")
    widget = CaseList(viewer)
    widget._order.setCurrentIndex(1)
    lowest = [float(text.rstrip(")").split()[-1]) for text in texts(widget)]
    assert lowest == sorted(lowest) and widget.case_id == "a"  # the case that is shown stays
    assert shown_case(viewer)[1] == "a"
    begun = CaseList(viewer, worst_first=True)
    assert texts(begun) == texts(widget)


def test_a_cache_may_be_opened_from_it(viewer, images, volume, monkeypatch):
    widget = CaseList(viewer)
    for cache in (volume, images):
        monkeypatch.setattr(
            "softlabel.viewers.case_list.QFileDialog.getOpenFileName",
            lambda *_, path=cache.path: (str(path), ""),
        )
        press(widget, "Open a cache …")
        assert shown_case(viewer) == (cache.path, next(iter(cache)))
        assert widget.case_id == next(iter(cache))


def test_a_class_may_be_chosen(viewer, many):
    show_case(viewer, many, "stripes")
    widget = CaseList(viewer)
    assert widget._classes.count() == 1 + len(many.classes)
    widget._classes.setCurrentIndex(20)
    widget._classes.activated.emit(20)
    layer = layers_of(viewer, many.path)["soft label of label 19"]
    assert layer.visible and viewer.layers.selection.active is layer


def test_a_damaged_case_is_reported_and_the_one_before_stays(viewer, images, tmp_path, errors):
    path = factories.copy_cache(images.path, tmp_path)
    factories.part(path, "b").write_bytes(b"nothing")
    with open_cache(path) as cache:
        show_case(viewer, cache, "a")
        widget = CaseList(viewer)
        widget._list.setCurrentRow(1)
    assert [e for e in errors if "cannot be opened as HDF5" in e.message]
    assert widget.case_id == "a" and shown_case(viewer)[1] == "a"


def test_what_is_no_cache_is_reported(viewer, tmp_path, errors):
    (tmp_path / "x.h5").write_text("no cache")
    CaseList(viewer).open(tmp_path / "x.h5")
    assert [e for e in errors if "cannot be opened as HDF5" in e.message]


def test_a_closed_list_is_forgotten(viewer, images):
    def listening():
        return [name for _, name in viewer.layers.events.inserted.callbacks if name == "_adopt"]

    widget = CaseList(viewer)
    assert listening()
    widget.deleteLater()
    QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    with pytest.raises(RuntimeError, match="deleted"):
        widget._title.text()
    show_case(viewer, images, "a")  # napari calls the list, and forgets it
    assert viewer.layers and not listening()


@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display: make test-napari")
def test_in_a_window_it_is_found_in_the_menu_of_the_plugin(images):
    """Through napari's proxy of the viewer, which keeps plugins from what is private."""
    import napari

    viewer = napari.Viewer(show=False)
    try:
        viewer.open(str(images.path), plugin="softlabel")
        _, widget = viewer.window.add_plugin_dock_widget("softlabel", "Cases of a cache")
        press(widget, "Next")
        assert shown_case(viewer) == (images.path, "b") and widget.case_id == "b"
        viewer.layers["entropy"].visible = True
        press(widget, "Next")
        assert shown_case(viewer)[1] == "c" and viewer.layers["entropy"].visible
        assert viewer.screenshot(canvas_only=False, flash=False).std() > 10
    finally:
        viewer.close()
