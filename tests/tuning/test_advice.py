"""What is recommended and warned of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from softlabel.tuning.advice import advise, is_grid, score
from softlabel.tuning.figure import MOST_CLASSES, tuning_figure
from softlabel.tuning.fit import Trial
from softlabel.tuning.rows import Row
from softlabel.tuning.sweep import DEFAULT, LookedAt, Tuning


def row(size, over=0.1, dice=0.8, grid=0.5, soft=0.3, fill=0.6):
    trial = DEFAULT if size is None else Trial(size, 0.1, 1.0)
    return Row(trial, 2, 100, 50, 0.6 + over, 0.6, {0: dice, 1: dice}, {0: grid, 1: grid},
               soft, soft, fill)  # fmt: skip


def tuning(*rows):
    cases = (LookedAt("a", (9, 9), (9, 9)),)
    return Tuning(rows, {0: "x", 1: "y"}, cases, 1, {}, 2, False, False, True)


def test_the_best_sum_of_recall_over_chance_and_dice_is_recommended():
    small, middle, large = row(25, 0.0, 0.9), row(95, 0.1, 0.83), row(400, 0.2, 0.6)
    found = advise(tuning(row(None), small, middle, large))
    assert found.row is middle and found.warnings == ()
    assert [round(score(r), 2) for r in (small, middle, large)] == [0.9, 0.93, 0.8]


def test_of_nearly_equal_settings_the_image_has_more_say_in_the_recommended_one():
    small, larger = row(25, 0.0, 0.93), row(95, 0.15, 0.775)
    assert score(small) > score(larger) > score(small) - 0.01
    assert advise(tuning(small, larger)).row is larger
    similar = row(27, 0.01, 0.915)
    assert advise(tuning(small, similar)).row is small, "a difference of noise"


def test_settings_that_soften_too_much_are_left_out_while_there_are_others():
    best, harder = row(100, 0.3, 0.9, soft=0.6), row(25, 0.0, 0.7, soft=0.4)
    assert advise(tuning(best, harder)).row is harder
    least, similar, most = (row(n, soft=s, dice=d) for n, s, d in
                            ((25, 0.85, 0.7), (50, 0.88, 0.8), (95, 0.95, 0.9)))  # fmt: skip
    found = advise(tuning(least, similar, most))
    assert found.row is similar
    assert "88% of the pixels of all classes but the largest become soft" in found.warnings[0]


def test_a_grid_in_disguise_is_left_out_and_warned_of():
    boxes = row(25, 0.3, 0.53, fill=1.0)
    blind = row(50, 0.01, 0.515)
    assert is_grid(boxes) and is_grid(blind) and not is_grid(row(95))
    assert not is_grid(row(25, 0.1, 0.9, fill=1.0)), "boxes in the background alone"
    assert advise(tuning(boxes, blind, row(95, dice=0.52))).row.trial.size == 95
    (warning,) = advise(tuning(boxes)).warnings
    assert warning.startswith("The best that was tried: superpixels are a grid in disguise")
    (warning,) = advise(tuning(blind)).warnings
    assert "+0.01 of the boundaries over chance" in warning and "--method distance" in warning


def test_the_defaults_are_warned_of_as_well():
    default = row(None, 0.3, 0.53, fill=1.0, soft=0.9)
    found = advise(tuning(default, row(95)))
    assert [w.split(":")[0] for w in found.warnings] == ["The defaults"] * 2
    assert found.default is default


def test_superpixels_of_single_pixels_are_warned_of():
    single = replace(row(None, 0.0, 1.0, 1.0, fill=1.0), made_size=1.2)
    (warning,) = advise(tuning(single, row(95))).warnings
    assert "have 1.2 pixels, too few to lie across a boundary" in warning


def test_without_boundaries_the_dice_alone_counts():
    nowhere = row(50, float("nan"), 0.9)
    assert score(nowhere) == 0.9 and advise(tuning(nowhere, row(95, 0.0, 0.8))).row is nowhere


def test_of_the_defaults_alone_nothing_is_recommended():
    alone = tuning(row(None, soft=0.9))
    found = advise(alone)
    assert found.row is None and found.default.trial == DEFAULT
    assert [w.split(":")[0] for w in found.warnings] == ["The defaults"]
    figure = tuning_figure(alone, found, "title")
    legends = [t.get_text() for t in figure.subfigs[0].legends[0].get_texts()]
    assert legends == ["default", "a grid (Dice)"]
    assert [t.get_text() for t in figure.subfigs[1].axes[0].get_legend().get_texts()] == [
        "a grid of as many", "default",
    ]  # fmt: skip


@pytest.mark.parametrize("classes", [2, 60])
def test_the_picture_names_settings_and_classes(classes):
    dice = {v: 0.5 + v / 200 for v in range(classes)}
    rows = [replace(row(size), dice=dice, grid_dice=dice) for size in (None, 25, 95)]
    found = replace(tuning(*rows), classes={v: f"class ${v}_" for v in dice})
    figure = tuning_figure(found, advise(found), "scans: a title with $ and _")
    top, bottom = figure.subfigs
    assert [len(ax.lines) > 2 for ax in top.axes] == [True] * 3
    names = [text.get_text() for text in bottom.axes[0].get_xticklabels()]
    assert names[0] == "class $0_" and len(names) == min(classes, MOST_CLASSES)
    legend = [text.get_text() for text in top.legends[0].get_texts()]
    assert legend[:3] == ["recommended", "default", "compactness 0.1"]
    figure.draw_without_rendering()
