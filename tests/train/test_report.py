"""The report of a run."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from pages import Page, click, decoded, find, screenshot
from softlabel_train import report
from softlabel_train.checkpoint import load_checkpoint
from softlabel_train.config import load_recipe
from softlabel_train.evaluate import evaluate_run
from softlabel_train.predict import case_image, load_network, predict_probabilities
from softlabel_train.report import write_run_report
from softlabel_train.scores import Summary, scores_from_csv

from softlabel.cache import open_cache
from softlabel.colours import class_hex
from softlabel.errors import UsageError
from softlabel.reports.names import Names
from softlabel.types import ClassTable


@pytest.fixture(scope="module")
def evaluated(run, tmp_path_factory):
    """A copy of a run that was scored."""
    folder = tmp_path_factory.mktemp("scored") / "oct"
    shutil.copytree(run, folder)
    evaluate_run(folder)
    return folder


@pytest.fixture(scope="module")
def written(evaluated, tmp_path_factory):
    return write_run_report(evaluated, tmp_path_factory.mktemp("page") / "r.html", pictures=2)


@pytest.fixture(scope="module")
def page(written):
    return Page(written.read_text(encoding="utf-8"))


def test_cases_come_worst_first_with_their_dice(page, evaluated):
    scores = scores_from_csv((evaluated / "evaluation/cases.csv").read_text())
    first = scores[0].against
    means = {
        s.case: s.value for s in scores
        if (s.against, s.label, s.metric) == (first, "mean", "dice")
    }  # fmt: skip
    names = [case["name"] for case in page.data["cases"]]
    assert set(names) == set(means) and len(names) == 6
    assert [means[name] for name in names] == sorted(means.values())
    for case in page.data["cases"]:
        for index, value in case["q"]:
            label = page.data["names"][index]
            (expected,) = [s.value for s in scores if (s.against, s.case, s.label, s.metric)
                           == (first, case["name"], label, "dice")]  # fmt: skip
            assert value == pytest.approx(expected, abs=1e-4)


def test_tables_have_the_means_and_intervals_of_the_evaluation(page, evaluated):
    summary = json.loads((evaluated / "evaluation/scores.json").read_text())["summary"]
    assert {s["against"] for s in summary} == {"labels", "truth", "grader2"}
    for s in summary:
        if (s["label"], s["metric"]) == ("mean", "dice"):
            shown = f"{s['mean']:.3f}"
            if s["low"] is not None:  # from five patients on
                shown += f" {s['low']:.3f} to {s['high']:.3f}"
            assert shown in page.text
        assert f"against {s['against']}" in page.text


def test_means_say_how_many_distances_are_left_out():
    """A network that misses a class altogether has no distances there: the mean looks fine."""
    found = [
        Summary("labels", "b", "dice", 0.4, 0.3, 0.5, 7, 2),
        Summary("labels", "b", "hd95", 6.361, float("nan"), float("nan"), 5, 2),
        Summary("labels", "all", "ece", 0.1, float("nan"), float("nan"), 7, 0),
    ]
    classes, calibration = report._tables(found)
    ((_, (dice, hd95)),) = classes.rows
    assert (dice.left_out, hd95.left_out) == (0, 2)
    assert classes.distances and classes.intervals
    assert not calibration.distances and not calibration.intervals


def test_curves_are_those_of_the_metrics(page):
    titles = [a.get("aria-label") for a in page.with_tag("svg")]
    assert {"loss over steps", "validation Dice over steps"} <= set(titles)
    assert len(page.with_tag("polyline")) >= 4


def test_only_the_worst_cases_are_predicted_and_as_an_evaluation_does(page, evaluated, oct_cache):
    pictured = [bool(case["pictures"]) for case in page.data["cases"]]
    assert pictured == [True, True, False, False, False, False]
    worst = page.data["cases"][0]
    checkpoint = load_checkpoint(evaluated / "best.pt")
    net = load_network(checkpoint, "best.pt", "cpu")
    with open_cache(oct_cache) as cache:
        case = cache[worst["name"]]
        labels = case.labels[...]
        predicted = predict_probabilities(net, case_image(case, checkpoint.intensity)).numpy()
    wrong = (predicted.argmax(0) != labels) & (labels != cache.ignore)
    (picture,) = worst["pictures"]
    assert set(picture["overlays"]) == {"prediction", "labels", "errors"}
    drawn = decoded(picture["overlays"]["errors"])[..., 3] > 0
    assert drawn.mean() == pytest.approx(wrong.mean(), abs=0.02), "thinned, the share stays"
    assert 0 < wrong.mean() < 1


def test_volumes_show_the_slices_with_the_most_errors(mri_run, mri_cache, tmp_path):
    folder = tmp_path / "mri"
    shutil.copytree(mri_run, folder)
    evaluate_run(folder)
    path = write_run_report(folder, tmp_path / "r.html", pictures=1)
    worst = Page(path.read_text(encoding="utf-8")).data["cases"][0]
    numbers = [int(picture["name"].split()[1]) for picture in worst["pictures"]]
    assert len(numbers) > 1 and numbers == sorted(set(numbers)) and worst["slices"] == 16
    shares = [(decoded(p["overlays"]["errors"])[..., 3] > 0).mean() for p in worst["pictures"]]
    assert np.min(shares) > 0


def test_a_run_that_was_not_scored_has_its_curves(run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("evaluation*"))
    path = write_run_report(folder)
    assert path == folder / "report.html"
    found = Page(path.read_text(encoding="utf-8"))
    assert found.data["cases"] == [] and "not scored yet" in found.text
    assert found.with_tag("polyline")


def test_without_its_cache_a_run_has_its_scores_and_no_names(evaluated, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(evaluated, folder)
    scores = folder / "evaluation/scores.json"
    told = json.loads(scores.read_text()) | {"cache": str(tmp_path / "Jane Doe.h5")}
    scores.write_text(json.dumps(told))
    text = write_run_report(folder).read_text(encoding="utf-8")
    found = Page(text)
    assert len(found.data["cases"]) == 6 and "The cache is not there" in found.text
    assert "Subject_03" not in text and "Jane Doe" not in text
    named = write_run_report(folder, anonymise=False).read_text(encoding="utf-8")
    assert "Subject_03" in named and "Jane Doe.h5" in named


def test_what_cannot_work_is_refused(evaluated, tmp_path):
    (tmp_path / "r.html").write_text("mine")
    with pytest.raises(UsageError, match="no report of softlabel"):
        write_run_report(evaluated, tmp_path / "r.html")
    with pytest.raises(UsageError, match="part must be"):
        write_run_report(evaluated, part="test")
    with pytest.raises(UsageError, match="0 to"):
        write_run_report(evaluated, pictures=1000)
    damaged = tmp_path / "damaged"
    shutil.copytree(evaluated, damaged)
    (damaged / "evaluation/scores.json").write_text('{"summary": [{"x": 1}]}')
    with pytest.raises(UsageError, match="evaluate again"):
        write_run_report(damaged)


def test_an_anonymous_report_names_no_patient_of_a_split(tmp_path):
    recipe = load_recipe("smoke", [
        "data.split={kind: named, train: [Doe Jane], evaluation: [Smith John]}", "data.cache=doe.h5"
    ])  # fmt: skip
    checkpoint = SimpleNamespace(recipe=recipe, split={"train": ("Doe Jane",)})
    plain, hidden = (
        str(report._facts(tmp_path, checkpoint, {}) + report._recipe(checkpoint, Names(anonymous)))
        for anonymous in (False, True)
    )
    assert "Doe Jane" in plain and "doe.h5" in plain
    assert not any(word in hidden for word in ("Doe", "Smith", "doe.h5"))
    assert "loss.beta" in hidden


def test_the_curve_of_nacl_is_drawn_where_the_run_has_it(tmp_path):
    head = "step,lr,loss,ce,dice,kl"
    for more, row in (("", ""), (",nacl", ",0.5")):
        (tmp_path / "metrics.csv").write_text(f"{head}{more}\n1,1,3,1,1,1{row}\n2,1,2,1,1,1{row}\n")
        drawn = str(report._curves(tmp_path, ClassTable((0,), ("background",)))[0])
        assert ("nacl" in drawn) == bool(more)


def test_a_report_in_a_browser(written, page, browser, tmp_path):
    browser.get(written.as_uri())
    (recipe,) = find(browser, "details dl")
    assert not recipe.is_displayed(), "it is long: the curves come first"
    click(browser, find(browser, "summary")[0])
    assert recipe.is_displayed() and "loss.beta" in recipe.text

    heading = find(browser, "table.cases th")[2]
    assert heading.text == "mean Dice"
    for order in (sorted, lambda values: sorted(values, reverse=True)):
        click(browser, heading)
        cells = find(browser, "table.cases td:nth-child(3)")
        values = [float(cell.get_attribute("data-key")) for cell in cells]
        assert values == order(values) and len(set(values)) > 1

    click(browser, find(browser, "tr[data-case='0']")[0])
    swatches = find(browser, "#viewer-text .swatch")
    assert len(swatches) == len(page.data["cases"][0]["q"])
    plain = screenshot(browser, tmp_path / "errors.png")
    click(browser, find(browser, "#layers input[data-layer=prediction]")[0])
    assert (screenshot(browser, tmp_path / "prediction.png") != plain).any()
    assert [m for m in browser.get_log("browser") if m["level"] == "SEVERE"] == []


def test_colours_are_those_of_the_classes_in_the_pictures(page, evaluated):
    names = load_checkpoint(evaluated / "best.pt").classes.names
    assert page.data["names"] and page.data["colours"] == [
        class_hex(names.index(name)) for name in page.data["names"]
    ]


def test_a_class_has_the_colour_of_the_pictures_in_its_curve(tmp_path):
    (tmp_path / "metrics.csv").write_text(
        "step,validation_dice,validation_dice/c,validation_dice/b\n1,0.5,0.4,0.6\n2,0.6,0.5,0.7\n"
    )
    (dice,) = report._curves(tmp_path, ClassTable((0, 1, 7), ("a", "b", "c")))
    assert [(name, colour) for name, colour, _ in dice.lines] == [
        ("mean", "currentColor"), ("c", class_hex(2)), ("b", class_hex(1))
    ]  # fmt: skip
