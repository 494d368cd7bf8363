#!/usr/bin/env bash
# MONAI: lazy resampling drops mode and padding_mode, so that label maps come out interpolated.
#
# The guess: Compose(..., lazy=True) gives what lazy=False gives, up to one interpolation instead of
# several, since every transform is told its mode and its padding.
#
# What happens: transforms record both where the resampling does not look for them, so that all that
# is combined is interpolated linearly and padded with the border, without a word: a label map of
# two values comes out with dozens, and padding_mode="zeros" pads with no zero. With
# Compose(..., overrides={"label": {"mode": "nearest", "padding_mode": "zeros"}}) they come back;
# a Compose inside of another does not get the overrides of the outer one.
#
# Versions: monai 1.6.1, torch 2.14.0, numpy 2.4.6, Python 3.11. Source: MONAI's documentation of
# lazy resampling; its issue 6850, open.
#
# Run: findings/monai-lazy-drops-modes.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs MONAI, torch and NumPy into a temporary folder, prints what happens, and fails if that
# has changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip --disable-pip-version-check -q install --target "$folder/packages" \
  monai==1.6.1 torch==2.14.0 numpy==2.4.6

cat >"$folder/show.py" <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import torch
from monai.data import MetaTensor
from monai.transforms import Affined, Compose

warnings.simplefilter("ignore")
labels = torch.ones(1, 40, 44, dtype=torch.uint8)
labels[:, :, 20:] = 2
modes = {"mode": "nearest", "padding_mode": "zeros"}


def turned(**options):
    """Values of the label map after a rotation, and the share of zeros, which it had none of."""
    turn = Affined("label", rotate_params=(0.5,), **modes)
    found = Compose([turn], **options)({"label": MetaTensor(labels, torch.eye(4))})["label"]
    return len(found.unique()), round(float((found == 0).float().mean()), 2)


overrides = {"label": modes}
found = {
    "lazy=False": turned(lazy=False),
    "lazy=True": turned(lazy=True),
    "lazy=True, overrides": turned(lazy=True, overrides=overrides),
}
print(*(f"{name} {version(name)}" for name in ("monai", "torch", "numpy")))
print("a label map of the values 1 and 2, turned and padded with zeros:")
for options, (values, zeros) in found.items():
    print(f"  {options}: {values} values, share of zeros {zeros}")
is_as_told = (
    found["lazy=False"] == found["lazy=True, overrides"]
    and found["lazy=False"][0] == 3
    and found["lazy=False"][1] > 0.1
    and found["lazy=True"][0] > 10
    and found["lazy=True"][1] == 0
)
if not is_as_told:
    print("changed")
sys.exit(not is_as_told)
PYTHON

PYTHONPATH="$folder/packages" "$python" "$folder/show.py"
