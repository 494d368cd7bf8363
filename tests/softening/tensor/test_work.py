"""What the tiles of a band share: Eq. 1, and blocks in bounded numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from softlabel.distance.boundary import Metric  # noqa: E402
from softlabel.softening.tensor.distance import costs_within  # noqa: E402
from softlabel.softening.tensor.work import formula_of, shares  # noqa: E402

CPU = torch.device("cpu")
ALL = (True, True, True)


@pytest.mark.parametrize("scale", [1.0, 0.3])
@pytest.mark.parametrize(
    "metric",
    [
        Metric((1.0, 1.0, 1.0), ALL),
        Metric((1.0, 1.0, 1.0), ALL, True),
        Metric((2.0, 0.7, 1.0), ALL),
    ],
    ids=["whole", "quarters", "floats"],
)
def test_the_formula_is_eq_1(metric, scale):
    """q = ½ (d / (scale + |d|) + 1), d positive inside of the class."""
    costs = costs_within(metric, 6.0, (9, 9, 9))
    formula = formula_of(costs, costs.limits(np.array([6.0])), scale, CPU)
    squared = np.arange(37) if costs.integer else np.linspace(0, 36, 50)
    distance = np.sqrt(squared / (costs.factor if costs.integer else 1))
    for inside, sign in ((True, 1), (False, -1)):
        found = formula(torch.from_numpy(squared), inside)
        expected = 0.5 * (sign * distance / (scale + distance) + 1)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("at_once", [1, 3, 4, 100])
def test_shares_cover_every_entry_of_every_block_once(at_once):
    size = np.array([2, 0, 5, 1])
    blocks = SimpleNamespace(size=size, rank=torch.zeros(4))
    found = list(shares(blocks, at_once))
    assert all(len(block) <= at_once for _, block in found)
    assert [first for first, _ in found] == list(range(0, 8, at_once))
    assert torch.cat([block for _, block in found]).tolist() == [0, 0, 2, 2, 2, 2, 2, 3]
