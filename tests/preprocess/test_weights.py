"""Weights as bytes: what comes back, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softlabel.errors import MissingExtraError
from softlabel.preprocess import DnCNN, pack_network, unpack_network
from softlabel.preprocess import weights as module

from .networks import small_network

safetensors = pytest.importorskip("safetensors.numpy")

NETWORK = small_network(depth=3, channels=2)
DATA = pack_network(NETWORK)


def remade(text):
    """The file with another entry in the metadata, written by the library."""
    return safetensors.save(safetensors.load(DATA), {"softlabel_dncnn": text})


def with_settings(**changes):
    about = {
        "format_version": 1, "depth": 3, "channels": 2, "noise_level": None, "scaling": "range",
        "trained_on": "",
    }  # fmt: skip
    return remade(json.dumps(about | changes))


def test_a_network_comes_back():
    found = unpack_network(DATA)
    assert found.settings == NETWORK.settings
    for (kernel, bias), (k, b) in zip(found.layers, NETWORK.layers, strict=True):
        np.testing.assert_array_equal(kernel, k)
        np.testing.assert_array_equal(bias, b)
    assert pack_network(found) == DATA


def test_weights_whose_channels_lie_last_in_memory_come_back():
    """As networks that were trained so have them."""
    layers = tuple(
        (np.moveaxis(np.ascontiguousarray(np.moveaxis(kernel, 1, -1)), -1, 1), bias)
        for kernel, bias in NETWORK.layers
    )
    assert not layers[1][0].flags.c_contiguous
    assert pack_network(DnCNN(NETWORK.settings, layers)) == DATA


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is no safetensors file"),
        (b"PK\x03\x04" * 50, "is no safetensors file"),
        ((1 << 60).to_bytes(8, "little") + DATA[8:], "is no safetensors file"),
        ((40).to_bytes(8, "little") + b"[" * 40, "is no safetensors file"),
        (safetensors.save({"a": np.zeros(3)}), "is no file of softlabel's DnCNN weights"),
        (with_settings(format_version=2), "their format version is 2, this version reads 1"),
        (remade("{"), "has settings that cannot be"),
        (remade('{"format_version": 1}'), "they are not exactly channels, depth, noise_level"),
        (with_settings(more=1), "they are not exactly channels, depth, noise_level"),
        (remade("3"), "has settings that cannot be"),
        (remade("[[[1]]]"), "has settings that cannot be"),
        (with_settings(depth=1 << 40), r"has settings that cannot be \(depth must be 3 to 64"),
        (with_settings(depth="3"), "depth must be an integer"),
        (with_settings(depth=4), "has not the tensors that its settings say, as for '03.bias'"),
        (with_settings(channels=512), "is of another network than it says: convolution 0 has a"),
        (DATA[:-8], r"is damaged \("),
    ],
)
def test_files_that_are_none(data, message):
    with pytest.raises(ValueError, match=message):
        unpack_network(data)


def test_a_file_that_is_too_large(monkeypatch):
    monkeypatch.setattr(module, "LARGEST_WEIGHTS", len(DATA) - 1)
    with pytest.raises(ValueError, match=f"has more than {len(DATA) - 1} bytes"):
        unpack_network(DATA)


@given(st.integers(0, len(DATA) - 1), st.binary(min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_changed_bytes_give_a_network_or_a_sentence(place, foreign):
    data = DATA[:place] + foreign + DATA[place + len(foreign) :]
    try:
        unpack_network(data)
    except ValueError as error:
        assert str(error).startswith(("is ", "has "))


def test_without_the_library_a_sentence_names_the_extra(monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"dncnn needs safetensors, .*'\.\[dncnn\]'"):
        unpack_network(DATA)
