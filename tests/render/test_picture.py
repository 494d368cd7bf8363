"""What a picture shows, as data."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import entropy

from softlabel.softmaps import entropy_bits

from .factories import section


@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(0, 1)
    )
)
def test_entropy_is_that_of_the_shares(soft):
    soft[:, 0] = 0  # an ignored pixel
    soft[soft < 1e-6] = 0
    with np.errstate(invalid="ignore"):
        expected = np.nan_to_num(entropy(soft, base=2, axis=0))
    np.testing.assert_allclose(entropy_bits(soft), expected, atol=1e-6)


def test_map_arrays_changes_all_of_them():
    turned = section(mask=np.ones((12, 16), bool)).map_arrays(np.transpose)
    assert turned.labels.shape == turned.soft.shape == turned.mask.shape == (16, 12)
    assert turned.truth is None
