"""The denoiser's training: what it writes is what it trained, and it takes noise out."""

from __future__ import annotations

import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from softlabel_train import denoiser as module
from softlabel_train.denoiser import DenoiserConfig, build_dncnn, fold, train_denoiser
from softlabel_train.denoiser_data import DenoiserData, training_scan

from softlabel.errors import SoftlabelError, UsageError
from softlabel.preprocess import DnCNNSettings, apply_dncnn, unpack_network

SMALL = DnCNNSettings(3, 8, None, "range")
QUICK = DenoiserConfig(steps=60, batch_size=4, patch_px=32, validate_every=20)


def stripes(count, clean, scaling="range"):
    """B-scans of slanted stripes with noise, with clean images or without."""
    rng = np.random.default_rng(7)
    rows, columns = np.indices((64, 72))
    scans = []
    for phase in range(count):
        truth = 120 + 60 * np.sin((rows + 0.3 * columns) / 9 + phase)
        noisy = (truth + rng.normal(0, 25, truth.shape)).clip(0, 255)
        known = np.ones(truth.shape, bool)
        scans.append(training_scan(noisy, truth if clean else None, known, scaling, clean))
    return DenoiserData(tuple(scans[1:]), tuple(scans[:1]), "stripes")


@pytest.mark.parametrize("scaling", ["range", "noise"])
def test_batch_normalisations_are_folded_into_the_convolutions(scaling):
    settings = DnCNNSettings(5, 6, None, scaling)
    torch.manual_seed(0)
    net = build_dncnn(settings).to(memory_format=torch.channels_last)
    torch.nn.init.normal_(net[-1].weight)
    with torch.no_grad():
        for module in net:
            if isinstance(module, torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2)
                module.bias.normal_()
        for _ in range(5):
            net(torch.randn(4, 1, 20, 20) + 1)  # running means and variances
        net.eval()
        image = np.random.default_rng(0).random((40, 30), dtype=np.float32)
        seen = torch.from_numpy(image)[None, None] * {"noise": 1 / 16, "range": 1.0}[scaling]
        expected = image - net(seen)[0, 0].numpy()
    found = apply_dncnn(image, fold(net, settings))
    np.testing.assert_allclose(found, expected, atol=2e-5)
    assert np.abs(expected - image).max() > 0.1


def test_it_learns_from_clean_images(tmp_path):
    data = stripes(5, clean=True)
    lines = []
    result = train_denoiser(data, SMALL, QUICK, tmp_path / "new" / "w.safetensors", lines.append)
    assert result.steps == 60 and not result.interrupted and len(lines) == 3
    assert result.best.text.endswith("dB on phantoms (in-domain)")
    network = unpack_network((tmp_path / "new" / "w.safetensors").read_bytes())
    assert network.settings == replace(SMALL, trained_on="stripes")
    scan = data.validation[0]
    clean = apply_dncnn(scan.scaled(scan.image), network) * scan.unit + scan.low
    before, after = (float(np.mean((x - scan.target) ** 2)) for x in (scan.image, clean))
    assert after < before / 4
    assert result.best.value == pytest.approx(10 * np.log10(255**2 / after), abs=1e-3)


def test_it_learns_from_noisy_images_alone(tmp_path):
    """Independent noise cannot be guessed, so what is guessed is nearer to the clean image."""
    config = replace(QUICK, steps=150, mask_px=1)
    result = train_denoiser(stripes(5, clean=False), SMALL, config, tmp_path / "w.safetensors")
    assert "error of guesses" in result.best.text
    network = unpack_network((tmp_path / "w.safetensors").read_bytes())
    scan = stripes(5, clean=True).validation[0]
    clean = apply_dncnn(scan.scaled(scan.image), network) * scan.unit + scan.low
    before, after = (float(np.mean((x - scan.target) ** 2)) for x in (scan.image, clean))
    assert after < before / 2


def test_the_same_seed_gives_the_same_file(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        config = replace(QUICK, steps=4, seed=seed)
        train_denoiser(stripes(3, clean=True), SMALL, config, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()


def test_ctrl_c_keeps_the_best_so_far(tmp_path):
    out = tmp_path / "w.safetensors"

    def interrupt(line):
        signal.raise_signal(signal.SIGINT)

    result = train_denoiser(stripes(3, clean=True), SMALL, QUICK, out, interrupt)
    assert result.interrupted and result.steps == 20 == result.best_step
    assert unpack_network(out.read_bytes()).settings.trained_on == "stripes"


def test_a_worse_validation_does_not_replace_a_better_one(tmp_path, monkeypatch):
    values = iter([5.0, 3.0, 4.0])
    monkeypatch.setattr(module, "validate", lambda *a: module.Score(next(values), ""))
    written = []
    monkeypatch.setattr(module, "_write", lambda path, network: written.append(path))
    result = train_denoiser(stripes(3, clean=True), SMALL, QUICK, tmp_path / "w")
    assert (len(written), result.best_step, result.best.value) == (1, 20, 5.0)


def test_what_cannot_be_trained(tmp_path):
    with pytest.raises(UsageError, match="too few B-scans with noise"):
        train_denoiser(DenoiserData((), (), ""), SMALL, QUICK, tmp_path / "w")
    data = stripes(2, clean=True)
    broken = replace(data.scans[0], unit=float("nan"))
    with pytest.raises(SoftlabelError, match="The loss at step 1 is no number"):
        train_denoiser(replace(data, scans=(broken,)), SMALL, QUICK, tmp_path / "w")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"steps": 0}, "steps must be 1 or more; got 0"),
        ({"mask_px": 4}, "mask_px must be odd, 1 or more; got 4"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"precision": "16"}, "precision must be one of 32, bf16"),
    ],
)
def test_configurations_that_cannot_be(wrong, sentence):
    with pytest.raises(UsageError, match=sentence):
        DenoiserConfig(**wrong)
