"""Devices by name, their memory, their streams, and what they raise when they cannot."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scenes import assert_same_maps, blobs

import softlabel
from softlabel import device as devices
from softlabel.device import DeviceUnusable, on_borrowed_stream, streams_of
from softlabel.errors import MissingExtraError, UsageError


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_as_many_streams_as_requests_at_a_time(torch):
    streams = streams_of(torch.device("cpu"), 2)
    with on_borrowed_stream(streams), on_borrowed_stream(streams):
        assert streams.empty(), "a third one waits"
    with pytest.raises(ValueError), on_borrowed_stream(streams):
        raise ValueError
    assert streams.qsize() == 2


def test_whatever_a_card_raises_makes_it_unusable(torch):
    card, cpu = torch.device("cuda:0"), torch.device("cpu")
    with (
        pytest.raises(DeviceUnusable, match=r"cuda:0 cannot do it \(no kernel image\)"),
        devices.failing_makes_unusable(card),
    ):
        raise RuntimeError("no kernel image\nand more")
    with (
        pytest.raises(RuntimeError, match="a fault of ours"),
        devices.failing_makes_unusable(cpu),
    ):
        raise RuntimeError("a fault of ours")


def test_import_and_cpu_leave_torch_alone():
    script = (
        "import sys, numpy as np, softlabel, softlabel.cli, softlabel.generation.run\n"
        "softlabel.soften(np.array([1, 0]), np.zeros(2, int), device='cpu')\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_cuda_that_is_not_there(torch, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UsageError, match=r"The device cuda was asked for.*use the device cpu"):
        softlabel.soften(np.array([1, 0]), np.zeros(2, int), device="cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UsageError, match=r"cuda:7 was asked.*has 2 CUDA devices.*cuda:0 to cuda:1"):
        softlabel.soften(np.array([1, 0]), np.zeros(2, int), device="cuda:7")


def test_a_device_without_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"device='cuda' needs torch.*'\.\[gpu\]' in"):
        devices.torch_device("cuda")
    assert devices.torch_device("auto") is None


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:", "meta", ""])
def test_unknown_devices(name):
    with pytest.raises(ValueError, match=f"device must be cpu, .*; got '{name}'"):
        devices.torch_device(name)


def test_auto_is_the_cpu_without_a_card(torch, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices.torch_device("auto") is None
    labels, ids = blobs()
    assert_same_maps(softlabel.soften(labels, ids, ignore=99, device="auto"),
                softlabel.soften(labels, ids, ignore=99))  # fmt: skip


def test_half_of_the_free_memory_of_a_card(torch, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 5000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert devices.memory_budget(torch.device("cuda:0")) == 600
    assert devices.memory_budget(torch.device("cpu")) == devices.CPU_MEMORY
