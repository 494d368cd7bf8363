"""A run whose workers share a device's process: the same cache, whatever becomes of the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from factories import QUICK, files_of, scene, write_scenes

import softlabel
from softlabel.cache import open_cache
from softlabel.cli import main
from softlabel.device import DeviceUnusable, on_borrowed_stream, streams_of
from softlabel.errors import UsageError
from softlabel.generation import device_choice, device_server
from softlabel.generation import run as run_module
from softlabel.generation.device_choice import chosen_devices, device_is_faster, named_devices
from softlabel.generation.device_server import DeviceProcess, device_processes
from softlabel.generation.plan import plan
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset
from softlabel.softening import SoftenRequest, soften_by

pytest.importorskip("torch")

DEFAULTS = SoftenRequest(classes=(0, 128, 255))


@pytest.fixture(scope="module")
def process():
    """One process of torch's CPU device for all tests."""
    with device_processes(["torch-cpu"]) as (started,):
        yield started


@pytest.fixture
def lent(process, monkeypatch):
    """Runs that are told to use a device use the process that is there already."""

    class Lent:
        def __enter__(self):
            return (process,)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(device_choice, "device_processes", lambda names: Lent())


def example():
    image, labels = scene()
    return image, labels, softlabel.slic(image, 24)


# --- asking a process -----------------------------------------------------------------------------


def test_soft_maps_of_another_process(process):
    _, labels, ids = example()
    found = soften_by(DEFAULTS, labels, ids, backend=process.soften)
    expected = softlabel.soften(labels, ids, classes=(0, 128, 255))
    assert found.values.tobytes() == expected.values.tobytes()
    np.testing.assert_array_equal(found.dense(), expected.dense())


def test_superpixels_of_another_process(process):
    image, _, _ = example()
    expected = softlabel.slic(image, 24, device="torch-cpu")
    np.testing.assert_array_equal(process.slic(image, 24), expected)


def test_what_is_wrong_is_said_here(process):
    _, labels, ids = example()
    request = replace(DEFAULTS, method_options={"in_plane": True, "slice_axis": 7})
    with pytest.raises(ValueError, match=r"slice_axis must lie in 0\.\.1; got 7"):
        soften_by(request, labels, ids, backend=process.soften)
    with pytest.raises(DeviceUnusable, match=r"KeyError on torch-cpu: 'sing'"):
        process._ask("sing", ())


def test_nobody_is_served_without_the_secret(process):
    stranger = DeviceProcess(process.device, process.address, b"guess")
    with pytest.raises(DeviceUnusable, match="the process of torch-cpu is gone"):
        stranger.slic(np.zeros((4, 4)))
    assert "guess" not in repr(stranger)


def test_a_process_that_is_killed():
    started = []
    start = device_server._start

    def remember(*arguments):
        started.append(start(*arguments))
        return started[-1]

    _, labels, ids = example()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_server, "_start", remember)
        with device_processes(["torch-cpu"]) as (one,):
            soften_by(DEFAULTS, labels, ids, backend=one.soften)
            started[0].kill()
            started[0].wait()
            with pytest.raises(DeviceUnusable, match="the process of torch-cpu is gone"):
                soften_by(DEFAULTS, labels, ids, backend=one.soften)
    assert not Path(one.address).parent.exists()


@pytest.mark.skipif(os.name != "posix", reason="processes are told apart by /proc or signals")
def test_a_process_ends_with_its_parent():
    script = (
        "import tempfile, time\n"
        "from pathlib import Path\n"
        "from softlabel.generation import device_server as d\n"
        "p = d._start('torch-cpu', 'key', Path(tempfile.mkdtemp()) / '0')\n"
        "print(p.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.kill(child, signal.SIGKILL)
    pytest.fail("it outlived its parent")


def test_a_device_that_does_not_start(capfd):
    with (
        pytest.raises(UsageError, match=r"process of the device cuda:99 did not start \(status 1"),
        device_processes(["cuda:99"]),
    ):
        pass
    assert "The device cuda:99 was asked for" in capfd.readouterr().err


# --- runs -----------------------------------------------------------------------------------------


def run(folder, device, settings=QUICK, jobs=1, **kwargs):
    data = folder.parent / "data"
    if not data.exists():
        write_scenes(data)
    folder.mkdir()
    return softlabel.generate(data, folder / "c.h5", settings, device=device, jobs=jobs, **kwargs)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_cache_does_not_depend_on_the_device(tmp_path, lent, jobs):
    settings = Settings(n_segments=24, boundary="edge", normalize="sum")
    assert run(tmp_path / "cpu", "cpu", settings).complete
    report = run(tmp_path / "device", "torch-cpu", settings, jobs=jobs)
    assert report.complete and not report.warnings
    parts = [files_of(tmp_path / name / "c.h5") for name in ("cpu", "device")]
    assert parts[0] == parts[1] and len(parts[0]) == 3


def test_a_device_goes_on_where_the_cpu_stopped(tmp_path, lent):
    assert run(tmp_path / "c", "cpu", limit=1).cases == 1
    report = softlabel.generate(tmp_path / "data", tmp_path / "c" / "c.h5", QUICK,
                                device="torch-cpu")  # fmt: skip
    assert (report.cases, report.skipped) == (2, 1)


def test_superpixels_of_the_device_are_recorded(tmp_path, lent):
    settings = Settings(n_segments=24, slic_code="device")
    run(tmp_path / "with", "torch-cpu", settings)
    run(tmp_path / "without", "cpu", settings)
    assert files_of(tmp_path / "with" / "c.h5") == files_of(tmp_path / "without" / "c.h5")
    with open_cache(tmp_path / "with" / "c.h5") as cache:
        assert json.loads(cache.header.settings)["slic_code"] == "device"
    with pytest.raises(UsageError, match="slic_code: device → cpu"):
        softlabel.generate(tmp_path / "data", tmp_path / "with" / "c.h5", QUICK)


def test_cases_that_the_device_cannot_do_are_done_and_told(tmp_path, monkeypatch):
    gone = DeviceProcess("cuda:0", str(tmp_path / "nobody"), b"key")

    class Gone:
        def __enter__(self):
            return (gone,)

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(device_choice, "device_processes", lambda names: Gone())
    report = run(tmp_path / "c", "torch-cpu")
    assert report.complete
    assert report.warnings == (
        "3 of 3 cases were softened on the CPU instead of the device, with the same result (for "
        "example a: the process of cuda:0 is gone).",
    )
    run(tmp_path / "cpu", "cpu")
    assert files_of(tmp_path / "c" / "c.h5") == files_of(tmp_path / "cpu" / "c.h5")


# --- choosing -------------------------------------------------------------------------------------


def decided(tmp_path, settings=QUICK):
    data = tmp_path / "data"
    if not data.exists():
        write_scenes(data)
    return plan(list_dataset(data, "auto", {}), settings, tmp_path / "c.h5")


def choose(tmp_path, device, **kwargs):
    said = []
    wanted = decided(tmp_path, **kwargs)
    with chosen_devices(
        wanted, device, 1, lambda: run_module._sample(wanted), said.append
    ) as processes:
        return [p.device for p in processes], said


def test_auto_without_a_card_measures_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(device_choice, "likely_cuda_devices", lambda: ())
    assert choose(tmp_path, "auto") == ([], [])
    assert choose(tmp_path, "cpu") == ([], [])


@pytest.mark.parametrize(
    ("cpu", "device", "chosen", "words"),
    [
        (9.0, 0.001, ["torch-cpu"], "Softening on cuda:0: cuda:0 softens a case in 0.0010 s, the"),
        (9.0, 20.0, [], "Softening on the CPU: cuda:0 softens a case in 20.0000 s, the CPU in 9."),
        (9.0, float("inf"), [], "Softening on the CPU: cuda:0 softens a case in inf s"),
        (0.01, 0.001, [], "Softening on the CPU: starting cuda:0 would take longer than it saves"),
    ],
)
def test_auto_chooses_what_is_faster_and_says_so(
    tmp_path, lent, monkeypatch, cpu, device, chosen, words
):
    monkeypatch.setattr(device_choice, "likely_cuda_devices", lambda: ("cuda:0",))
    monkeypatch.setattr(
        device_choice, "_seconds_of", lambda decided, sample, on: device if on else cpu
    )
    found, said = choose(tmp_path, "auto")
    assert found == chosen
    assert len(said) == 1 and said[0].startswith(words)


def test_auto_takes_the_cpu_when_the_device_does_not_start(tmp_path, monkeypatch):
    """As with a driver that is too old for torch: the card is listed, and nothing runs on it."""
    monkeypatch.setattr(device_choice, "likely_cuda_devices", lambda: ("cuda:7",))
    monkeypatch.setattr(device_choice, "_seconds_of", lambda decided, sample, on: 9.0)
    found, said = choose(tmp_path, "auto")
    assert found == [] and len(said) == 1
    assert said[0].startswith("Softening on the CPU: The process of the device cuda:7 did not")


def test_a_long_temporary_folder_does_not_keep_a_process_from_starting(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setattr(device_server.tempfile, "tempdir", str(long))
    with device_processes(["torch-cpu"]) as (process,):
        assert process.slic(np.eye(12, dtype=np.float32), 4).shape == (12, 12)
    monkeypatch.setattr(device_server.os, "access", lambda *_: False)
    with pytest.raises(UsageError, match=r"temporary folder .* too long .* TMPDIR"):
        device_server._folder_of_sockets()


def test_as_many_streams_as_requests_at_a_time():
    streams = streams_of(pytest.importorskip("torch").device("cpu"), 2)
    with on_borrowed_stream(streams), on_borrowed_stream(streams):
        assert streams.empty(), "a third one waits"
    with pytest.raises(ValueError), on_borrowed_stream(streams):
        raise ValueError
    assert streams.qsize() == 2


def test_both_ways_are_really_timed(tmp_path, process):
    wanted = decided(tmp_path)
    sample = run_module._sample(wanted)
    assert sample is not None and sample.superpixels is not None
    for device in (None, process):
        assert 0 < device_choice._seconds_of(wanted, sample, device) < 60


def test_workers_share_a_device():
    assert device_is_faster(cpu=0.1, rest=0.1, device=0.01, jobs=16)
    assert not device_is_faster(cpu=0.1, rest=0.1, device=0.01, jobs=32)  # it cannot serve so many
    assert not device_is_faster(cpu=0.1, rest=9.0, device=0.2, jobs=1)


def test_devices_that_cannot_be_used_stop_the_run_before_it_writes(tmp_path):
    gaussian = Settings(method="gaussian")
    with pytest.raises(UsageError, match=r"gaussian runs on the CPU only; leave --device out"):
        run(tmp_path / "c", "torch-cpu", gaussian)
    assert named_devices(decided(tmp_path, gaussian), "auto") == ()
    for device, message in (("tpu", "device must be cpu, auto"), ("cuda:99", "cuda:99 was asked")):
        out = tmp_path / "d"
        with pytest.raises(UsageError, match=message):
            softlabel.generate(tmp_path / "data", out / "c.h5", QUICK, device=device)
        assert not out.exists()


def test_the_command(tmp_path, lent):
    write_scenes(tmp_path / "data")
    command = ["generate", str(tmp_path / "data"), "-o", str(tmp_path / "c.h5"),
               "--n-segments", "24", "-j", "1"]  # fmt: skip
    result = CliRunner().invoke(main, [*command, "--device", "torch-cpu"])
    assert result.exit_code == 0, result.stderr
    assert "Softening on torch-cpu." in result.stderr
    result = CliRunner().invoke(main, [*command, "--device", "cuda:99", "--overwrite"])
    assert result.exit_code == 2
    assert "The device cuda:99 was asked for" in result.stderr
    result = CliRunner().invoke(main, [*command, "--device", "cuda:99", "--dry-run"])
    assert result.exit_code == 2
