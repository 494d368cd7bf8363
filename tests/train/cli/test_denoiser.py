"""``softlabel-train denoiser``."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from softlabel_train import denoiser_data
from softlabel_train.cli import denoiser as command

from softlabel.generation.networks import read_network
from softlabel.preprocess import DnCNNSettings

from ..factories import call

TINY = ("--steps", 2, "--depth", 3, "--channels", 2)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 250, (40, 50)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "in" / f"{number}.png")
    return tmp_path / "in"


def test_on_phantoms(tmp_path, monkeypatch):
    monkeypatch.setattr(denoiser_data, "PHANTOM_SHAPE", (224, 144, 1))
    out = tmp_path / "w.safetensors"
    result = call("denoiser", "--phantoms", 1, "-o", out, "--seed", 4, *TINY)
    assert result.exit_code == 0, result.output
    assert "step 2 of 2: loss" in result.output and "dB on phantoms (in-domain)" in result.output
    _, network = read_network(out)
    words = "1 OCT phantom of 1 B-scans, seed 4"
    assert network.settings == DnCNNSettings(3, 2, None, "range", words)


def test_on_files(folder, tmp_path):
    out = tmp_path / "w.safetensors"
    result = call("denoiser", folder, "-o", out, "--scaling", "noise", "-q", *TINY)
    assert result.exit_code == 0 and "step 2 of 2" not in result.output
    assert "error of guesses" in result.output
    assert read_network(out)[1].settings.noise_level == 1.0
    again = call("denoiser", folder, "-o", out, *TINY)
    assert again.exit_code == 2 and "is there already" in again.output
    assert call("denoiser", folder, "-o", out, "--overwrite", "-q", *TINY).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Give either IMAGES or --phantoms N."),
        (["--phantoms", 1, "."], "Give either IMAGES or --phantoms N."),
        (["--phantoms", 1, "--depth", 1], "depth must be 3 to 64; got 1"),
        (["--phantoms", 1, "--mask-px", 2], "mask_px must be odd"),
        (["none"], "The input none does not exist"),
    ],
)
def test_wrong_usage(arguments, sentence, tmp_path):
    result = call("denoiser", "-o", tmp_path / "w", *arguments)
    assert result.exit_code == 2 and sentence in result.output


def test_ctrl_c(folder, tmp_path, monkeypatch):
    train = command.train_denoiser

    def interrupted(data, settings, config, out, progress):
        often = replace(config, validate_every=2)
        return train(data, settings, often, out, lambda _: signal.raise_signal(signal.SIGINT))

    monkeypatch.setattr(command, "train_denoiser", interrupted)
    out = tmp_path / "w.safetensors"
    tiny = (*TINY[2:], "--steps", 600, "-q")
    result = call("denoiser", folder, "-o", out, *tiny)
    assert result.exit_code == 130 and "Interrupted after 2 of 600 steps" in result.output
    assert out.is_file()
