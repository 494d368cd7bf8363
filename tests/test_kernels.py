"""Kernels are compiled once and kept, wherever they may be kept."""

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from numba.core import types

from softlabel import kernels
from softlabel.generation.warm_up import warm_up

MODULE = """
from softlabel.kernels import kernel

@kernel
def twice(x):
    return 2 * x
"""


def run(folder, temporary, home):
    """Use a kernel of a module in ``folder``, in a process whose home is ``home``."""
    environment = os.environ | {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home),
        "TMPDIR": str(temporary),
        "PYTHONPATH": f"{folder}{os.pathsep}{Path(kernels.__file__).parents[1]}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    code = "import mine; print(mine.twice(21), sum(mine.twice.stats.cache_hits.values()))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def folder(tmp_path):
    """A module whose compiled code cannot be kept beside it, since a file is in the way."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "__pycache__").write_text("in the way")
    (tmp_path / "temporary").mkdir()
    return tmp_path


def test_kept_among_temporary_files_when_nothing_else_can_be_written(folder):
    nowhere = "/dev/null/nowhere"
    assert run(folder, folder / "temporary", nowhere) == ["42", "0"]
    assert run(folder, folder / "temporary", nowhere) == ["42", "1"]
    kept = list((folder / "temporary").glob("softlabel-kernels-*"))
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o077 == 0


def test_kept_in_the_home_folder_when_the_source_folder_cannot_be_written(folder):
    home = folder / "home"
    home.mkdir()
    assert run(folder, folder / "temporary", home) == ["42", "0"]
    assert run(folder, folder / "temporary", home) == ["42", "1"]
    assert list(home.rglob("*.nbi")) and not list((folder / "temporary").iterdir())


def test_a_folder_that_others_can_write_is_not_used(folder):
    planted = folder / "temporary" / f"softlabel-kernels-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    assert run(folder, folder / "temporary", "/dev/null/nowhere") == ["42", "0"]
    assert list(planted.iterdir()) == []


LAZY = """
import sys, threading
import numpy as np
from softlabel.cache import open_cache
from softlabel.superpixels import slic
assert "numba" not in sys.modules, "imported before anything is computed"
found, image = [], np.arange(99, dtype=np.float32).reshape(9, 11)
threads = [threading.Thread(target=lambda: found.append(slic(image, 4))) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(found) == 4 and all((ids == found[0]).all() for ids in found)
from softlabel.superpixels import slic_assign
assert isinstance(slic_assign.assign, sys.modules["numba"].core.dispatcher.Dispatcher)
"""


def test_numba_is_imported_when_the_first_kernel_is_called_by_any_thread():
    subprocess.run([sys.executable, "-c", LAZY], check=True)


def dispatchers():
    """Every kernel of the modules that are loaded, by module and name."""
    return {
        f"{name}.{attribute}": value
        for name, module in list(sys.modules.items())
        if name.startswith("softlabel.")
        for attribute, value in vars(module).items()
        if hasattr(value, "nopython_signatures") and value.__module__ == name
    }


def test_what_python_calls_returns_numbers_only():
    """For an array or a named tuple numba runs Python, and Ctrl-C there ends in a crash."""
    warm_up()
    found = dispatchers()
    called = {name: found[name] for name in names_called_from_python(found)}
    rooms = {name.split(".")[1] for name in called}
    assert rooms == {"distance", "softening", "softmaps", "superpixels"}
    for name, kernel in called.items():
        for overload in kernel.overloads.values():
            kind = overload.signature.return_type
            assert isinstance(kind, types.Number | types.Boolean | types.NoneType), name


def names_called_from_python(kernels_found):
    """Those of the kernels that some function which is no kernel names."""
    short = {name.rpartition(".")[2]: name for name in kernels_found}
    for module in {name.rpartition(".")[0] for name in kernels_found} | {
        "softlabel.superpixels.slic_cpu"
    }:
        tree = ast.parse(Path(sys.modules[module].__file__).read_text())
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef) or is_kernel(function):
                continue
            for node in ast.walk(function):
                if isinstance(node, ast.Name) and node.id in short:
                    yield short[node.id]


def is_kernel(function):
    return any(
        isinstance(mark, ast.Name) and mark.id.endswith("kernel")
        for mark in function.decorator_list
    )


WORK = """
import random, signal, time
import numpy as np
import softlabel

random.seed(0)
image = np.random.default_rng(0).random((170, 180), np.float32)
labels = (image > image.mean()).astype(int)

def work():
    return softlabel.soften(labels, softlabel.slic(image, 200)).dense()

expected = work()
started = time.perf_counter()
work()
seconds = time.perf_counter() - started

def press_soon():
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-4, seconds))
"""

RAISED = """
stopped = 0
signal.signal(signal.SIGALRM, signal.default_int_handler)
for _ in range(3000):
    if stopped == 100:
        break
    try:
        press_soon()
        work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        stopped += 1
print(stopped)
"""

ASKED = """
from softlabel.interrupt import stop_on_signals

asked = 0
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
for _ in range(3000):
    if asked == 100:
        break
    with stop_on_signals() as stop:
        press_soon()
        found = work()
        signal.setitimer(signal.ITIMER_REAL, 0)
    assert np.array_equal(found, expected)
    asked += stop.asked
print(asked)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no such timer")
@pytest.mark.parametrize("how", [RAISED, ASKED], ids=["raised", "asked"])
def test_ctrl_c_at_any_moment_is_no_crash(how):
    """A signal that comes while a kernel runs is handled by the first line of Python after it.

    Raised there, as by a second Ctrl-C, it ends the work; as a request it changes nothing.
    """
    done = subprocess.run(
        [sys.executable, "-c", WORK + how], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert int(done.stdout) == 100, done.stderr
    if how is ASKED:
        assert not done.stderr
