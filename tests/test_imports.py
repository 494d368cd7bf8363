"""Who may import whom: imports go one way, and numerics know no files."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FOREIGN = ("h5py", "nibabel", "click", "rich", "pathlib", "softlabel.cache", "softlabel.readers",
           "softlabel.pipeline", "softlabel.generation")  # fmt: skip
"""What numerics must not know."""

NUMERICS = ("distance", "slic_kernel", "slic_kmeans", "slic_smoothing", "slic_connectivity",
            "superpixels", "softmaps", "softening", "distance_torch", "slic_torch")  # fmt: skip


def modules(folder, package):
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        yield ".".join((package, *parts)).removesuffix(".__init__"), path


MODULES = dict(modules(ROOT / "softlabel", "softlabel")) | dict(
    modules(ROOT / "train/softlabel_train", "softlabel_train")
)


def imported(path, everywhere):
    """Names of the modules that a file imports; without ``everywhere`` only when it is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    waiting, found = list(tree.body), set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
        elif everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += ast.iter_child_nodes(node)
    return found


def within(name, package):
    return name == package or name.startswith(f"{package}.")


def test_softlabel_knows_nothing_of_the_trainer_and_torch_only_where_it_is_asked_for():
    for name, path in MODULES.items():
        if not within(name, "softlabel"):
            continue
        assert not any(within(i, "softlabel_train") for i in imported(path, True)), name
        if not name.endswith(("_torch", "_triton")) and "band_" not in name:
            assert not any(within(i, "torch") for i in imported(path, False)), name


@pytest.mark.parametrize("package", ["softlabel", "softlabel_train"])
def test_nothing_but_the_commands_imports_the_commands_or_click(package):
    for name, path in MODULES.items():
        if within(name, f"{package}.cli") or name in ("softlabel.lazygroup", f"{package}.__main__"):
            continue
        if within(name, package):
            found = imported(path, True)
            assert not any(within(i, f"{package}.cli") or within(i, "click") for i in found), name


def test_numerics_know_no_files_and_no_hdf5():
    for name, path in MODULES.items():
        if not any(within(name, f"softlabel.{module}") for module in NUMERICS):
            continue
        for foreign in FOREIGN:
            assert not any(within(i, foreign) for i in imported(path, True)), (name, foreign)


def test_only_the_cache_its_checks_and_matlab_files_know_hdf5():
    knowing = {
        n for n, path in MODULES.items() if any(within(i, "h5py") for i in imported(path, True))
    }
    assert all(
        within(n, "softlabel.cache") or n in ("softlabel.checks", "softlabel.readers.matlab")
        for n in knowing
    ), knowing


def test_imports_make_no_circle():
    """Of what is imported when a module is loaded."""
    edges = {}
    for name, path in MODULES.items():
        found = imported(path, False)
        edges[name] = {m for m in MODULES if m in found and m != name}
    done, path = set(), []

    def visit(name):
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        if name in done:
            return
        path.append(name)
        for other in sorted(edges[name]):
            visit(other)
        path.pop()
        done.add(name)

    for name in edges:
        visit(name)
