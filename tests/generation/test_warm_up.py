"""Every kernel is compiled, or loaded, before workers start."""

import json
import threading
import time

import factories
import pytest

from softlabel.generation import warm_up as module
from softlabel.softening import METHODS

# In a process of its own: in this one, other tests may have compiled what warm_up() forgot.
SCRIPT = """
import json, sys
import numpy as np
import softlabel
from softlabel.generation.warm_up import warm_up

def signatures():
    return {
        f"{name}.{attribute}": len(value.nopython_signatures)
        for name, module in list(sys.modules.items()) if name.startswith("softlabel.")
        for attribute, value in vars(module).items()
        if hasattr(value, "nopython_signatures") and value.__module__ == name
    }

method, source, out = sys.argv[1:]
warm_up(method)
before = signatures()
report = softlabel.generate(source, out, softlabel.Settings(method=method, n_segments=60))
assert report.complete, report
labels = np.random.default_rng(0).integers(0, 3, (6, 20, 70))
for part in (np.s_[0], np.s_[:]):
    ids = softlabel.slic(labels[part].astype(np.float32), 20)
    softlabel.soften(labels[part], ids, ignore=2, normalize="sum").dense()
    softlabel.soften(labels[part], ids, spacing=(0.9,) * ids.ndim)
softlabel.soften(np.arange(2000) % 2, np.zeros(2000, int))  # far: another type of numbers
print(json.dumps([before, signatures()]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    # surface-cdf takes layers only, and has no kernel of its own
    [m for m in METHODS if not METHODS[m].takes_soft_labels and m != "surface-cdf"],
)
def test_warm_up_leaves_nothing_to_compile(method, tmp_path):
    """A kernel that generation runs must have its signature before workers start."""
    source = factories.write_scenes(tmp_path / "data")
    said = factories.run_python(SCRIPT, method, source, tmp_path / "c.h5")
    before, after = json.loads(said.splitlines()[-1])
    rooms = {name.split(".")[1] for name, count in before.items() if count}
    assert rooms == {"distance", "softening", "softmaps", "superpixels"}
    assert after == before


def test_it_says_so_when_there_is_much_to_compile(monkeypatch):
    said = []
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(module, "_run_every_kernel", lambda method: time.sleep(0.2))
    seconds = module.warm_up("superpixel", said.append)
    assert said == [module.COMPILING] and seconds >= 0.2


def test_it_says_nothing_when_the_kernels_are_only_loaded(monkeypatch):
    said = []
    monkeypatch.setattr(module, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(module, "_run_every_kernel", lambda method: None)
    before = threading.active_count()
    module.warm_up("superpixel", said.append)
    time.sleep(0.3)
    assert said == [] and threading.active_count() <= before
