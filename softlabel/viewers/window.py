"""A window of napari with a cache, opened from the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from softlabel.cache import Cache
from softlabel.errors import SoftlabelError, missing_extra

WHAT = "softlabel view"

WITHOUT_WINDOWS = ("minimal", "offscreen", "vnc")
"""Platforms of Qt that open no window on this machine."""

PROBE = "from qtpy.QtWidgets import QApplication; QApplication([])"
"""Qt ends the process where it finds no display, and says why on stderr."""

PATIENCE = 60
"""Seconds after which a display that does not answer is taken for none."""


def open_window(
    cache: Cache,
    case_id: str,
    *,
    class_index: int | None = None,
    window: tuple[float, float] | None = None,
    worst_first: bool = False,
) -> None:
    """Show a case in napari, with the list of all cases, until the window is closed.

    Raises
    ------
    MissingExtraError
        Without napari or Qt.
    SoftlabelError
        Without a display.
    CacheError
        When the case is damaged.
    """
    require_napari()
    require_display(os.environ, cache)
    import napari

    from softlabel.viewers.case_list import CaseList
    from softlabel.viewers.viewer import show_case

    viewer = napari.Viewer(title=cache.path.name)
    try:
        show_case(viewer, cache, case_id, class_index=class_index, window=window)
        cases = CaseList(viewer, worst_first)
        viewer.window.add_dock_widget(cases, name="Cases of a cache", area="right")
    except BaseException:
        viewer.close()
        raise
    napari.run()


def require_napari() -> None:
    """Refuse to go on without napari, or without a Qt that opens its windows.

    Raises
    ------
    MissingExtraError
    """
    try:
        import napari  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing_extra(WHAT, "napari", "napari") from error
    try:
        import qtpy  # noqa: F401
    except ImportError as error:  # napari brings qtpy, and whoever installs it chooses a Qt
        raise missing_extra(WHAT, "PyQt6", "napari") from error


def require_display(environment: Mapping[str, str], cache: Cache) -> None:
    """Refuse to go on where no window can open: Qt would end the process.

    Raises
    ------
    SoftlabelError
        With what was found, and what to do instead.
    """
    problem = _without_display(environment) or _without_qt(environment)
    if problem:
        raise SoftlabelError(
            f"{WHAT} opens a window, and {problem}; run it on a desktop or through `ssh -X`, or "
            f"look at the file that `softlabel report {cache.path}` writes, or the pictures of "
            "`softlabel inspect`."
        )


def _without_display(environment: Mapping[str, str]) -> str:
    """What tells that there is no display; empty where there may be one."""
    platform = environment.get("QT_QPA_PLATFORM", "").partition(":")[0]
    if platform in WITHOUT_WINDOWS:
        return f"QT_QPA_PLATFORM={platform} shows none"
    if sys.platform == "linux" and not platform:
        displays = ("DISPLAY", "WAYLAND_DISPLAY")
        if not any(environment.get(name) for name in displays):
            return f"there is no display ({' and '.join(displays)} are not set)"
    return ""


def _without_qt(environment: Mapping[str, str]) -> str:
    """Why Qt cannot open windows, tried in a process of its own; empty where it can."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=dict(environment),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"the display did not answer within {PATIENCE} s"
    if done.returncode == 0:
        return ""
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return f"Qt cannot open one here ({said[0].rstrip('.') if said else done.returncode})"
