"""Who may import whom: the layers of docs/architecture.md, and what numerics must not know.

Every import counts, lazy ones inside of functions included; those for type checkers only do not.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import factories
import pytest

ROOT = Path(__file__).parents[1]

LAYERS = (
    ("errors", "coerce", "colours", "kernels", "parallel", "interrupt", "free_memory", "_version"),
    ("ids", "device", "cluster", "files", "mapping", "raters", "wedges"),
    ("types",),
    ("distance", "superpixels", "softmaps", "readers", "phantom", "surfaces", "preprocess"),
    ("softening", "cache"),
    ("generation", "measurements", "exports"),
    ("comparison",),
    ("render",),
    ("studies", "bridges", "console", "reports", "tuning", "viewers"),
    ("softlabel", "monai", "torchio"),
    ("cli",),
    ("__main__",),
)
"""Rooms of softlabel, lowest layer first. A module imports from lower layers and its own room."""

NUMERICS = ("distance", "superpixels", "softmaps", "softening", "preprocess", "surfaces")
"""Rooms that know arrays and types only."""

NOT_FOR_NUMERICS = ("h5py", "nibabel", "click", "rich", "pathlib", "softlabel.files")

OPEN_TO_THE_TRAINER = ("files", "console", "readers", "errors", "types", "ids")
"""What the trainer may import beside softlabel's public names."""


def modules(folder, package):
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join((package, *parts)).removesuffix(".__init__"), path


SOFTLABEL = dict(modules(ROOT / "softlabel", "softlabel"))
TRAINER = dict(modules(ROOT / "train/softlabel_train", "softlabel_train"))
MODULES = SOFTLABEL | TRAINER


@cache
def import_statements(path, everywhere=True):
    """(module, name in it or None) of every import; without ``everywhere`` when it is loaded."""
    found = []
    waiting = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"{path}: write imports in full"
            found += [(node.module, alias.name) for alias in node.names]
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


def imported(path, everywhere=True):
    """Full names of what a file imports."""
    return {f"{m}.{n}" if n else m for m, n in import_statements(path, everywhere)}


def imported_modules(path):
    """Modules of this project that a file imports: of ``from a import b`` a.b where that is one."""
    return {
        name
        for module, member in import_statements(path)
        if (name := f"{module}.{member}" if f"{module}.{member}" in MODULES else module) in MODULES
    }


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def room_of(module):
    """The room that a module of softlabel lies in; the package itself is a room of its own."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


LAYER_OF = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}


def test_every_module_lies_in_a_layer():
    assert {room_of(name) for name in SOFTLABEL} <= set(LAYER_OF)


@pytest.mark.parametrize("name", SOFTLABEL)
def test_imports_go_to_lower_layers_or_stay_in_the_room(name):
    room = room_of(name)
    for other in imported_modules(SOFTLABEL[name]):
        if within(other, "softlabel_train"):
            pytest.fail(f"{name} imports the trainer")
        theirs = room_of(other)
        assert theirs == room or LAYER_OF[theirs] < LAYER_OF[room], f"{name} imports {other}"


def test_there_is_no_circle():
    """Of all imports, lazy ones included; a room's ``__init__`` only gathers, and is left out."""
    edges = {
        name: {m for m in imported_modules(path) if m != name and path.name != "__init__.py"}
        for name, path in MODULES.items()
        if name != "softlabel"
    }
    done, path = set(), []

    def visit(name):
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done or name not in edges:
            return
        path.append(name)
        for other in sorted(edges[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in edges:
        visit(name)


@pytest.mark.parametrize("name", SOFTLABEL)
def test_modules_import_from_their_own_room_by_module(name):
    """Through its ``__init__`` a room would be loaded in a circle."""
    path = SOFTLABEL[name]
    room = f"softlabel.{room_of(name)}"
    if path.name != "__init__.py" and room in SOFTLABEL and room != name:
        assert room not in imported_modules(path)


def test_numerics_know_no_files():
    for name, path in SOFTLABEL.items():
        if room_of(name) in NUMERICS:
            for foreign in NOT_FOR_NUMERICS:
                assert not any(within(i, foreign) for i in imported(path)), (name, foreign)


def test_torch_is_imported_only_where_it_was_asked_for():
    for name, path in SOFTLABEL.items():
        if not within(name, "softlabel.softening.tensor") and not name.endswith("_tensor"):
            assert not any(within(i, "torch") for i in imported(path, everywhere=False)), name


def test_libraries_of_pipelines_belong_to_their_bridge():
    for name, path in SOFTLABEL.items():
        for library in ("monai", "torchio"):
            if name != f"softlabel.{library}":
                found = imported(path)
                assert not any(within(i, library) for i in found), name
                assert not any(within(i, f"softlabel.{library}") for i in found), name


@pytest.mark.parametrize("command", ["info", "generate"])
def test_commands_start_without_what_only_some_files_or_steps_need(command):
    """These take most of a second of the processor together: see ``benchmarks/commands.py``."""
    heavy = {
        "distributed",
        "numba",
        "nibabel",
        "pydicom",
        "scipy.ndimage",
        "scipy.sparse",
        "tifffile",
        "yaml",
    }
    script = f"import softlabel.cli.{command}, sys; print(*sorted(sys.modules))"
    assert not heavy & set(factories.run_python(script).split())


def test_describing_a_cache_loads_no_reader():
    script = "import softlabel.cli.info, sys; print(*sorted(sys.modules))"
    loaded = factories.run_python(script).split()
    assert "softlabel.generation.settings" in loaded
    assert not [name for name in loaded if within(name, "softlabel.readers")]


def test_only_console_and_the_commands_know_click():
    for name, path in MODULES.items():
        package = name.split(".")[0]
        if not any(within(name, f"{package}.{room}") for room in ("cli", "console")):
            assert not any(within(i, "click") for i in imported(path)), name


def test_nothing_imports_the_commands():
    for name, path in MODULES.items():
        package = name.split(".")[0]
        if not within(name, f"{package}.cli") and not name.endswith(".__main__"):
            found = imported(path)
            assert not any(within(i, f"{p}.cli") for i in found for p in ("softlabel", package))


def test_only_the_cache_and_the_reader_of_matlab_files_know_hdf5():
    knowing = {n for n, path in MODULES.items() if any(within(i, "h5py") for i in imported(path))}
    assert all(within(n, "softlabel.cache") or n == "softlabel.readers.matlab" for n in knowing), (
        knowing
    )


def test_only_parallel_knows_joblib():
    knowing = {n for n, path in MODULES.items() if any(within(i, "joblib") for i in imported(path))}
    assert knowing == {"softlabel.parallel"}


def test_only_cluster_and_the_blocks_of_viewers_know_dask():
    knowing = {
        n for n, path in MODULES.items()
        if any(within(i, name) for i in imported(path) for name in ("dask", "distributed"))
    }  # fmt: skip
    assert knowing == {"softlabel.cluster", "softlabel.viewers.blocks"}


def test_only_viewers_know_napari_and_import_it_when_they_are_called():
    """But for the widget, which is imported when it is opened."""
    foreign = ("napari", "qtpy", "npe2")
    for name, path in MODULES.items():
        everywhere, when_loaded = imported(path), imported(path, everywhere=False)
        if room_of(name) != "viewers":
            assert not any(within(i, f) for i in everywhere for f in foreign), name
        elif name != "softlabel.viewers.case_list":
            assert not any(within(i, f) for i in when_loaded for f in foreign), name


def test_the_trainer_goes_through_the_front_doors():
    for name, path in TRAINER.items():
        for other in imported_modules(path):
            if within(other, "softlabel"):
                inside = other.count(".") > 1 and room_of(other) not in OPEN_TO_THE_TRAINER
                assert not inside, (
                    f"{name} imports {other}; take it from softlabel.{room_of(other)}"
                )
