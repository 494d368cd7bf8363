#!/usr/bin/env bash
# NumPy 2.3 and later: np.unique of integers that nearly all differ takes far longer than sorting.
#
# The guess: `np.unique` costs no more than sorting. It did up to NumPy 2.2, which sorts; later ones
# collect the values of integer arrays in a hash table, which is documented as an improvement.
#
# What happens: with few distinct values all is well. With millions of them, such as positions of
# voxels or ids of superpixels of a large volume, the hash table takes tens of times as long as
# `np.sort` with the repeats left out, which gives the same array. `sorted=False` does not help,
# since filling the table is what takes the time. With `return_index`, `return_inverse` or
# `return_counts` NumPy sorts as before, and is quicker than without them.
#
# Versions: NumPy 2.2.6 and 2.4.6, wheels of PyPI for Linux. Source: NumPy's release notes of 2.3.0,
# "Performance improvements to np.unique"; its reference of numpy.unique.
#
# Run: findings/numpy-unique-distinct-integers.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs both into a temporary folder, prints what they take, and fails if that has changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for version in 2.2.6 2.4.6; do
  "$python" -m pip --disable-pip-version-check -q install --target "$folder/$version" \
    "numpy==$version"
done

cat >"$folder/show.py" <<'PYTHON'
import sys
import time

import numpy as np

SLOW = 5  # times as long as sorting; what was seen is 30 and more


def by_sorting(values):
    ordered = np.sort(values)
    return ordered[np.r_[True, ordered[1:] != ordered[:-1]]]


def seconds(function):
    start = time.process_time()
    function()
    return time.process_time() - start


values = np.random.default_rng(0).permutation(2_000_000)
ways = {
    "np.unique(values)": lambda: np.unique(values),
    "np.unique(values, return_counts=True)": lambda: np.unique(values, return_counts=True)[0],
}
hashed = np.__version__ == "2.4.6"
if hashed:
    ways["np.unique(values, sorted=False)"] = lambda: np.sort(np.unique(values, sorted=False))
sorting = min(seconds(lambda: by_sorting(values)) for _ in range(3))
print(f"NumPy {np.__version__}, {values.size} distinct integers: sorting takes {sorting:.3f} s")
changed = False
for name, way in ways.items():
    assert np.array_equal(way(), by_sorting(values))
    ratio = min(seconds(way) for _ in range(2)) / sorting
    print(f"  {name}: {ratio:.1f} times as long")
    if (ratio > SLOW) != (hashed and "return_counts" not in name):
        print(f"    changed: expected {'more' if ratio <= SLOW else 'less'} than {SLOW}")
        changed = True
sys.exit(changed)
PYTHON

failed=0
for version in 2.2.6 2.4.6; do
  PYTHONPATH="$folder/$version" "$python" "$folder/show.py" || failed=1
done
exit $failed
