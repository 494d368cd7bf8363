"""Connected superpixels are scikit-image's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation._slic import _enforce_label_connectivity_cython

from softlabel.superpixels.slic_connectivity import connect


@settings(max_examples=200, deadline=None)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 12), st.integers(1, 12)),
    st.integers(1, 5),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_connecting_is_that_of_scikit_image(shape, n_labels, mean_size, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1 if seed % 5 == 0 else 0, n_labels, shape)
    if seed % 2:
        labels = ndimage.median_filter(labels, 3)
    sizes = mean_size // 2, 3 * mean_size
    expected = _enforce_label_connectivity_cython(
        np.ascontiguousarray(labels, np.intp), *sizes, start_label=0
    )
    np.testing.assert_array_equal(connect(labels.astype(np.int32), *sizes), expected)
