"""``make bench`` can call every benchmark that it lists."""

import ast
from pathlib import Path

import pytest

from benchmarks.run import BENCHMARKS

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_takes_repeats(name):
    """Read, not imported: they limit the threads of their process."""
    tree = ast.parse((FOLDER / f"{name}.py").read_text())
    [main] = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "main"]
    assert main.args.args[0].arg == "repeats"
    assert len(main.args.defaults) == len(main.args.args)
