"""In which order cases are listed."""

from __future__ import annotations

import factories
import numpy as np
import pytest

from softlabel.cache import open_cache
from softlabel.reports.contents import contents_of
from softlabel.viewers.order import in_order, own_class_q


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    with open_cache(factories.make_cache(tmp_path_factory.mktemp("five"), "abcde")) as cache:
        yield cache


def test_the_order_of_the_cache_is_that_of_its_ids(five):
    assert [case.text for case in in_order(five)] == list("abcde")


def test_own_class_q_is_the_mean_soft_label_of_the_own_pixels(five):
    soft, labels = five["b"].soft[...], five["b"].labels[...]
    expected = [soft[k][labels == v].mean() for k, v in enumerate(five.classes.values)]
    np.testing.assert_allclose(own_class_q(five, "b"), expected, rtol=1e-5)


def test_the_worst_come_first_as_in_the_report(five):
    found = in_order(five, worst_first=True)
    rows = contents_of(five).rows
    assert [case.id for case in found] == [row.id for row in rows] != list("abcde")
    for case, row in zip(found, rows, strict=True):
        assert case.own_q == pytest.approx(row.lowest)
        assert case.softest == five.classes.names[row.softest[0]]


def test_damaged_cases_come_last(five, tmp_path):
    path = factories.copy_cache(five.path, tmp_path)
    factories.part(path, "a").write_bytes(b"nothing")
    with open_cache(path) as cache:
        found = in_order(cache, worst_first=True)
    assert found[-1].text == "a" and len(found) == 5
