#!/usr/bin/env bash
# TorchIO: an Image of type INTENSITY is interpolated linearly by one transform and not by the next.
#
# The guess: Image(type=INTENSITY), the default type of Image, is treated as a ScalarImage. The
# documentation names the type as what transforms decide by, and RandomAffine agrees.
#
# What happens: RandomAffine asks for the type, and interpolates it linearly; Resample and
# RandomElasticDeformation ask for the class, and take the nearest pixel; transforms of intensities
# ask for the class too, and leave it alone. Nothing is said. Only ScalarImage is linear
# everywhere, so that probability maps have to be one, and every transform of intensities then
# changes them unless it is given exclude=[...].
#
# Versions: torchio 1.2.1, torch 2.14.0, SimpleITK 2.5.7, Python 3.11. Source: TorchIO's
# documentation of Image.
#
# Run: findings/torchio-image-is-no-scalarimage.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs TorchIO and torch into a temporary folder, prints what happens, and fails if that has
# changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip --disable-pip-version-check -q install --target "$folder/packages" \
  torchio==1.2.1 torch==2.14.0 SimpleITK==2.5.7

cat >"$folder/show.py" <<'PYTHON'
import sys
import warnings
from importlib.metadata import version

import torch
import torchio as tio

warnings.simplefilter("ignore")
torch.manual_seed(0)
values = torch.zeros(1, 40, 40, 1)
values[:, 20:] = 1
subject = tio.Subject(
    scalar=tio.ScalarImage(tensor=values.clone()),
    image=tio.Image(tensor=values.clone(), type=tio.INTENSITY),
)
transforms = {
    "Affine": tio.Affine(scales=1.3, degrees=(0, 0, 20), translation=0),
    "Resample": tio.Resample((0.7, 0.7, 1)),
    "RandomElasticDeformation": tio.RandomElasticDeformation(max_displacement=(3, 3, 0)),
    "RandomNoise": tio.RandomNoise(std=(1, 1)),
}
found = {}
for name, transform in transforms.items():
    done = transform(subject)
    found[name] = {key: len(done[key].data.unique()) > 2 for key in ("scalar", "image")}
print(*(f"{name} {version(name)}" for name in ("torchio", "torch", "SimpleITK")))
print("whether an image of zeros and ones has other values afterwards:")
for name, changed in found.items():
    print(f"  {name}: ScalarImage {changed['scalar']}, Image(type=INTENSITY) {changed['image']}")
is_as_told = all(changed["scalar"] for changed in found.values()) and [
    changed["image"] for changed in found.values()
] == [True, False, False, False]
if not is_as_told:
    print("changed")
sys.exit(not is_as_told)
PYTHON

PYTHONPATH="$folder/packages" "$python" "$folder/show.py"
