"""How much memory is free: what the system tells, against what a process is left."""

from __future__ import annotations

import factories
import pytest

from softlabel import free_memory
from softlabel.free_memory import free_bytes, shared_bytes


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The files of a system whose machine has 7 kB free and that has no control groups."""
    for name in ("_MEMINFO", "_GROUPS", "_GROUP_FILES"):
        monkeypatch.setattr(free_memory, name, tmp_path / name)
    (tmp_path / "_MEMINFO").write_text("MemTotal: 9 kB\nMemAvailable:   7 kB\n")
    return tmp_path


def test_this_machine_has_memory():
    assert 100_000_000 < free_bytes() <= shared_bytes()


def test_what_a_system_does_not_tell_is_unknown(system):
    assert free_bytes() == shared_bytes() == 7 << 10
    (system / "_MEMINFO").unlink()
    assert free_bytes() is None and shared_bytes() is None


@pytest.mark.parametrize(
    ("line", "folder", "limit", "used"),
    [
        ("0::/user/job", "user/job", "memory.max", "anon"),
        ("0::/user/job/step", "user/job", "memory.max", "anon"),
        ("4:cpu,memory:/job", "memory/job", "memory.limit_in_bytes", "total_rss"),
    ],
)
def test_limits_of_control_groups_count(system, line, folder, limit, used):
    group = system / "_GROUP_FILES" / folder
    group.mkdir(parents=True)
    (system / "_GROUPS").write_text(f"9:name=systemd:/x\n{line}\n")
    (group / limit).write_text("5000\n")
    (group / "memory.stat").write_text(f"file 77\n{used} 1000\n")
    assert shared_bytes() == 4000
    (group / limit).write_text("max\n")
    assert shared_bytes() == 7 << 10


def test_what_ulimit_leaves():
    pytest.importorskip("resource")
    code = """
import resource
from softlabel.free_memory import free_bytes
limit = 4 << 30
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
free = free_bytes()
block = bytearray(free // 2)
print(0 < free < limit, free - free_bytes() >= len(block))
"""
    assert factories.run_python(code) == "True True\n"
