#!/usr/bin/env bash
# python-blosc2: ndarray_from_cframe() of the file of a saved expression gives zeros, not its values.
#
# The guess: the bytes of a .b2nd file are an array's contiguous frame, so that
# blosc2.ndarray_from_cframe(bytes) gives what blosc2.open(path) gives, or raises as that does: both
# have the argument deserialize="safe".
#
# What happens: a LazyExpr that was saved is such a frame as well, of the shape and type of its result
# but without values: the expression stands in its metadata, and its operands are other files.
# blosc2.open() refuses it by default, and computes it with deserialize="full".
# ndarray_from_cframe() takes the frame for an array, and every value is 0. Nothing is said.
# The metadata tell: that of an array is ['b2nd'], that of the expression has 'b2o' too.
#
# Versions: blosc2 4.14.1, numpy 2.4.6, Python 3.11. Source: documentation of
# blosc2.ndarray_from_cframe and of LazyExpr.save.
#
# Run: findings/blosc2-cframe-of-expression.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs blosc2 and numpy into a temporary folder, prints what happens, and fails if that has
# changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip --disable-pip-version-check -q install --target "$folder/packages" \
  blosc2==4.14.1 numpy==2.4.6

cat >"$folder/show.py" <<'PYTHON'
import os
import sys
from importlib.metadata import version
from pathlib import Path

import blosc2
import numpy as np

os.chdir(sys.argv[1])
array = blosc2.asarray(np.arange(1.0, 5.0), urlpath="array.b2nd", mode="w")
blosc2.lazyexpr("a + 1", operands={"a": array}).save("expression.b2nd")

found = {}
print(*(f"{name} {version(name)}" for name in ("blosc2", "numpy")))
for name in ("array", "expression"):
    try:
        blosc2.open(f"{name}.b2nd", mode="r")
        refused = False
    except blosc2.exceptions.UnsafeDeserializationError:
        refused = True
    opened = blosc2.open(f"{name}.b2nd", mode="r", deserialize="full")[:].tolist()
    frame = blosc2.ndarray_from_cframe(Path(f"{name}.b2nd").read_bytes())
    found[name] = refused, opened, frame[:].tolist(), list(frame.schunk.meta)
    print(f"{name}: open {'refuses' if refused else 'reads'} it; its values are {opened}")
    print(f"  ndarray_from_cframe: {frame[:].tolist()}, metadata {list(frame.schunk.meta)}")
is_as_told = found == {
    "array": (False, [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], ["b2nd"]),
    "expression": (True, [2.0, 3.0, 4.0, 5.0], [0.0, 0.0, 0.0, 0.0], ["b2nd", "b2o"]),
}
if not is_as_told:
    print("changed")
sys.exit(not is_as_told)
PYTHON

PYTHONPATH="$folder/packages" "$python" "$folder/show.py" "$folder"
