"""Which devices a run softens on: named ones, or what a measurement finds faster."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import factories
import numpy as np
import pytest

import softlabel
from softlabel.errors import UsageError
from softlabel.generation import device_choice
from softlabel.generation.device_choice import (
    START_SECONDS,
    Sample,
    chosen_devices,
    device_is_faster,
    named_devices,
)
from softlabel.generation.plan import plan
from softlabel.generation.settings import Settings
from softlabel.readers import list_dataset
from softlabel.types import Case, ClassTable

pytest.importorskip("torch")

QUICK = factories.QUICK


def decided(tmp_path, settings=QUICK):
    data = tmp_path / "data"
    if not data.exists():
        factories.write_scenes(data)
    return plan(list_dataset(data), settings, tmp_path / "c.h5")


def choose(tmp_path, device, settings=QUICK):
    """Devices that were chosen, and what was said."""
    said = []
    image, labels = factories.scene()
    case = Case("a", image[None], labels, ClassTable.from_values(factories.VALUES))
    sample = Sample(case, np.zeros(labels.shape, np.int32), seconds=9.0)
    with chosen_devices(
        decided(tmp_path, settings), device, 1, lambda: sample, said.append
    ) as processes:
        return [process.device for process in processes], said


@pytest.fixture
def takes(monkeypatch):
    """Time passes only while something is softened: ``takes["cpu"]`` seconds, or ``["device"]``.

    A device that takes for ever cannot do it.
    """
    now, seconds = [0.0], {"cpu": 9.0, "device": 9.0}

    def soften_case(case, superpixels, header, settings, device):
        took = seconds["cpu" if device is None else "device"]
        if took == float("inf"):
            return None, "its memory is too small"
        now[0] += took
        return None, ""

    monkeypatch.setattr(device_choice, "soften_case", soften_case)
    monkeypatch.setattr(device_choice, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    return seconds


@pytest.fixture
def started(monkeypatch):
    """Names of the devices whose processes were started; none really is."""
    names = []

    @contextlib.contextmanager
    def device_processes(wanted):
        names.extend(wanted)
        yield tuple(SimpleNamespace(device=name) for name in wanted)

    monkeypatch.setattr(device_choice, "device_processes", device_processes)
    return names


def test_auto_without_a_card_measures_nothing(tmp_path, monkeypatch, started):
    monkeypatch.setattr(device_choice, "likely_cuda_devices", lambda: ())
    assert choose(tmp_path, "auto") == ([], [])
    assert choose(tmp_path, "cpu") == ([], [])
    assert started == []


@pytest.mark.parametrize(
    ("cpu", "device", "chosen", "words"),
    [
        (9.0, 0.001, ["cuda:0"], "Softening on cuda:0: cuda:0 softens a case in 0.0010 s, the"),
        (9.0, 20.0, [], "Softening on the CPU: cuda:0 softens a case in 20.0000 s, the CPU in 9."),
        (9.0, float("inf"), [], "Softening on the CPU: cuda:0 softens a case in inf s"),
        (0.01, 0.001, [], "Softening on the CPU: starting cuda:0 would take longer than it saves"),
    ],
)
def test_auto_chooses_what_is_faster_and_says_so(
    tmp_path, takes, started, monkeypatch, cpu, device, chosen, words
):
    monkeypatch.setattr(device_choice, "likely_cuda_devices", lambda: ("cuda:0",))
    takes["cpu"], takes["device"] = cpu, device
    found, said = choose(tmp_path, "auto")
    assert found == chosen
    assert len(said) == 1 and said[0].startswith(words)
    assert bool(started) == (3 * cpu > START_SECONDS)


def test_auto_takes_the_cpu_when_the_device_does_not_start(tmp_path, takes, monkeypatch):
    """As with a driver that is too old for torch: the card is listed, and nothing runs on it."""

    def device_processes(names):
        raise UsageError("The process of the device cuda:7 did not start.")

    monkeypatch.setattr(device_choice, "likely_cuda_devices", lambda: ("cuda:7",))
    monkeypatch.setattr(device_choice, "device_processes", device_processes)
    found, said = choose(tmp_path, "auto")
    assert found == []
    assert said == ["Softening on the CPU: The process of the device cuda:7 did not start."]


def test_a_named_device_is_taken_without_measuring(tmp_path, started):
    assert choose(tmp_path, "torch-cpu") == (["torch-cpu"], ["Softening on torch-cpu."])
    assert started == ["torch-cpu"]


def test_superpixels_of_a_device_leave_no_choice(tmp_path, started, monkeypatch):
    """They are a setting: the CPU would make others."""
    monkeypatch.setattr(device_choice, "likely_cuda_devices", lambda: ("cuda:0",))
    found, said = choose(tmp_path, "auto", Settings(n_segments=24, slic_code="device"))
    assert (found, said) == (["cuda:0"], ["Softening on cuda:0."])


def test_workers_share_a_device():
    assert device_is_faster(cpu=0.1, rest=0.1, device=0.01, jobs=16)
    assert not device_is_faster(cpu=0.1, rest=0.1, device=0.01, jobs=32)  # it cannot serve so many
    assert not device_is_faster(cpu=0.1, rest=9.0, device=0.2, jobs=1)


def test_devices_that_cannot_be_used_stop_the_run_before_it_writes(tmp_path):
    data = factories.write_scenes(tmp_path / "data")
    gaussian = Settings(method="gaussian")
    assert named_devices(decided(tmp_path, gaussian), "auto") == ()
    for device, settings, message in (
        ("torch-cpu", gaussian, "gaussian runs on the CPU only; leave --device out"),
        ("tpu", QUICK, "device must be cpu, auto"),
        ("cuda:99", QUICK, "cuda:99 was asked"),
    ):
        out = tmp_path / "out"
        with pytest.raises(UsageError, match=message):
            softlabel.generate(data, out / "c.h5", settings, device=device)
        assert not out.exists()
