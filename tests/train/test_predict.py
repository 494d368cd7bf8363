"""Prediction: of caches and files, in windows, named and placed as the images are."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from softlabel_train import predict as predict_module
from softlabel_train.checkpoint import load_checkpoint, save_checkpoint
from softlabel_train.cli import main
from softlabel_train.data import Intensity
from softlabel_train.labelfiles import write_label_map
from softlabel_train.predict import (
    choose_device,
    find_sources,
    load_network,
    normalised,
    predict_images,
    predict_probabilities,
)

from softlabel.cache import open_cache
from softlabel.errors import UsageError
from softlabel.readers.imagefiles import read_label_map, read_pixels


class Lopsided(torch.nn.Module):
    """Looks at the pixel before, so that mirror images are predicted otherwise."""

    def forward(self, x):
        before = torch.nn.functional.pad(x, (1, 0))[..., :-1] + 2 * x
        return torch.cat([before, torch.zeros_like(x), x**2], 1)


def test_flips_are_the_mean_over_mirror_images():
    image = torch.rand(1, 1, 8, 12, generator=torch.Generator().manual_seed(0))
    net = Lopsided()
    each = []
    for rows in (False, True):
        for columns in (False, True):
            axes = [a for a, on in ((2, rows), (3, columns)) if on]
            found = torch.softmax(net(image.flip(axes)), 1).flip(axes)[0]
            each.append(found)
    torch.testing.assert_close(
        predict_probabilities(net, image, flips=(0, 1)), torch.stack(each).mean(0)
    )
    torch.testing.assert_close(
        predict_probabilities(net, image, flips=(1,)), torch.stack(each[:2]).mean(0)
    )
    assert (each[0] - each[1]).abs().max() > 0.01


def test_whole_images_and_windows_agree_on_a_pointwise_network():
    net = torch.nn.Conv2d(1, 3, 1)
    image = torch.randn(1, 1, 50, 70)
    whole = predict_probabilities(net, image)
    windows = predict_probabilities(net, image, window=(32, 32))
    torch.testing.assert_close(whole, windows, atol=1e-5, rtol=1e-4)
    assert whole.sum(0).numpy() == pytest.approx(1, abs=1e-5)


def test_predictions_have_names_that_every_system_can_write(run, tmp_path):
    names = {"one": ("CON", "aux.x", "Größe 1", "a:b", " x "), "two": ("a_b", "scan")}
    for folder, stems in names.items():
        (tmp_path / folder).mkdir()
        for stem in stems:
            Image.new("L", (40, 40)).save(tmp_path / folder / f"{stem}.png")
    report = predict_images(run / "best.pt", [tmp_path / n for n in names], tmp_path / "out")
    assert not report.failures
    assert {path.stem for path in report.written} == {
        "_CON", "_aux.x", "Größe 1", "a_b", "a_b_2", "x", "scan",
    }  # fmt: skip


def test_predicting_a_cache_and_its_probabilities(run, oct_cache, tmp_path):
    report = predict_images(run / "best.pt", [oct_cache], tmp_path / "out", probabilities=True)
    assert not report.failures and len(report.written) == 24
    case = next(iter(open_cache(oct_cache).values()))
    labels = np.asarray(Image.open(tmp_path / "out" / f"{case.id}.png"))
    with np.load(tmp_path / "out" / f"{case.id}.probabilities.npz") as file:
        p, values = file["probabilities"], file["class_values"]
    assert p.shape == (10, *case.shape) and p.sum(0) == pytest.approx(1, abs=1e-4)
    np.testing.assert_array_equal(values[p.argmax(0)], labels)


@pytest.mark.parametrize("ending", [".png", ".tif", ".npy", ".npz", ".bmp", ".jpg"])
def test_images_come_back_in_their_format(run, oct_cache, tmp_path, ending):
    case = next(iter(open_cache(oct_cache).values()))
    image = case.image[0]
    source = tmp_path / f"scan{ending}"
    if ending == ".npy":
        np.save(source, image)
    elif ending == ".npz":
        np.savez(source, image=image)
    else:
        Image.fromarray(image).save(source)
    report = predict_images(run / "best.pt", [source], tmp_path / "out")
    assert not report.failures, report.failures
    (path,) = report.written
    assert path.name == ("scan.png" if ending == ".jpg" else source.name)
    labels = np.load(path)["labels"] if ending == ".npz" else read_label_map(path).values
    assert labels.shape == image.shape
    if ending == ".png":
        predict_images(run / "best.pt", [oct_cache], tmp_path / "cached")
        cached = np.asarray(Image.open(tmp_path / "cached" / f"{case.id}.png"))
        np.testing.assert_array_equal(labels, cached)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_volumes_keep_their_geometry(mri_run, mri_cache, tmp_path, ending):
    case = next(iter(open_cache(mri_cache).values()))
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    affine = turn @ np.diag([-0.9, 1.1, 3, 1]) + np.outer([12, -7, 5, 0], [0, 0, 0, 1])
    for c, channel in enumerate(case.image[...]):
        image = nib.Nifti1Image(channel.astype(np.float32), affine)
        path = tmp_path / "in" / f"brain_{c:04d}.nii"
        path.parent.mkdir(exist_ok=True)
        nib.save(image, path)
        if ending != ".nii":
            sitk = pytest.importorskip("SimpleITK")
            sitk.WriteImage(sitk.ReadImage(path), path.with_name(f"brain_{c:04d}{ending}"))
            path.unlink()
    report = predict_images(mri_run / "best.pt", [tmp_path / "in"], tmp_path / "out")
    assert not report.failures, report.failures
    (path,) = report.written
    assert path.name == f"brain{ending}"
    written = read_pixels(path)
    source = read_pixels(next((tmp_path / "in").iterdir()))
    np.testing.assert_allclose(written.affine, source.affine, atol=1e-4)
    checkpoint = load_checkpoint(mri_run / "best.pt")
    net = load_network(checkpoint, "best.pt", "cpu")
    image = np.stack([read_pixels(p).values for p in sorted((tmp_path / "in").iterdir())])
    flat = image.astype(np.float64).reshape(len(image), -1)
    intensity = Intensity.of([{
        "pixels": flat.shape[1], "intensity_sum": flat.sum(1),
        "intensity_sum_squares": (flat**2).sum(1),
    }])  # fmt: skip
    p = predict_probabilities(net, normalised(image, intensity),
                              window=(32, 32, 16))  # fmt: skip
    np.testing.assert_array_equal(
        written.values, np.asarray(checkpoint.classes.values)[p.argmax(0).numpy()]
    )


def test_an_image_that_does_not_fit_is_reported_and_the_others_are_done(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "a.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(
        folder / "colour.png"
    )
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (folder / "notes.txt").write_text("no image")
    report = predict_images(run / "best.pt", [folder], tmp_path / "out")
    assert [p.name for p in report.written] == ["a.png"]
    assert "3 channels and 2 spatial axes; the network takes 1" in report.failures["colour"]
    assert "broken.png" in report.failures["broken"]


def test_inputs_that_are_not_there(run, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.txt").write_text("")
    for path, what in ((tmp_path / "no", "does not exist"), (tmp_path / "empty", "no image in"),
                       (tmp_path / "a.txt", "no image that is known")):  # fmt: skip
        with pytest.raises(UsageError, match=what):
            predict_images(run / "best.pt", [path], tmp_path / "out")


def test_images_are_never_replaced_by_their_label_maps(run, tmp_path):
    image = tmp_path / "scan.png"
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(image)
    before = image.read_bytes()
    for given in ([tmp_path], [image]):
        with pytest.raises(UsageError, match="which their label maps would replace"):
            predict_images(run / "best.pt", given, tmp_path / "x" / "..")
    assert image.read_bytes() == before


def test_the_window_of_a_prediction_is_one_for_its_images(run, tmp_path, monkeypatch):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"window is \[64\] .* 2 spatial axes; give 2 numbers"):
        predict_images(run / "best.pt", [tmp_path], tmp_path / "out", window=[64])
    seen = []
    real = predict_module.predict_classes
    monkeypatch.setattr(
        predict_module, "predict_classes",
        lambda *a, **options: seen.append(options["window"]) or real(*a, **options),
    )  # fmt: skip
    call = CliRunner().invoke
    arguments = ["predict", str(run), str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "-q"]
    assert call(main, [*arguments, "--window", "32,32"]).exit_code == 0 and seen == [[32, 32]]
    wrong = call(main, [*arguments, "--window", "32x32"])
    assert wrong.exit_code == 2 and "such as 256,256" in wrong.output


@pytest.mark.parametrize("probabilities", [False, True])
def test_mirror_images_are_predicted_where_the_recipe_asks_for_them(
    run, tmp_path, monkeypatch, probabilities
):
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "a.png")
    checkpoint = load_checkpoint(run / "best.pt")
    flipped = checkpoint.recipe.evaluate.model_copy(update={"flips": (1,)})
    recipe = checkpoint.recipe.model_copy(update={"evaluate": flipped})
    save_checkpoint(tmp_path / "b.pt", replace(checkpoint, recipe=recipe))
    name = "predict_probabilities" if probabilities else "predict_classes"
    real, seen = getattr(predict_module, name), []
    monkeypatch.setattr(
        predict_module, name, lambda *a, **how: seen.append(how["flips"]) or real(*a, **how)
    )
    options = {"probabilities": probabilities}
    predict_images(tmp_path / "b.pt", [tmp_path / "a.png"], tmp_path / "out", **options)
    assert seen == [(1,)]


def test_memory_that_runs_out_fails_the_image_and_not_the_run(run, tmp_path, monkeypatch):
    for name in "ab":
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / f"{name}.png")
    real, calls = predict_module.predict_classes, []

    def once(*arguments, **options):
        calls.append(options)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments, **options)

    monkeypatch.setattr(predict_module, "predict_classes", once)
    report = predict_images(run / "best.pt", [tmp_path], tmp_path / "out")
    assert [p.name for p in report.written] == ["b.png"]
    assert "memory ran out" in report.failures["a"] and "--window" in report.failures["a"]
    assert calls[0]["overlap"] == load_checkpoint(run / "best.pt").recipe.evaluate.overlap


def test_names_are_never_paths_and_never_collide(run, tmp_path):
    for sub in ("one", "two"):
        (tmp_path / sub).mkdir()
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / sub / "scan.png")
    report = predict_images(run / "best.pt", [tmp_path / "one", tmp_path / "two"],
                            tmp_path / "out")  # fmt: skip
    assert sorted(p.name for p in report.written) == ["scan.png", "scan_2.png"]


@pytest.mark.parametrize("name", ["meta", "vulkan", "nonesuch", "cuda:99"])
def test_devices_that_cannot_compute(name):
    with pytest.raises(UsageError, match=name):
        choose_device(name)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(UsageError, match="sees no CUDA device"):
        choose_device("cuda")
    with pytest.raises(UsageError, match="no device 'tpux'"):
        choose_device("tpux")


@pytest.mark.parametrize("slices", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("spacing_mm", [None, (3.0, 0.5, 0.25)])
def test_tiff_volumes_of_any_number_of_slices_stay_volumes(tmp_path, slices, dtype, spacing_mm):
    labels = np.arange(slices * 30).reshape(slices, 5, 6).astype(dtype)
    image = tmp_path / "a.tif"
    path = write_label_map(tmp_path / "out", "a", labels, image, None, spacing_mm)
    found = read_pixels(path)
    np.testing.assert_array_equal(found.values, labels)
    assert found.channel_axis is None and found.slice_axis == 0
    if spacing_mm is not None and dtype != np.int32:
        assert found.spacing_mm == pytest.approx(spacing_mm)


class ThreeChannels:
    """As much of a checkpoint as the search for images asks for."""

    channels = 3


def names_found(folder, checkpoint=ThreeChannels):
    return [(source.id, len(source.files)) for source in find_sources([folder], checkpoint)]


def test_numbered_frames_in_colour_are_no_channels(tmp_path):
    for number in range(3):
        Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / f"video_{number:04}.png")
    assert names_found(tmp_path) == [("video_0000", 1), ("video_0001", 1), ("video_0002", 1)]


def test_numbered_files_of_one_channel_are_channels(tmp_path):
    for number in range(3):
        Image.fromarray(np.zeros((8, 9), np.uint8)).save(tmp_path / f"case_{number:04}.png")
    assert names_found(tmp_path) == [("case", 3)]


def test_the_number_of_the_only_channel_is_no_part_of_the_name(tmp_path):
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "case_0000.png")
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "frame_0007.png")
    assert names_found(tmp_path) == [("case", 1), ("frame_0007", 1)]
