"""Pages: whole in themselves, and safe against the texts of others."""

import base64
import hashlib

import pytest
from pages import Page

from softlabel.errors import UsageError
from softlabel.reports import publish_page, render_page, require_replaceable
from softlabel.reports.page import NOTICE

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'


def page(**changes):
    content = {"title": "t", "data": {"layers": [], "cases": []}}
    return render_page("base.html", **content | changes)


def test_texts_of_others_stay_texts():
    found = Page(page(title=HOSTILE, data={"cases": [{"name": HOSTILE}], "layers": []}))
    assert len(found.scripts) == 2 and not found.with_tag("img")
    assert HOSTILE in found.text, "it is shown as it is"
    assert found.data["cases"][0]["name"] == HOSTILE


def test_the_policy_lets_its_own_script_run_and_nothing_else():
    found = Page(page())
    (policy,) = [m["content"] for m in found.with_tag("meta")
                 if m.get("http-equiv") == "Content-Security-Policy"]  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(found.scripts[1].encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert rules["script-src"] == f"'sha256-{digest}'"


def test_it_says_what_it_is_for():
    assert "research use" in NOTICE and "not calibrated" in NOTICE
    assert NOTICE in Page(page()).text


def test_a_report_is_replaced_and_nothing_else(tmp_path):
    path = tmp_path / "new" / "r.html"
    publish_page(path, page(title="one"))
    publish_page(path, page(title="two"))
    assert "two" in path.read_text() and [p.name for p in path.parent.iterdir()] == ["r.html"]
    other = tmp_path / "thesis.html"
    other.write_text("<!DOCTYPE html><p>softlabel</p>")
    with pytest.raises(UsageError, match="no report of softlabel"):
        publish_page(other, page())
    assert other.read_text() == "<!DOCTYPE html><p>softlabel</p>"
    with pytest.raises(UsageError, match="no report of softlabel"):
        require_replaceable(tmp_path)


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch):
    import errno

    import factories

    path = tmp_path / "r.html"
    publish_page(path, page(title="one"))
    factories.fill_disk_after(monkeypatch, 0, errno.ENOSPC)
    with pytest.raises(UsageError, match="space"):
        publish_page(path, page(title="two"))
    assert "one" in path.read_text() and [p.name for p in tmp_path.iterdir()] == ["r.html"]
