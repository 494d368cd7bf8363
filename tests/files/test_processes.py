"""Marks of machines and processes, by which a file's writer is told alive or dead."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from types import SimpleNamespace

import factories
import pytest

from softlabel.files.processes import is_alive, machine_name


@pytest.fixture(autouse=True)
def forgotten_name():
    """The name is looked up once a process: neither before nor after what a test pretends."""
    machine_name.cache_clear()
    yield
    machine_name.cache_clear()


def test_host_names_cannot_lead_out_of_the_folder(monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "../a b/ü" + "x" * 300)
    assert re.fullmatch(r"[\w.]{1,60}-[0-9a-f]{8}", machine_name())


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="Linux tells it")
def test_the_machine_is_the_container_and_not_the_host(monkeypatch):
    names = set()
    for namespace in (1, 2):
        machine_name.cache_clear()
        monkeypatch.setattr(Path, "stat", lambda self, n=namespace: SimpleNamespace(st_ino=n))
        names.add(machine_name())
    monkeypatch.undo()
    assert len(names) == 2


@pytest.mark.skipif(os.name != "posix", reason="only POSIX tells it")
def test_who_is_alive():
    assert is_alive(os.getpid())
    assert is_alive(1), "also when it may not be sent a signal"
    assert not is_alive(factories.dead_pid())
    assert not is_alive(10**12), "no system has such a number"
