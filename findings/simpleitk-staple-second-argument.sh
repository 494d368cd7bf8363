#!/usr/bin/env bash
# SimpleITK: the second argument of STAPLE() is no label value, so that label 2 is fused as label 1.
#
# The guess: sitk.STAPLE(segmentations, 2) fuses the raters' label 2, as the foreground value is what
# one has to name. With label 1 the guess gives the right map, so that the call looks proven.
#
# What happens: the second argument is the confidence weight (a factor of the prior), the foreground
# value is the third and stays 1. The map that comes back is that of label 1, with another prior,
# and nothing is said. Where no rater drew label 1 all of it is NaN: the prior is 0, and 0 / 0 has
# no error. The filter object, with SetForegroundValue(2), gives the map of label 2.
#
# Versions: SimpleITK 2.5.7, numpy 2.4.6, Python 3.11. Source: signature of
# SimpleITK.STAPLE; documentation of itk::STAPLEImageFilter (ConfidenceWeight).
#
# Run: findings/simpleitk-staple-second-argument.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs SimpleITK and numpy into a temporary folder, prints what happens, and fails if that
# has changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip --disable-pip-version-check -q install --target "$folder/packages" \
  SimpleITK==2.5.7 numpy==2.4.6

cat >"$folder/show.py" <<'PYTHON'
import sys
from importlib.metadata import version

import numpy as np
import SimpleITK as sitk

rng = np.random.default_rng(0)
truth = np.zeros((20, 20), np.uint8)
truth[5:15, 5:15], truth[:3] = 1, 2
raters = [np.where(rng.random(truth.shape) < 0.1, 0, truth).astype(np.uint8) for _ in range(3)]


def of_labels(fused):
    """Mean of a map in the pixels of label 1 and of label 2."""
    values = sitk.GetArrayFromImage(fused)
    return round(float(values[truth == 1].mean()), 2), round(float(values[truth == 2].mean()), 2)


images = [sitk.GetImageFromArray(rater) for rater in raters]
fuse = sitk.STAPLEImageFilter()
fuse.SetForegroundValue(2)
without_1 = [sitk.GetImageFromArray(np.where(rater == 1, 0, rater)) for rater in raters]
found = {
    "STAPLE(raters, 1)": of_labels(sitk.STAPLE(images, 1)),
    "STAPLE(raters, 2)": of_labels(sitk.STAPLE(images, 2)),
    "SetForegroundValue(2)": of_labels(fuse.Execute(images)),
    "STAPLE(raters, 2), no label 1": of_labels(sitk.STAPLE(without_1, 2)),
}
print(*(f"{name} {version(name)}" for name in ("SimpleITK", "numpy")))
print("mean of the map in the pixels of label 1 and of label 2:")
for call, means in found.items():
    print(f"  {call}: {means[0]} {means[1]}")
is_as_told = (
    found["STAPLE(raters, 1)"][0] > 0.9
    and found["STAPLE(raters, 2)"][0] > 0.9
    and found["STAPLE(raters, 2)"][1] < 0.1
    and found["SetForegroundValue(2)"][1] > 0.9
    and np.isnan(found["STAPLE(raters, 2), no label 1"]).all()
)
if not is_as_told:
    print("changed")
sys.exit(not is_as_told)
PYTHON

PYTHONPATH="$folder/packages" "$python" "$folder/show.py"
