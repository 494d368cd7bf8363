"""The widget of napari's plugin: the cases of a cache in a list, to show one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from softlabel.cache import Cache, open_cache
from softlabel.errors import SoftlabelError, plural
from softlabel.viewers.layers import soft_role
from softlabel.viewers.order import ListedCase, in_order
from softlabel.viewers.viewer import layers_of, show_case, shown_case

if TYPE_CHECKING:
    from napari.viewer import Viewer

ORDERS = ("As in the cache", "Worst first")
NO_CLASS = "Soft label of …"
NO_CACHE = "No cache is open."


class CaseList(QWidget):  # type: ignore[misc]
    """Cases of a cache; the one that is chosen is shown in the layers of the one before.

    It takes the cache whose case the viewer shows when the widget opens, or that is opened later.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    worst_first : bool
        Begin with the case whose softest class was softened most.
    """

    def __init__(self, napari_viewer: Viewer, worst_first: bool = False) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._cache: Cache | None = None
        self._cases: list[ListedCase] = []
        self._title = QLabel(NO_CACHE)
        self._title.setWordWrap(True)
        self._order = QComboBox()
        self._order.addItems(ORDERS)
        self._order.setCurrentIndex(int(worst_first))
        self._list = QListWidget()
        self._classes = QComboBox()
        self._lay_out()
        self._connect()
        self._adopt()

    # --- what it shows ---

    @property
    def case_id(self) -> str | None:
        """The case that is chosen in the list."""
        row = self._list.currentRow()
        return self._cases[row].id if 0 <= row < len(self._cases) else None

    def open(self, path: Path) -> None:
        """List the cases of a cache, and show the first in the order of the list.

        Where the viewer shows a case of this cache already, that one stays.
        """
        with _errors_shown():
            cache = open_cache(path)
            cache.chosen()  # refuses an empty one
            self._take(cache)
            if self.case_id is None:
                self._list.setCurrentRow(0)

    def step(self, by: int) -> None:
        """Show a case before or after the one that is shown; nothing beyond the ends."""
        row = self._list.currentRow() + by
        if 0 <= row < self._list.count():
            self._list.setCurrentRow(row)

    # --- how it is built ---

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.addWidget(self._title)
        layout.addWidget(_button("Open a cache …", self._ask_for_a_cache))
        layout.addWidget(self._order)
        layout.addWidget(self._list)
        steps = QHBoxLayout()
        steps.addWidget(_button("Previous", lambda: self.step(-1)))
        steps.addWidget(_button("Next", lambda: self.step(1)))
        layout.addLayout(steps)
        layout.addWidget(self._classes)

    def _connect(self) -> None:
        self._order.currentIndexChanged.connect(self._sort)
        self._list.currentRowChanged.connect(self._show)
        self._classes.activated.connect(self._show_class)
        # napari forgets callbacks of widgets that were deleted
        self._viewer.layers.events.inserted.connect(self._adopt)

    def _ask_for_a_cache(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Open a cache", "", "Caches (*.h5)")
        if name:
            self.open(Path(name))

    # --- what it does ---

    def _adopt(self, event: object = None) -> None:
        """Take the cache whose case was opened by the reader."""
        shown = shown_case(self._viewer)
        if shown is not None and (self._cache is None or self._cache.path.absolute() != shown[0]):
            with _errors_shown():
                self._take(open_cache(shown[0]))

    def _take(self, cache: Cache) -> None:
        # the cache before stays open: its layers may still be looked at
        self._cache = cache
        self._title.setText(f"{cache.path.name}: {plural(len(cache), 'case')}")
        self._title.setToolTip(str(cache.path))
        self._classes.clear()
        self._classes.addItems([NO_CLASS, *cache.classes.names])
        self._sort()

    def _sort(self) -> None:
        """List the cases in the order that is chosen; the one that is shown stays so."""
        if self._cache is None:
            return
        worst_first = self._order.currentIndex() == 1
        self._cases = in_order(self._cache, worst_first)
        with QSignalBlocker(self._list):
            self._list.clear()
            self._list.addItems([case.text for case in self._cases])
            self._choose_what_is_shown()

    def _choose_what_is_shown(self) -> None:
        assert self._cache is not None
        layers = layers_of(self._viewer, self._cache.path)
        shown = next((layer.metadata["softlabel"]["case"] for layer in layers.values()), None)
        ids = [case.id for case in self._cases]
        self._list.setCurrentRow(ids.index(shown) if shown in ids else -1)

    def _show(self, row: int) -> None:
        if self._cache is None or not 0 <= row < len(self._cases):
            return
        with _errors_shown():
            show_case(self._viewer, self._cache, self._cases[row].id)
            return
        with QSignalBlocker(self._list):  # it could not be shown
            self._choose_what_is_shown()

    def _show_class(self, place: int) -> None:
        """Show the soft label of a class."""
        if self._cache is None or self.case_id is None or place == 0:
            return
        with _errors_shown():
            show_case(self._viewer, self._cache, self.case_id, class_index=place - 1)
            role = soft_role(self._cache, place - 1)
            layer = layers_of(self._viewer, self._cache.path)[role]
            self._viewer.layers.selection.active = layer


def _button(text: str, pressed: Callable[[], None]) -> QPushButton:
    button = QPushButton(text)
    button.clicked.connect(lambda _: pressed())
    return button


@contextmanager
def _errors_shown() -> Iterator[None]:
    """Show an error of softlabel as napari shows errors."""
    try:
        yield
    except SoftlabelError as error:
        show_error(str(error))
