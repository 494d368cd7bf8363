"""What can be read in a page without a browser, and done with one."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
from html.parser import HTMLParser

import numpy as np
from PIL import Image


class Page(HTMLParser):
    """Elements with their attributes, scripts, and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)
        self.data = json.loads(self.scripts[0])

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    def with_tag(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def decoded(uri):
    """RGBA of the picture in a data URI."""
    head, data = uri.split(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


SHOTS = os.environ.get("SOFTLABEL_SCREENSHOTS")
"""Folder in which screenshots are kept, for people to look at."""


def find(browser, selector):
    """Elements, the first on the page first."""
    return browser.find_elements("css selector", selector)


def click(browser, element):
    """As a script does: what is below the fold is no obstacle."""
    browser.execute_script("arguments[0].click()", element)


def screenshot(browser, path):
    """Pixels of the window."""
    browser.save_screenshot(str(path))
    if SHOTS:
        shutil.copy(path, SHOTS)
    return np.asarray(Image.open(path).convert("RGB"))
