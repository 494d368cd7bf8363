"""Evaluation and prediction of a trained run."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from softlabel_train import predict as predict_module
from softlabel_train.checkpoint import load_checkpoint
from softlabel_train.cli import main
from softlabel_train.config import load_recipe
from softlabel_train.evaluate import cases_of_part, evaluate_run
from softlabel_train.labelfiles import write_label_map
from softlabel_train.loop import fit
from softlabel_train.metrics import evaluate
from softlabel_train.predict import (
    case_image,
    choose_device,
    load_network,
    normalised,
    predict_images,
    predict_probabilities,
)
from softlabel_train.scores import scores_from_csv

from softlabel.cache import open_cache
from softlabel.errors import UsageError
from softlabel.readers.imagefiles import read_label_map, read_pixels


@pytest.fixture(scope="module")
def run(oct_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "oct"
    recipe = load_recipe("smoke", [f"data.cache={oct_cache}", "generate={}", "train.pictures=0",
                                   "evaluate.against=[labels, truth, grader2]",
                                   "evaluate.unit=mm"])  # fmt: skip
    fit(recipe, folder, show=False)
    return folder


@pytest.fixture(scope="module")
def mri_run(mri_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "mri"
    recipe = load_recipe("smoke", [f"data.cache={mri_cache}", "generate={}", "train.pictures=0",
                                   "data.crop=[32, 32, 16]", "data.batch_size=2", "train.steps=2",
                                   "data.normalize=case",
                                   "evaluate.window=[32, 32, 16]"])  # fmt: skip
    fit(recipe, folder, show=False)
    return folder


def test_scores_are_those_of_the_metrics(run, oct_cache):
    found = evaluate_run(run)
    assert found.unit == "mm"
    cache = open_cache(oct_cache)
    checkpoint = load_checkpoint(run / "best.pt")
    net = load_network(checkpoint, "best.pt", "cpu")
    evaluated = {s.case for s in found.scores}
    assert {cache[c].group for c in evaluated} == {"Subject_03", "Subject_04"}
    case = cache[sorted(evaluated)[0]]
    p = predict_probabilities(net, case_image(case, checkpoint.intensity)).numpy()
    pred = p.argmax(0)  # label values of this cache are 0..9
    labels, truth = case.labels[...].astype(int), case.truth[...].astype(int)
    truth[labels == cache.ignore] = cache.ignore
    for against, target in (("labels", labels), ("truth", truth)):
        expected = evaluate(pred, target, range(1, 10), case.spacing_mm, ignore=cache.ignore)
        for value, name in list(cache.classes)[1:]:
            for metric, number in expected[value].items():
                mine = [s.value for s in found.scores if (s.against, s.case, s.label, s.metric)
                        == (against, case.id, name, metric)]  # fmt: skip
                assert mine == pytest.approx([number], nan_ok=True)
    calibration = {s.metric for s in found.scores if s.label == "all"}
    assert calibration == {"brier", "ece", "brier_boundary", "ece_boundary"}


def test_scores_are_written_as_csv_and_json(run):
    found = evaluate_run(run)
    back = scores_from_csv((found.folder / "cases.csv").read_text())
    assert len(back) == len(found.scores)
    content = json.loads((found.folder / "scores.json").read_text())
    assert content["part"] == "evaluation" and content["unit"] == "mm"
    assert {s["against"] for s in content["summary"]} == {"labels", "truth", "grader2"}
    dice = next(s for s in found.summary if (s.label, s.metric) == ("mean", "dice"))
    assert dice.cases == 6 and dice.low <= dice.mean <= dice.high


def test_parts_are_those_of_the_run_whatever_the_cache_has(run, oct_cache, tmp_path):
    checkpoint = load_checkpoint(run / "best.pt")
    with open_cache(oct_cache) as cache:
        groups = {case_id: cache[case_id].group for case_id in cache}
        assert {groups[c] for c in cases_of_part(cache, checkpoint, "evaluation")} == set(
            checkpoint.split["evaluation"]
        )
        with pytest.raises(UsageError, match="no patient that the run has not seen"):
            cases_of_part(cache, checkpoint, "new")
        trained_before = {"train": ("p1",), "validation": ("p2",), "evaluation": ("p3", "p4")}
        elsewhere = replace(checkpoint, split=trained_before)
        with pytest.raises(UsageError, match=r"none of the run's evaluation patients \(p3, p4\).*"
                           "--part new scores them"):  # fmt: skip
            cases_of_part(cache, elsewhere, "evaluation")
        assert cases_of_part(cache, elsewhere, "new") == list(groups)
    # one of two evaluated patients is not in this cache: the other is, and no trained one joins it
    split = dict(checkpoint.split) | {"evaluation": (*checkpoint.split["evaluation"][:1], "gone")}
    with open_cache(oct_cache) as cache:
        found = cases_of_part(cache, replace(checkpoint, split=split), "evaluation")
    assert {groups[c] for c in found} == set(split["evaluation"][:1])


def test_a_checkpoint_is_as_good_as_its_folder(run):
    config = load_checkpoint(run / "best.pt").recipe.evaluate.model_copy(update={"bootstrap": 0})
    assert evaluate_run(run / "best.pt", config=config).folder == run / "evaluation"


def test_other_parts_checkpoints_and_settings(run):
    config = load_checkpoint(run / "last.pt").recipe.evaluate.model_copy(
        update={"unit": "pixel", "against": ("labels",), "bootstrap": 0}
    )
    found = evaluate_run(run, checkpoint="last.pt", part="validation", config=config)
    assert found.unit == "pixels" and found.folder.name == "evaluation_validation"
    assert all(math.isnan(s.low) for s in found.summary)
    with pytest.raises(UsageError, match="evaluation, validation, train, new; got 'test'"):
        evaluate_run(run, part="test")
    missing = config.model_copy(update={"against": ("grader9",)})
    with pytest.raises(UsageError, match=r"'grader9'.*it has labels, truth, automatic, grader2"):
        evaluate_run(run, config=missing)


def test_a_cache_of_other_classes_or_images_is_refused(run, pairs_cache, mri_cache):
    with pytest.raises(UsageError, match=r"label values \[0, 128, 255\]"):
        evaluate_run(run, cache=pairs_cache)


def test_volumes_in_windows(mri_run):
    found = evaluate_run(mri_run)
    assert any(s.metric == "hd95" for s in found.scores)


def test_whole_images_and_windows_agree_on_a_pointwise_network():
    net = torch.nn.Conv2d(1, 3, 1)
    image = torch.randn(1, 1, 50, 70)
    whole = predict_probabilities(net, image)
    windows = predict_probabilities(net, image, window=(32, 32))
    torch.testing.assert_close(whole, windows, atol=1e-5, rtol=1e-4)
    assert whole.sum(0).numpy() == pytest.approx(1, abs=1e-5)


def test_predictions_have_names_that_every_system_can_write():
    taken: set[str] = set()
    ids = ["CON", "aux.x", "Größe 1", "a/b", "a_b", "A_B", "..", "scan"]
    names = [predict_module._free_name(case_id, taken) for case_id in ids]
    assert names == ["_CON", "_aux.x", "Größe 1", "a_b", "a_b_2", "A_B_3", "_", "scan"]


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
    from softlabel_train.predict import _own_intensity

    image = np.stack([read_pixels(p).values for p in sorted((tmp_path / "in").iterdir())])
    p = predict_probabilities(net, normalised(image, _own_intensity(image, None)),
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
    real = predict_module.predict_probabilities
    monkeypatch.setattr(
        predict_module, "predict_probabilities",
        lambda *a, **options: seen.append(options["window"]) or real(*a, **options),
    )  # fmt: skip
    call = CliRunner().invoke
    arguments = ["predict", str(run), str(tmp_path / "a.png"), "-o", str(tmp_path / "out"), "-q"]
    assert call(main, [*arguments, "--window", "32,32"]).exit_code == 0 and seen == [[32, 32]]
    wrong = call(main, [*arguments, "--window", "32x32"])
    assert wrong.exit_code == 2 and "such as 256,256" in wrong.output


def test_memory_that_runs_out_fails_the_image_and_not_the_run(run, tmp_path, monkeypatch):
    for name in "ab":
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / f"{name}.png")
    real, calls = predict_module.predict_probabilities, []

    def once(*arguments, **options):
        calls.append(options)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(*arguments, **options)

    monkeypatch.setattr(predict_module, "predict_probabilities", once)
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


def test_wide_label_values_find_a_format(tmp_path):
    labels = np.array([[0, 70_000]], np.uint32)
    path = write_label_map(tmp_path, "a", labels, tmp_path / "a.png", None)
    assert path.suffix == ".npy"
    np.testing.assert_array_equal(np.load(path), labels)
    sixteen = np.array([[0, 700]], np.uint16)
    path = write_label_map(tmp_path, "b", sixteen, tmp_path / "b.png", None)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), sixteen)


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
