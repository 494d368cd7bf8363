#!/usr/bin/env bash
# napari: the only reader plugin for .h5 files is not used, because napari itself claims them.
#
# The guess: napari reads no HDF5 (its documentation sends one to plugins), so that an installed
# plugin with a reader for *.h5 is the only candidate, and viewer.open(path, plugin=None), which
# looks for the reader as File, Open does, takes it, as it does for an ending of the plugin's own.
#
# What happens: napari's own reader lists *.h5 among its patterns. It cannot open any: the file ends
# up at Pillow's stub for HDF5, and the error is "cannot find loader for this HDF5 file". With the
# plugin installed there are two candidates, and MultipleReaderError asks for plugin=NAME; the same
# file with the ending .h5x is taken at once.
#
# Versions: napari 0.9.2, npe2 0.10.0, h5py 3.16.0, Python 3.11. Source: the manifest of napari's
# built-in plugin (its reader's filename_patterns), which this script asks npe2 for.
#
# Run: findings/napari-claims-hdf5.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs napari without Qt into a temporary folder, prints what happens, and fails if that has
# changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check -q install \
  napari==0.9.2 npe2==0.10.0 h5py==3.16.0

cat >"$folder/show.py" <<'PYTHON'
import sys
import warnings
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np

warnings.simplefilter("ignore")
from napari.components import ViewerModel  # noqa: E402
from npe2 import DynamicPlugin, PluginManager  # noqa: E402

folder = Path(sys.argv[1])
for ending in ("h5", "h5x"):
    with h5py.File(folder / f"volume.{ending}", "w") as file:
        file["image"] = np.zeros((4, 5, 6), np.float32)
manager = PluginManager.instance()
manager.discover()


def told(ending, **options):
    try:
        layers = ViewerModel().open(str(folder / f"volume.{ending}"), **options)
        return f"{len(layers)} layer of shape {layers[0].data.shape}"
    except Exception as error:
        text = " ".join(str(error).replace(str(folder), "").split())
        return f"{type(error).__name__}: {text}"[:220]


def read(path):
    with h5py.File(path) as file:
        return [(file["image"][()],)]


def candidates():
    return sorted({r.plugin_name for r in manager.iter_compatible_readers(str(folder / "volume.h5"))})


print(*(f"{name} {version(name)}" for name in ("napari", "npe2", "h5py")))
found = {}
found["open without the plugin"] = told("h5", plugin=None)
with DynamicPlugin("my-hdf5", plugin_manager=manager) as plugin:
    @plugin.contribute.reader(filename_patterns=["*.h5", "*.h5x"])
    def get_reader(path):
        return read

    found["readers of volume.h5"] = ", ".join(candidates())
    found["open volume.h5 with the plugin there"] = told("h5", plugin=None)
    found["open volume.h5, plugin='my-hdf5'"] = told("h5", plugin="my-hdf5")
    found["open volume.h5x"] = told("h5x", plugin=None)
for what, result in found.items():
    print(f"  {what}: {result}")
is_as_told = (
    "cannot find loader for this HDF5 file" in found["open without the plugin"]
    and found["readers of volume.h5"] == "my-hdf5, napari"
    and found["open volume.h5 with the plugin there"].startswith("MultipleReaderError")
    and found["open volume.h5, plugin='my-hdf5'"] == found["open volume.h5x"]
    and found["open volume.h5x"] == "1 layer of shape (4, 5, 6)"
)
if not is_as_told:
    print("changed")
sys.exit(not is_as_told)
PYTHON

"$folder/venv/bin/python" "$folder/show.py" "$folder" 2> /dev/null
