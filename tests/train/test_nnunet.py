"""nnU-Net's own trainer, loader, transforms and losses with soft labels."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

REASON = "needs nnU-Net: pip install '.[nnunet]'"
torch = pytest.importorskip("torch")
pytest.importorskip("nnunetv2", reason=REASON)

from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform  # noqa: E402
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms  # noqa: E402
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import (  # noqa: E402
    DownsampleSegForDSTransform,
)
from batchgeneratorsv2.transforms.utils.random import RandomTransform  # noqa: E402
from batchgeneratorsv2.transforms.utils.remove_label import RemoveLabelTansform  # noqa: E402
from bridges import nnunet_data as data  # noqa: E402
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader  # noqa: E402
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss  # noqa: E402
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper  # noqa: E402
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss  # noqa: E402
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer  # noqa: E402
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name  # noqa: E402
from nnunetv2.utilities.label_handling.label_handling import LabelManager  # noqa: E402
from softlabel_train.nnunet.loss import SoftLabelSupervision, at_resolution  # noqa: E402
from softlabel_train.nnunet.superpixels import (  # noqa: E402
    ChannelsOfCase,
    joined_ids,
    split_ids,
)
from softlabel_train.nnunet.trainer import (  # noqa: E402
    nnUNetTrainerSoftLabel,
    nnUNetTrainerSoftLabelWCE,
)

import softlabel  # noqa: E402
from softlabel.bridges import load_prepared, prepare, trainer_folder  # noqa: E402
from softlabel.errors import UsageError  # noqa: E402
from softlabel.readers import detect, list_dataset  # noqa: E402

CPU = torch.device("cpu")
SETTINGS = softlabel.Settings(superpixel_size=40)


@pytest.fixture(scope="module")
def ball(tmp_path_factory):
    """The data set preprocessed and prepared, and nnU-Net's environment."""
    folder = tmp_path_factory.mktemp("nnunet")
    with data.environment(folder):
        data.write_raw(folder / "raw")
        root = data.preprocess(folder / "raw", folder / "preprocessed")
        for name in data.CONFIGURATIONS:
            prepare(root / f"nnUNetPlans_{name}", SETTINGS)
        yield root


def make_trainer(kind, configuration="2d", labels=None, plans=None):
    """A trainer as nnUNetv2_train makes it, with short epochs."""
    made = kind(
        plans=(plans or data.plans()) | {"continue_training": False},
        configuration=configuration, fold=0, dataset_json=data.dataset_json(labels), device=CPU,
    )  # fmt: skip
    made.num_epochs, made.num_iterations_per_epoch, made.num_val_iterations_per_epoch = 2, 2, 1
    return made


def started(configuration="2d", kind=nnUNetTrainerSoftLabel, plans=None):
    made = make_trainer(kind, configuration, plans=plans)
    made.on_train_start()
    return made


# --- ids ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
def test_ids_come_back_from_channels_of_16_bits(channels):
    highest = (1 << 15 * channels) - 2
    ids = np.random.default_rng(0).integers(-1, highest, (2, 300), endpoint=True)
    ids[0, :3] = -1, 0, highest
    split = split_ids(ids, channels)
    assert split.dtype == np.int16 and split.min() >= 0
    joined = joined_ids(torch.from_numpy(np.moveaxis(split, 0, 1)))
    np.testing.assert_array_equal(joined.numpy(), ids)


def test_what_nnu_net_pads_and_makes_background_has_no_superpixel():
    channels = torch.full((2, 4, 4), -1, dtype=torch.int16)
    (segmentation,) = RemoveLabelTansform(-1, 0)(segmentation=channels).values()
    assert (joined_ids(segmentation[None]) == -1).all()


# --- augmentation ---------------------------------------------------------------------------------

SPATIAL = (10, 64, 64)
LABELS = LabelManager(data.LABELS, None)


class Places:
    """A case whose image says where its voxels are, and whose ids number them."""

    identifiers = ("a",)

    def __init__(self, cascade=False):
        at = np.stack(np.meshgrid(*map(np.arange, SPATIAL), indexing="ij")).astype(np.float32)
        self.image = np.concatenate([at, np.ones((1, *SPATIAL), np.float32)])  # 1 inside
        self.ids = np.arange(np.prod(SPATIAL)).reshape(SPATIAL)  # up to 40,959: two channels
        self.labels = (self.ids // 500 % 3).astype(np.int16)[None]
        self.previous = (self.ids // 700 % 3).astype(np.int16) if cascade else None

    def load_case(self, name):
        channels = ChannelsOfCase(self.labels, self.previous, self.ids, 2)
        return self.image, channels, None, {"class_locations": {1: [], 2: []}}


def only_spatial(transforms):
    """Without what changes intensities, and with every patch turned and scaled."""
    kept = [t for t in transforms.transforms if not isinstance(t, RandomTransform)]
    for transform in kept:
        if hasattr(transform, "spatial"):
            transform.spatial.p_rotation = transform.spatial.p_scaling = 1
    return ComposeTransforms(kept)


def transforms(patch, dummy_2d, cascade=False, scales=None):
    return nnUNetTrainerSoftLabel.get_training_transforms(
        patch, (-0.5, 0.5), scales, (0, 1, 2)[: len(patch)], dummy_2d,
        use_mask_for_norm=[False], is_cascaded=cascade, foreground_labels=[1, 2], regions=None,
        ignore_label=None,
    )  # fmt: skip


def seed_nnunet(seed):
    """nnU-Net draws from the global generators of NumPy and torch."""
    np.random.seed(seed)  # noqa: NPY002
    torch.manual_seed(seed)


def patches(patch, dummy_2d, cascade=False):
    """Image and segmentation channels of a batch of augmented patches."""
    seed_nnunet(0)
    larger = [n if dummy_2d and axis == 0 else int(n * 1.4) for axis, n in enumerate(patch)]
    loader = nnUNetDataLoader(
        Places(cascade), 6, larger, patch, LABELS,
        transforms=only_spatial(transforms(patch, dummy_2d, cascade)),
    )  # fmt: skip
    batch = next(loader)
    return batch["data"], batch["target"]


AUGMENTATIONS = pytest.mark.parametrize(
    ("patch", "dummy_2d"),
    [((56, 56), False), ((8, 30, 30), False), ((8, 50, 50), True)],
    ids=["slices", "volumes", "volumes turned in the plane"],
)


@AUGMENTATIONS
def test_every_pixel_has_the_superpixel_of_the_nearest_voxel(patch, dummy_2d):
    """The image interpolates where a pixel came from, so it says which voxel is the nearest."""
    image, channels = patches(patch, dummy_2d)
    ids = joined_ids(channels[:, 1:]).numpy()
    place, within = image.numpy()[:, :3], image.numpy()[:, 3]
    found = np.stack(np.unravel_index(np.maximum(ids, 0), SPATIAL), axis=1)
    away = np.abs(found - place).max(axis=1)
    inside = within > 1 - 1e-6
    assert inside.mean() > 0.4 and (ids[inside] >= 0).all()
    assert away[inside].max() <= 0.5 + 1e-3
    fraction = np.abs(place - np.round(place)).max(axis=1)
    assert fraction[inside].max() > 0.4  # they were turned and scaled indeed
    outside = within == 0
    assert outside.any() and (ids[outside] == -1).all()
    assert (channels.numpy()[:, 0][outside] == 0).all()


@pytest.mark.parametrize("cascade", [False, True])
def test_images_and_labels_are_augmented_as_without_superpixels(cascade):
    """The same random numbers give the same; a cascade's previous stage is a part of the image."""
    patch, found = (56, 56), []
    for kind in (nnUNetTrainer, nnUNetTrainerSoftLabel):
        seed_nnunet(3)
        places = Places(cascade)
        if kind is nnUNetTrainer:
            case = (places.image, places.labels, places.previous, places.load_case("a")[3])
            places.load_case = lambda name, case=case: case
        composed = kind.get_training_transforms(
            patch, (-0.5, 0.5), None, (0, 1), False, use_mask_for_norm=[False],
            is_cascaded=cascade, foreground_labels=[1, 2], regions=None, ignore_label=None,
        )  # fmt: skip
        loader = nnUNetDataLoader(places, 16, (70, 70), patch, LABELS, transforms=composed)
        batch = next(loader)
        found.append((batch["data"], batch["target"][:, :1]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


@AUGMENTATIONS
def test_the_cascade_keeps_its_previous_stage_beside_superpixels(patch, dummy_2d):
    image, channels = patches(patch, dummy_2d, cascade=True)
    assert image.shape[1] == 4 + 2 and channels.shape[1] == 1 + 2
    ids = joined_ids(channels[:, 1:]).numpy()
    places = Places(cascade=True)
    for layer, value in enumerate((1, 2)):
        expected = (places.previous.ravel()[np.maximum(ids, 0)] == value) & (ids >= 0)
        agree = image[:, 4 + layer].numpy().astype(bool) == expected
        assert agree.mean() > 0.9  # its boundaries are interpolated otherwise than ids


def test_resolutions_take_the_pixels_that_nnu_net_takes():
    labels = torch.randint(0, 3, (1, 13, 22, 21), dtype=torch.int16)
    soft = torch.nn.functional.one_hot(labels[0].long(), 3).movedim(-1, 0)[None].float()
    scales = [[1, 1, 1], [1, 0.5, 0.5], [0.5, 0.25, 0.25]]
    for of_labels in DownsampleSegForDSTransform(scales)(segmentation=labels)["segmentation"]:
        of_soft = at_resolution(soft, of_labels.shape[1:])
        np.testing.assert_array_equal(of_soft[0].argmax(0).numpy(), of_labels[0].numpy())


def test_mirroring_alone_moves_nothing_else():
    _, channels, _, _ = Places().load_case("a")
    stored = torch.from_numpy(channels[:, 0:8, 0:30, 0:30])
    turned = MirrorTransform((0, 1, 2))._apply_to_segmentation(stored, axes=[0, 2])
    expected = Places().ids[0:8, 0:30, 0:30][::-1, :, ::-1]
    np.testing.assert_array_equal(joined_ids(turned[None, 1:])[0].numpy(), expected)


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("configuration", data.CONFIGURATIONS)
def test_the_target_is_soften_of_the_augmented_patch(ball, configuration):
    trainer = started(configuration)
    only_spatial(trainer.dataloader_train.data_loader.transforms)
    soft_pixels = 0
    for loader in (trainer.dataloader_train, trainer.dataloader_val):
        for _ in range(3):
            batch = next(loader)
            assert [t.dtype for t in batch["target"]] == [torch.int16] * len(batch["target"])
            trainer._with_soft_labels(batch)
            target = trainer.loss.soft.numpy()
            channels = batch["target"][0]
            for patch, ids, found in zip(
                channels[:, 0].numpy(), joined_ids(channels[:, 1:]).numpy(), target, strict=True
            ):
                expected = softlabel.soften(patch, ids, classes=(0, 1, 2)).dense()
                np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
                soft_pixels += np.count_nonzero((found > 0) & (found < 1))
    assert soft_pixels > 1000


def test_the_target_follows_the_settings_of_prepare(ball):
    images = ball / "nnUNetPlans_3d_fullres"
    before = load_prepared(images)
    options = {"boundary": "edge", "scale": 2.0, "distance_unit": "mm", "normalize": "sum"}
    try:
        prepare(images, softlabel.Settings(superpixel_size=40, **options))
        trainer = started("3d_fullres")
        batch = next(trainer.dataloader_train)
        trainer._with_soft_labels(batch)
        expected = softlabel.soften(
            batch["target"][0][0, 0].numpy(),
            joined_ids(batch["target"][0][:, 1:])[0].numpy(),
            classes=(0, 1, 2), boundary="edge", scale=2.0, normalize="sum", spacing=(3, 1, 1),
        ).dense()  # fmt: skip
        np.testing.assert_allclose(trainer.loss.soft[0].numpy(), expected, rtol=0, atol=1e-6)
    finally:
        prepare(images, SETTINGS)
        assert load_prepared(images).settings == before.settings


def test_ignored_pixels_make_no_boundary_in_the_target(ball):
    labels = {"background": 0, "shell": 1, "core": 2, "ignore": 3}
    trainer = make_trainer(nnUNetTrainerSoftLabel, labels=labels)
    trainer.prepared = load_prepared(ball / "nnUNetPlans_2d")
    rng = np.random.default_rng(0)
    patch = np.repeat(np.repeat(rng.integers(0, 4, (2, 5, 5)), 6, axis=1), 6, axis=2)
    ids = np.arange(30 * 30).reshape(30, 30) // 90
    split = np.stack([split_ids(ids, 1)] * 2)
    channels = np.concatenate([patch[:, None].astype(np.int16), split], axis=1)
    found = trainer.soft_labels(torch.from_numpy(channels)).numpy()
    for one, soft in zip(patch, found, strict=True):
        expected = softlabel.soften(one, ids, classes=(0, 1, 2), ignore=3).dense()
        np.testing.assert_allclose(soft, expected, rtol=0, atol=1e-6)
        assert (soft[:, one == 3] == 0).all()


# --- loss -----------------------------------------------------------------------------------------


def stock_loss(ignore=None):
    loss = DC_and_CE_loss(
        {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}, {}, weight_ce=1,
        weight_dice=1, ignore_label=ignore, dice_class=MemoryEfficientSoftDiceLoss,
    )  # fmt: skip
    return DeepSupervisionWrapper(loss, (0.6, 0.4, 0.0))


def batch_of_logits(ignore=None):
    generator = torch.Generator().manual_seed(1)
    shapes = ((12, 10), (6, 5), (3, 3))
    logits = [torch.randn((2, 3, *s), generator=generator, requires_grad=True) for s in shapes]
    labels = [torch.randint(0, 3, (2, 1, *s), generator=generator).short() for s in shapes]
    if ignore is not None:
        for label in labels:
            label[:, :, :2] = ignore
    soft = torch.rand((2, 3, 12, 10), generator=generator)
    return logits, labels, soft


@pytest.mark.parametrize("ignore", [None, 3])
def test_without_kl_the_loss_is_that_of_nnu_net(ignore):
    logits, labels, _ = batch_of_logits(ignore)
    expected = stock_loss(ignore)(logits, labels)
    found = SoftLabelSupervision(stock_loss(ignore), 0.0, ignore)(logits, labels)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    for one, other in zip(
        torch.autograd.grad(found, logits[:2]), torch.autograd.grad(expected, logits[:2]),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(one, other, rtol=0, atol=1e-7)


@pytest.mark.parametrize("ignore", [None, 3])
def test_kl_is_added_at_every_resolution(ignore):
    logits, labels, soft = batch_of_logits(ignore)
    loss = SoftLabelSupervision(stock_loss(ignore), 2.0, ignore)
    loss.soft = soft
    divergence = 0.0
    for weight, output, label in zip((0.6, 0.4), logits, labels, strict=False):
        step = soft.shape[2] // output.shape[2]
        q = soft.double().numpy()[:, :, step // 2 :: step, step // 2 :: step]
        log_p = torch.log_softmax(output.double(), 1).detach().numpy()
        known = label[:, 0].numpy() != (-1 if ignore is None else ignore)
        divergence += weight * (q * (np.log(q) - log_p)).sum(1)[known].mean()
    expected = stock_loss(ignore)(logits, labels).item() + 2 * divergence
    assert loss(logits, labels).item() == pytest.approx(expected, rel=1e-5)


def test_one_resolution_and_class_weights():
    logits, labels, soft = batch_of_logits()
    loss = SoftLabelSupervision(stock_loss().loss, 1.0, None)
    loss.soft = soft
    plain = loss(logits[0], labels[0])
    loss.set_class_weights([1.0, 2.0, 5.0])
    log_p = torch.log_softmax(logits[0], 1)
    own = -log_p.gather(1, labels[0].long())
    extra = (own * torch.tensor([0.0, 1.0, 4.0])[labels[0].long()]).mean()
    torch.testing.assert_close(loss(logits[0], labels[0]) - plain, extra)


def test_soft_labels_of_another_batch_are_refused():
    logits, labels, soft = batch_of_logits()
    loss = SoftLabelSupervision(stock_loss(), 1.0, None)
    with pytest.raises(ValueError, match="the soft labels have shape None"):
        loss(logits, labels)
    loss.soft = soft[:1]
    with pytest.raises(ValueError, match=r"shape \(1, 3, 12, 10\), the finest logits \(2, "):
        loss(logits, labels)


# --- the trainer ----------------------------------------------------------------------------------


def test_nnu_net_finds_the_trainers_and_can_send_them_to_processes(monkeypatch):
    monkeypatch.setenv("nnUNet_extTrainer", str(trainer_folder()))
    for expected in (nnUNetTrainerSoftLabel, nnUNetTrainerSoftLabelWCE):
        found = recursive_find_trainer_class_by_name(expected.__name__)
        assert found is expected and pickle.loads(pickle.dumps(found)) is found


def test_the_loader_can_be_sent_to_processes(ball):
    """Where processes are not forked, they get pickled copies of loader and transforms."""
    loader = started().dataloader_train.data_loader
    assert pickle.loads(pickle.dumps(loader)).indices == loader.indices


@pytest.mark.parametrize("deep_supervision", [True, False])
def test_steps_of_training_and_validation(ball, deep_supervision):
    trainer = make_trainer(nnUNetTrainerSoftLabel)
    trainer.enable_deep_supervision = deep_supervision
    trainer.on_train_start()
    before = [p.detach().clone() for p in trainer.network.parameters()]
    trainer.network.train()
    result = trainer.train_step(next(trainer.dataloader_train))
    assert np.isfinite(result["loss"])
    assert any(
        not torch.equal(p, q) for p, q in zip(before, trainer.network.parameters(), strict=True)
    )
    trainer.network.eval()
    result = trainer.validation_step(next(trainer.dataloader_val))
    assert np.isfinite(result["loss"]) and result["tp_hard"].shape == (2,)
    # Every pixel that is predicted or annotated is counted once, by labels and not by ids.
    total = result["tp_hard"] + result["fn_hard"]
    assert total.sum() <= 2 * 40 * 40


def test_classes_are_weighted_by_their_pixels_in_the_training_cases(ball):
    trainer = started(kind=nnUNetTrainerSoftLabelWCE)
    training, _ = trainer.do_split()
    counts = np.zeros(3)
    for case in training:
        _, labels = data.make_volume(int(case[-1]))
        counts += np.bincount(labels.ravel(), minlength=3)
    expected = 1 / np.log(1.02 + counts / counts.sum())
    np.testing.assert_allclose(trainer.loss.entropies.weights.numpy(), expected, rtol=1e-6)
    assert trainer.kl_weight == 1 and np.isfinite(
        trainer.train_step(next(trainer.dataloader_train))["loss"]
    )


def test_regions_are_refused_before_anything_starts(ball):
    plans = data.plans()
    labels = {"background": 0, "whole": [1, 2], "core": 2}
    trainer = nnUNetTrainerSoftLabel(
        plans | {"continue_training": False}, "2d", 0,
        data.dataset_json(labels) | {"regions_class_order": [1, 2]}, CPU,
    )  # fmt: skip
    with pytest.raises(UsageError, match="has regions, which nnU-Net trains by a sigmoid each"):
        trainer.on_train_start()
    assert trainer.dataloader_train is None


def test_superpixels_that_are_missing_are_refused_with_the_command(ball):
    images = ball / "nnUNetPlans_2d"
    prepared = load_prepared(images)
    path = prepared.path("ball_1")
    content = path.read_bytes()
    path.unlink()
    try:
        trainer = make_trainer(nnUNetTrainerSoftLabel)
        with pytest.raises(UsageError, match=rf"of ball_1; .* softlabel nnunet prepare {images}"):
            trainer.on_train_start()
    finally:
        path.write_bytes(content)


def test_validation_alone_needs_no_superpixels(ball):
    """``nnUNetv2_train --val`` loads a checkpoint, and predicts."""
    trainer = make_trainer(nnUNetTrainerSoftLabelWCE)
    trainer.initialize()
    assert trainer.prepared is None


def test_another_pipeline_is_refused(monkeypatch):
    monkeypatch.setattr(
        nnUNetTrainer, "get_training_transforms",
        staticmethod(lambda *args, **options: ComposeTransforms([])),
    )  # fmt: skip
    with pytest.raises(ValueError, match="has 0 SpatialTransforms; expected one"):
        transforms((8, 8), False)


def test_the_reader_reads_what_nnu_net_wrote(ball):
    """Against nnU-Net's own reading, and against the raw data, which needed no resampling."""
    from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2

    assert detect(ball)[0].name == "nnunet-preprocessed"
    dataset = list_dataset(ball, options={"configuration": "nnUNetPlans_3d_fullres"})
    from softlabel.readers import READERS

    case = READERS[dataset.format].read_case(dataset, dataset.refs[2], None)
    theirs = nnUNetDatasetBlosc2(str(ball / "nnUNetPlans_3d_fullres"))
    image, labels, _, _ = theirs.load_case(case.id)
    np.testing.assert_array_equal(case.image, image[:])
    np.testing.assert_array_equal(case.labels, np.maximum(labels[0], 0))
    raw, raw_labels = data.make_volume(2)
    np.testing.assert_array_equal(case.labels, raw_labels.transpose(2, 1, 0))
    expected = raw.transpose(2, 1, 0)
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(case.image[0], expected, rtol=0, atol=1e-4)
    assert case.spacing_mm == (3.0, 1.0, 1.0) and case.slice_axis == 0


# --- from the command line ------------------------------------------------------------------------

SHORT = """
from softlabel_train.nnunet.trainer import nnUNetTrainerSoftLabel as Trainer


class nnUNetTrainerSoftLabel(Trainer):
    def initialize(self):
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 3, 1
        super().initialize()
"""


@pytest.mark.slow
def test_two_epochs_and_a_prediction_from_the_command_line(tmp_path):
    """nnU-Net's own commands from the raw data on; the trainer's epochs are made short."""
    (tmp_path / "short").mkdir()
    (tmp_path / "short/short_trainer.py").write_text(SHORT)
    raw = data.write_raw(tmp_path / "raw")
    root = Path(softlabel.__file__).parents[1]
    with data.environment(
        tmp_path, nnUNet_extTrainer=f"{tmp_path / 'short'}{os.pathsep}{trainer_folder()}",
        nnUNet_n_proc_DA="1", OMP_NUM_THREADS="1",
        PYTHONPATH=os.pathsep.join([str(root), str(root / "train")]),
    ):  # fmt: skip
        call("nnUNetv2_plan_and_preprocess", "-d", "1", "-c", "2d", "-np", "1", "-npfp", "1")
        images = tmp_path / "preprocessed" / data.NAME / "nnUNetPlans_2d"
        prepare(images, SETTINGS)
        call("nnUNetv2_train", "1", "2d", "0", "-tr", "nnUNetTrainerSoftLabel", "-device", "cpu")
        call(
            "nnUNetv2_predict", "-d", "1", "-c", "2d", "-f", "0", "-tr", "nnUNetTrainerSoftLabel",
            "-device", "cpu", "-i", raw / "imagesTr", "-o", tmp_path / "out", "-npp", "1",
            "-nps", "1", "--disable_tta",
        )  # fmt: skip
    run = tmp_path / f"results/{data.NAME}/nnUNetTrainerSoftLabel__nnUNetPlans__2d/fold_0"
    (log,) = run.glob("training_log_*.txt")
    assert "Epoch 1" in log.read_text() and "Validation complete" in log.read_text()
    assert (run / "checkpoint_final.pth").is_file()
    assert json.loads((run / "validation/summary.json").read_text())["metric_per_case"]
    assert len(list((tmp_path / "out").glob("ball_*.nii.gz"))) == data.N_CASES


def call(program, *arguments):
    """Run a command of nnU-Net that lies beside this Python."""
    path = Path(sys.executable).parent / program
    done = subprocess.run(
        [sys.executable, str(path), *map(str, arguments)], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return SimpleNamespace(out=done.stdout)
