"""``softlabel info``."""

from __future__ import annotations

import json

import factories
import numpy as np
from click.testing import CliRunner

from softlabel.cache import open_cache, rebuild_index, recover
from softlabel.cache.describe import describe
from softlabel.cli import main
from softlabel.generation import Settings, generate


def info(*arguments):
    result = CliRunner().invoke(main, ["info", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table(tmp_path):
    cache = factories.full_cache(tmp_path)
    text = info(cache)
    assert str(cache) in text and "softlabel 0" in text
    assert "1 of 1 groups" in text and "T1, T2" in text
    assert "n_segments=40" in text and "boundary=inner" in text
    assert "ignored label  999" in text
    assert "größter Kern" in text and "300" in text
    assert "Fall 1 – größer" in text and "Patient ß" in text
    assert "18×20×5" in text and "0.5×0.5×2" in text
    assert "of 40" in text
    assert "lowest in" not in text, "one case says no more than the mean"


def test_the_case_where_a_class_is_softest(tmp_path):
    cache = factories.make_cache(tmp_path)
    with open_cache(cache) as opened:
        (row, *_) = [r for r in describe(opened)["classes"] if r["softest"]]
    softest = row["softest"]
    text = info(cache)
    assert f"{row['own_class_q']:.3f}" in text
    assert f"{softest['case']}: {softest['own_class_q']:.3f}" in text
    assert softest["own_class_q"] < row["own_class_q"] < 1


def test_json_is_what_the_function_returns(tmp_path):
    cache = factories.make_cache(tmp_path)
    with open_cache(cache) as opened:
        expected = describe(opened)
    found = json.loads(info(cache, "--json"))
    assert expected.pop("settings").items() <= found["settings"].items()
    assert found["settings"]["boundary"] == "inner", "defaults are not in the record"
    assert {name: found[name] for name in expected} == expected


def test_many_cases_are_cut_unless_asked_for(tmp_path):
    cache = factories.make_cache(tmp_path, [f"case{i:02}" for i in range(25)])
    assert "and 5 more (-v lists them)" in info(cache)
    assert "case24" not in info(cache) and "case24" in info(cache, "-v")
    assert "case00" not in info(cache, "-q")


def test_a_cache_without_cases(tmp_path):
    assert "0 of 0 groups" in info(factories.full_cache(tmp_path, []))


def test_a_missing_part_is_named(tmp_path):
    cache = factories.make_cache(tmp_path)
    factories.part(cache, "b").unlink()
    result = CliRunner().invoke(main, ["info", str(cache)])
    assert result.exit_code == 1 and str(factories.part(cache, "b")) in result.stderr
    assert "1 case could not be read" in result.stderr
    cases = result.stdout.split("spacing mm")[-1]
    rows = [line.split()[1] for line in cases.splitlines() if line.count("│") == 8]
    assert rows == ["a", "c"], "the others are described"
    result = CliRunner().invoke(main, ["info", str(cache), "--json"])
    facts = json.loads(result.stdout)
    assert result.exit_code == 1 and list(facts["problems"]) == ["b"]
    assert [c["id"] for c in facts["cases"]] == ["a", "c"]


def test_how_many_of_the_cases_are_there(tmp_path):
    names = [f"c{i:02}" for i in range(12)]
    cache = factories.make_cache(tmp_path, names, ids=names[:4])
    assert "4 of 12 cases, 8 missing (c04, c05, c06, c07, c08, …); 4 groups" in info(cache)
    assert complete(cache) == (1, "")
    factories.again(cache, ids=names[4:10])
    assert "10 of 12 cases, 2 missing (c10, c11); 10 groups" in info(cache)
    assert json.loads(info(cache, "--json"))["missing"] == ["c10", "c11"]
    factories.again(cache)
    assert "12 of 12 groups" in info(cache) and complete(cache) == (0, "")
    factories.part(cache, "c03").unlink()
    assert complete(cache)[0] == 1
    rebuild_index(cache, recover(cache))  # the parts alone do not tell
    code, complaints = complete(cache)
    assert code == 1 and "does not tell which cases its data set has" in complaints


def complete(cache):
    """Exit status of ``info --complete``, and what it complains of."""
    result = CliRunner().invoke(main, ["info", "--complete", str(cache)])
    return result.exit_code, result.stderr


def test_the_steps_before_superpixels(tmp_path):
    cache = factories.oct_cache(tmp_path)
    text = " ".join(info(cache).split())
    assert "preprocessing wedges (fill), denoise (tv), flatten (pixel), crop (retina)" in text
    with open_cache(cache) as opened:
        (case,) = opened.values()
        before, after = np.prod(case.original_shape), np.prod(case.shape)
    assert f"pixels {after:,} of {before:,}: {100 * (1 - after / before):.1f} % saved" in text
    assert "note [assumed-spacing] 1 case: scan.png states no spacing of pixels" in text
    found = json.loads(info(cache, "--json"))["preprocessing"]
    assert found["saved_share"] == 1 - after / before
    assert [step["step"] for step in found["steps"]] == ["wedges", "denoise", "flatten", "crop"]
    assert found["steps"][1]["method"] == "tv" and found["notes"][0]["cases"] == 1


def test_without_steps_nothing_is_said_of_them(tmp_path):
    cache = factories.make_cache(tmp_path)
    assert "preprocess" not in info(cache)
    assert json.loads(info(cache, "--json"))["preprocessing"] is None


def test_what_a_preset_chose_for_each_case(tmp_path):
    data = factories.write_scenes(tmp_path / "data", "ab")
    factories.write_scene(data, "large", shape=(260, 270))
    assert generate(data, tmp_path / "c.h5", Settings(preset="auto")).complete
    text = info(tmp_path / "c.h5")
    assert "preset=auto" in text and "n_segments" not in text
    assert (
        "2 cases: channel_percentiles=[1.0, 99.5], compactness=0.2, sigma=0.0, slic_dims=vo" in text
    )
    assert "preset auto (2)  1 case: " in text
    assert "by the preset" in text and "size 95, compactness 0.1, sigma 2" in text
    record = json.loads(info(tmp_path / "c.h5", "--json"))
    chosen = {case["id"]: case["superpixel_settings"] for case in record["cases"]}
    assert chosen["large"]["superpixel_size"] == 95 and chosen["a"]["superpixel_size"] == 16
    assert "by the preset" not in info(factories.make_cache(tmp_path / "without"))
