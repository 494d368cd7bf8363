"""Caches of many parts with few file handles, and caches that nobody may write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import factories
import pytest

MANY = 300

FEW_HANDLES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
from softlabel.cache import open_cache
from softlabel.cli import main
cases = list(open_cache(sys.argv[1]).values())
arrays = [case.soft for case in cases]
print(sum(float(array[...].sum()) for array in arrays + arrays[::-1]) > 0, len(arrays))
for command in ("info", "verify", "index"):
    try:
        main([command, sys.argv[1]])
    except SystemExit as ended:
        print(command, ended.code)
"""

READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


@pytest.mark.slow
def test_hundreds_of_parts_need_few_handles(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: None)  # for speed
    cases = [factories.small_case(id=f"case {i}") for i in range(MANY)]
    cache = factories.cache_of(
        tmp_path, cases, factories.QUICK, cases[0].classes, None, cases[0].channels
    )
    lines = factories.run_python(FEW_HANDLES, cache).splitlines()
    assert lines[0] == f"True {MANY}"
    assert {"info 0", "verify 0", "index 0"} <= set(lines)


def read_only(folder, *command):
    """Run a command that sees a folder as one of a file system that is read-only."""
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", folder, *command],
        capture_output=True, text=True, check=False, timeout=factories.PATIENCE,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode != 0,
    reason="this user may not mount anything",
)
def test_a_read_only_cache_is_read(tmp_path):
    cache = factories.make_cache(tmp_path)
    folder = cache.parent
    written = read_only(folder, "touch", folder / "x")
    assert written.returncode != 0 and "Read-only" in written.stderr
    pictures = tmp_path.parent / f"{tmp_path.name}-pictures"
    for command in (["info", cache], ["verify", cache], ["inspect", cache, "-o", pictures]):
        done = read_only(folder, *factories.COMMAND, *command)
        assert done.returncode == 0 and "rror" not in done.stderr, command
    reading = "import softlabel, sys; print(*softlabel.open_cache(sys.argv[1]))"
    assert read_only(folder, sys.executable, "-c", reading, cache).stdout.split() == ["a", "b", "c"]
    refused = read_only(folder, *factories.COMMAND, "index", cache)
    assert refused.returncode != 0 and "Traceback" not in refused.stderr
    assert "c.h5" in refused.stderr or "c.lock" in refused.stderr
