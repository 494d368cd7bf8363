"""A small data set as nnU-Net v2 wants it: noisy volumes with a ball in a shell.

:func:`preprocess` takes it through nnU-Net's own preprocessor, with plans as its planner makes them
for this data set, but without its processes, each of which would load torch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

NAME = "Dataset001_Ball"
SHAPE = (48, 48, 12)
SPACING_MM = (1.0, 1.0, 3.0)
LABELS = {"background": 0, "shell": 1, "core": 2}
N_CASES = 5
"""nnU-Net's cross-validation has five folds."""

FOLDERS = {"raw": "nnUNet_raw", "preprocessed": "nnUNet_preprocessed", "results": "nnUNet_results"}


def make_volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (float32) and labels (uint8) of one case."""
    rng = np.random.default_rng(seed)
    centre = np.array(SHAPE) / 2 + rng.uniform(-3, 3, 3)
    at = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    radius = np.linalg.norm((at - centre) * SPACING_MM, axis=-1)
    labels = (radius < 15).astype(np.uint8) + (radius < 8)
    image = 100 + 60 * labels + rng.normal(0, 12, SHAPE)
    return image.astype(np.float32), labels


def dataset_json(labels: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT"},
        "labels": labels or LABELS,
        "numTraining": N_CASES,
        "file_ending": ".nii.gz",
    }


def write_raw(folder: Path) -> Path:
    """Write ``nnUNet_raw/Dataset001_Ball``; return its folder."""
    root = folder / NAME
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    affine = np.diag([*SPACING_MM, 1.0])
    for number in range(N_CASES):
        image, label = make_volume(number)
        case = f"ball_{number}"
        nibabel.save(nibabel.Nifti1Image(image, affine), root / f"imagesTr/{case}_0000.nii.gz")
        nibabel.save(nibabel.Nifti1Image(label, affine), root / f"labelsTr/{case}.nii.gz")
    (root / "dataset.json").write_text(json.dumps(dataset_json()))
    return root


def _configuration(name: str, spacing: list[float], patch: list[int]) -> dict[str, Any]:
    dims = len(patch)
    pooling = [[1] * dims, [1, 2, 2][-dims:], [2] * dims]
    resampling = {"order_z": 0, "force_separate_z": None}
    return {
        "data_identifier": f"nnUNetPlans_{name}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": patch,
        "median_image_size_in_voxels": [float(n) for n in patch],
        "spacing": spacing,
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, **resampling},
        "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, **resampling},
        "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
        "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, **resampling},
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": {
                "n_stages": 3,
                "features_per_stage": [4, 8, 16],
                "conv_op": f"torch.nn.modules.conv.Conv{dims}d",
                "kernel_sizes": [[3] * dims] * 3,
                "strides": pooling,
                "n_conv_per_stage": [1, 1, 1],
                "n_conv_per_stage_decoder": [1, 1],
                "conv_bias": True,
                "norm_op": f"torch.nn.modules.instancenorm.InstanceNorm{dims}d",
                "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                "dropout_op": None,
                "dropout_op_kwargs": None,
                "nonlin": "torch.nn.LeakyReLU",
                "nonlin_kwargs": {"inplace": True},
            },
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": dims == 2,
    }


def plans() -> dict[str, Any]:
    """Plans with the networks made small."""
    return {
        "dataset_name": NAME,
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": [3.0, 1.0, 1.0],
        "original_median_shape_after_transp": [12, 48, 48],
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {
            "2d": _configuration("2d", [1.0, 1.0], [40, 40]),
            "3d_fullres": _configuration("3d_fullres", [3.0, 1.0, 1.0], [8, 40, 40]),
        },
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {}},
    }


CONFIGURATIONS = ("2d", "3d_fullres")


def preprocess(raw: Path, preprocessed: Path) -> Path:
    """Preprocess the raw data set in this process; return ``nnUNet_preprocessed/DATASET``."""
    from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    root = preprocessed / NAME
    root.mkdir(parents=True)
    for name, content in (("dataset", dataset_json()), ("nnUNetPlans", plans()),
                          ("dataset_fingerprint", {})):  # fmt: skip
        (root / f"{name}.json").write_text(json.dumps(content))
    manager = PlansManager(plans())
    for name in CONFIGURATIONS:
        configuration = manager.get_configuration(name)
        folder = root / configuration.data_identifier
        folder.mkdir()
        for number in range(N_CASES):
            case = f"ball_{number}"
            DefaultPreprocessor(verbose=False).run_case_save(
                str(folder / case),
                [str(raw / NAME / f"imagesTr/{case}_0000.nii.gz")],
                str(raw / NAME / f"labelsTr/{case}.nii.gz"),
                manager, configuration, dataset_json(),
            )  # fmt: skip
    return root


@contextmanager
def environment(folder: Path, **more: str) -> Iterator[dict[str, str]]:
    """nnU-Net's environment variables, with no processes of its own."""
    values = {variable: str(folder / name) for name, variable in FOLDERS.items()}
    values |= {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", **more}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield values
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
