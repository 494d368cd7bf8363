"""The report of a cache, as a file."""

import math
import re
from dataclasses import replace

import factories
from pages import Page

from softlabel.cache import open_cache
from softlabel.reports import write_report
from softlabel.reports.contents import contents_of
from softlabel.types import ClassTable

OUTSIDE = re.compile(r"""(?:src|href|action)\s*=\s*["']?(?!data:)|url\(|@import|https?://""")


def read(path):
    return Page(path.read_text(encoding="utf-8"))


def test_a_page_shows_every_case_and_needs_nothing_from_outside(tmp_path):
    cache = factories.make_cache(tmp_path)
    path = write_report(cache)
    assert path == tmp_path / "c.report.html"
    found = read(path)
    names = [case["name"] for case in found.data["cases"]]
    assert sorted(names) == ["a", "b", "c"]
    assert all(len(case["pictures"]) == 1 for case in found.data["cases"])
    assert [int(row["data-case"]) for row in found.with_tag("tr") if "data-case" in row] == [
        0,
        1,
        2,
    ]
    assert not OUTSIDE.search(path.read_text(encoding="utf-8"))
    layers = [title for _, title in found.data["layers"]]
    assert layers[:2] == ["labels", "superpixels"]
    assert layers[2] == f"entropy (dark to bright: 0 to {math.log2(3):.3g} bits)"
    assert "soft label of label 128" in layers


def test_hostile_names_are_shown_and_not_obeyed(tmp_path):
    hostile = "<script>alert('class')<!--"
    table = ClassTable((0, 128, 255), ("ground", hostile, "</script><svg onload=alert(1)>"))
    case = factories.small_case(
        id="<img src=x onerror=alert(1)>", group="{{ 7 * 7 }}", classes=table
    )
    cache = factories.cache_of(tmp_path, [case], factories.QUICK, table, None, ("<b>T1</b>",))
    found = read(write_report(cache))
    assert len(found.scripts) == 2
    assert not [tag for tag, _ in found.elements if tag in ("img", "b")]
    assert not [a for _, attributes in found.elements for a in attributes if a.startswith("on")]
    for text in (hostile, case.id, "{{ 7 * 7 }}", "<b>T1</b>"):
        assert text in found.text
    assert ["class-1", f"soft label of {hostile}"] in found.data["layers"]


def test_an_anonymous_page_names_no_case_no_patient_and_no_file(tmp_path):
    cases = [factories.full_case("Jane Doe", 0), factories.full_case("John Roe", 1)]
    cases = [replace(case, group=f"Group {case.id}") for case in cases]
    cache = factories.full_cache(tmp_path / "Doe_study", cases)
    factories.part(cache, "John Roe").write_bytes(b"damaged")
    path = write_report(cache, tmp_path / "r.html", anonymise=True)
    text = path.read_text(encoding="utf-8")
    assert not re.search("Jane|John|Doe|Roe|c\\.h5|fällen|ein Stapel", text)
    named = write_report(cache, tmp_path / "r.html", anonymise=False).read_text(encoding="utf-8")
    assert "Jane Doe" in named and "John Roe" in named


def test_a_page_stays_below_its_limit(tmp_path, monkeypatch):
    cache = factories.make_cache(tmp_path, [f"c{i}" for i in range(12)], shape=(160, 200))
    free = write_report(cache).stat().st_size
    monkeypatch.setattr(cache_page_module(), "PAGE_BYTES", 160_000)
    path = write_report(cache)
    assert path.stat().st_size < 160_000 < free
    assert all(case["pictures"] for case in read(path).data["cases"]), "all of them, but smaller"


def test_only_the_worst_cases_have_pictures_where_there_is_no_room_for_all(tmp_path, monkeypatch):
    cache = factories.make_cache(tmp_path, [f"c{i}" for i in range(5)])
    module = cache_page_module()
    with open_cache(cache) as opened:
        table = len(module.cache_page(contents_of(opened), {}).encode())
    limit = table + 2 * (module.LEAST_ROOM + module.CASE_BYTES)
    monkeypatch.setattr(module, "PAGE_BYTES", limit)
    path = write_report(cache)
    cases = read(path).data["cases"]
    assert [bool(case["pictures"]) for case in cases] == [True, True, False, False, False]
    assert path.stat().st_size <= limit
    assert "worst" in cases[-1]["why"]


def test_the_worst_cases_are_listed_where_there_are_too_many(tmp_path, monkeypatch):
    cache = factories.make_cache(tmp_path)
    every = [case["name"] for case in read(write_report(cache)).data["cases"]]
    monkeypatch.setattr(cache_page_module(), "MOST_ROWS", 2)
    found = read(write_report(cache))
    assert [case["name"] for case in found.data["cases"]] == every[:2]
    assert "The worst 2 of 3 cases are listed" in found.text


def cache_page_module():
    from softlabel.reports import cache_page

    return cache_page


def test_the_bytes_are_the_same_every_time_and_with_workers(tmp_path):
    cache = factories.make_cache(tmp_path, [f"c{i}" for i in range(9)])
    one = write_report(cache, tmp_path / "one.html").read_bytes()
    assert write_report(cache, tmp_path / "two.html", jobs=2).read_bytes() == one


def test_packed_caches_and_empty_ones(tmp_path):
    from softlabel.cache import pack_cache

    cache = factories.make_cache(tmp_path)
    pack_cache(cache, tmp_path / "packed.h5")
    assert len(read(write_report(tmp_path / "packed.h5")).data["cases"]) == 3
    empty = factories.full_cache(tmp_path / "empty", [])
    assert read(write_report(empty)).data["cases"] == []
