#!/usr/bin/env bash
# Fabric: launch() takes a frozen dataclass as an argument with one process, and raises with two.
#
# The guess: what Fabric.launch(function, *args) is given must be picklable, since processes are
# started with it; a frozen dataclass is, and with devices=1 it arrives as it is.
#
# What happens: with devices=2 every process that is started looks through the arguments for modules
# whose memory it unshares, and the search assigns to the fields of dataclasses: a frozen one raises
# "A frozen dataclass was passed to `apply_to_collection`", though it holds no module. An ordinary
# dataclass arrives. Bound to the function by functools.partial, the frozen one arrives.
# A script that was tried with one device so fails with its second.
#
# Versions: lightning-fabric 2.6.6, torch 2.13.0 (CPU), Python 3.11. Source: documentation of
# lightning.fabric.Fabric.launch.
#
# Run: findings/fabric-launch-frozen-dataclass.sh   (Python 3.11 or newer; PYTHON=... picks one)
# It installs lightning-fabric and torch into a temporary folder, prints what happens, and fails if
# that has changed.
set -euo pipefail

python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip --disable-pip-version-check -q install --target "$folder/packages" \
  lightning-fabric==2.6.6 torch==2.13.0

cat >"$folder/show.py" <<'PYTHON'
import sys
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version

from lightning_fabric import Fabric


@dataclass(frozen=True)
class Frozen:
    name: str


@dataclass
class Ordinary:
    name: str


def work(fabric, found):
    return found.name


def outcome(devices, function, *arguments):
    fabric = Fabric(accelerator="cpu", devices=devices, strategy="ddp_spawn")
    try:
        return fabric.launch(function, *arguments)
    except Exception as error:
        return str(error).strip().splitlines()[-1]


if __name__ == "__main__":
    print(*(f"{name} {version(name)}" for name in ("lightning-fabric", "torch")))
    refused = "ValueError: A frozen dataclass was passed to `apply_to_collection`"
    changed = False
    for what, expected, *call in (
        ("one process, frozen", "cache.h5", 1, work, Frozen("cache.h5")),
        ("two processes, ordinary", "cache.h5", 2, work, Ordinary("cache.h5")),
        ("two processes, frozen", refused, 2, work, Frozen("cache.h5")),
        ("two processes, frozen, bound", "cache.h5", 2, partial(work, found=Frozen("cache.h5"))),
    ):
        found = outcome(*call)
        print(f"{what}: {found}", flush=True)
        if not found.startswith(expected):
            print(f"  changed: expected {expected}")
            changed = True
    sys.exit(changed)
PYTHON

PYTHONPATH="$folder/packages" "$python" "$folder/show.py"
