"""Every kernel is compiled, or loaded, before workers start."""

import json

import factories

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

warm_up()
before = signatures()
labels = np.random.default_rng(0).integers(0, 3, (6, 20, 70))
for part in (np.s_[0], np.s_[:]):
    ids = softlabel.slic(labels[part].astype(np.float32), 20)
    softlabel.soften(labels[part], ids, ignore=2, normalize="sum").dense()
    softlabel.soften(labels[part], ids, spacing=(0.9,) * ids.ndim)
softlabel.soften(np.arange(2000) % 2, np.zeros(2000, int))  # far: another type of numbers
print(json.dumps([before, signatures()]))
"""


def test_warm_up_leaves_nothing_to_compile():
    """A kernel that generation runs must have its signature before workers start."""
    before, after = json.loads(factories.run_python(SCRIPT))
    rooms = {name.split(".")[1] for name, count in before.items() if count}
    assert rooms == {"distance", "softening", "softmaps", "superpixels"}
    assert after == before
