#!/usr/bin/env bash
# griffe: of two parameters that share a description, the second gets the default of the first.
#
# The guess: numpydoc lets parameters of one type and description stand together, as
# `first, second : int`. griffe, which reads docstrings for mkdocstrings, takes the defaults from
# the signature, so each of both is shown with the default that it has.
#
# What happens: griffe looks into the signature for the first of the names that has a default, and
# gives it to all of them. For `def f(first: int = 1, second: int = 2)` a site lists `second` with
# the default 1, right below a signature that has 2. With one entry for each parameter both are
# right. (An annotation is passed on like this too, where the docstring states no type.)
#
# Versions: griffelib 2.4.1. Source: numpydoc's style guide, section "Parameters"; griffe's
# documentation of Numpydoc-style docstrings.
#
# Run: findings/griffe-numpydoc-parameters-together.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs griffelib into a temporary folder, prints what it does, and fails if that has changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip --disable-pip-version-check -q install --target "$folder/griffe" griffelib==2.4.1

cat >"$folder/example.py" <<'PYTHON'
def together(first: int = 1, second: int = 2):
    """Do nothing.

    Parameters
    ----------
    first, second : int
        Two numbers.
    """


def apart(first: int = 1, second: int = 2):
    """Do nothing.

    Parameters
    ----------
    first : int
        Two numbers.
    second : int
        Two numbers.
    """
PYTHON

cat >"$folder/show.py" <<'PYTHON'
import sys
from importlib.metadata import version

import griffe

print("griffelib", version("griffelib"))
example = griffe.load("example", search_paths=[sys.argv[1]])
changed = False
for name, expected in (
    ("together", {"first": "1", "second": "1"}),
    ("apart", {"first": "1", "second": "2"}),
):
    function = example[name]
    sections = function.docstring.parse("numpy")
    [listed] = [s.value for s in sections if s.kind is griffe.DocstringSectionKind.parameters]
    found = {parameter.name: str(parameter.default) for parameter in listed}
    true = {parameter.name: str(parameter.default) for parameter in function.parameters}
    print(f"{name}: defaults in the signature {true}, in the list of parameters {found}")
    if found != expected:
        print(f"  changed: expected {expected}")
        changed = True
sys.exit(changed)
PYTHON

PYTHONPATH="$folder/griffe" "$python" "$folder/show.py" "$folder"
