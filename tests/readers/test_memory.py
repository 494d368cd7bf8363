"""How much memory is free: what the system tells, against what a process is left."""

from __future__ import annotations

import factories
import pytest

from softlabel.readers import memory
from softlabel.readers.memory import free_bytes


def test_the_least_of_what_the_system_tells(tmp_path, monkeypatch):
    for name, text in (("_MEMINFO", "MemTotal: 9 kB\nMemAvailable:   7 kB\n"),
                       ("_CONTAINER_LIMIT", "5000\n")):  # fmt: skip
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(memory, name, tmp_path / name)
    assert free_bytes() == 5000
    (tmp_path / "_CONTAINER_LIMIT").write_text("max\n")
    assert free_bytes() == 7 << 10
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "none")
    assert free_bytes() is None


def test_what_ulimit_leaves():
    pytest.importorskip("resource")
    code = """
import resource
from softlabel.readers.memory import free_bytes
limit = 4 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
free = free_bytes()
block = bytearray(free // 2)
print(0 < free < limit, free - free_bytes() >= len(block))
"""
    assert factories.run_python(code) == "True True\n"
