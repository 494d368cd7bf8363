"""Charts as data."""

import numpy as np

from softlabel.reports.charts import HEIGHT, MARGIN, WIDTH, Curve, curves, histogram, strips

NAN = float("nan")


def test_bars_count_every_value_once():
    values = np.random.default_rng(0).normal(size=200).tolist()
    chart = histogram("x", [*values, NAN])
    counts = [int(says.split()[0]) for *_, says in chart.bars]
    assert sum(counts) == 200
    heights = [bar[3] for bar in chart.bars]
    assert max(heights) == HEIGHT - MARGIN and int(np.argmax(heights)) == int(np.argmax(counts))
    assert all(x >= MARGIN and x + w <= WIDTH - MARGIN + 0.2 for x, _, w, _, _ in chart.bars)


def test_without_values_there_is_no_chart():
    assert histogram("x", [NAN]) is None
    assert strips({0: [NAN]}, ["a"]) == ()
    assert curves("x", [Curve("a", [1, 2], [NAN, NAN])]) is None


def test_equal_values_are_one_bar():
    assert len(histogram("x", [3.0] * 5).bars) == 1


def test_strips_have_a_mark_at_each_share():
    (strip,) = strips({1: [0.0, 0.5, 1.0, NAN]}, ["a", "b"])
    assert strip.name == "b" and strip.marks == (MARGIN, WIDTH / 2, WIDTH - MARGIN)
    assert strip.median == WIDTH / 2


def test_curves_share_their_axes():
    chart = curves("loss", [Curve("a", [0, 10], [1, 3]), Curve("b", [5, 20], [NAN, 2])])
    assert (chart.left, chart.right, chart.bottom, chart.top) == ("0", "20", "1", "3")
    (_, _, first), (_, _, second) = chart.lines
    assert first == f"{MARGIN:.1f},{HEIGHT - MARGIN:.1f} {WIDTH / 2:.1f},{MARGIN:.1f}"
    assert second == f"{WIDTH - MARGIN:.1f},{HEIGHT / 2:.1f}"
