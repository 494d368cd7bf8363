"""Tests lie where their modules lie: ``tests/ROOM/test_MODULE.py`` of ``softlabel/ROOM/MODULE.py``.

So whoever changes a module finds its tests, and a module without tests is seen.
"""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGES = {
    "softlabel": (TESTS.parent / "softlabel", TESTS),
    "softlabel_train": (TESTS.parent / "train/softlabel_train", TESTS / "train"),
}

NO_CODE = ("__init__.py", "__main__.py", "_version.py")

TESTED_ELSEWHERE: dict[str, str] = {
    "bridges/cases.py": "test_monai.py, test_torchio.py: the cases of a split",
    "bridges/dense.py": "test_monai.py, test_torchio.py: what both are given",
    "bridges/outside.py": "test_monai.py, test_torchio.py: padding with background",
    "bridges/nnunet_prepared.py": "bridges/test_nnunet_prepare.py: what it writes is read by it",
    "nnunet/loss.py": "train/test_nnunet.py: the bridge as a whole",
    "nnunet/superpixels.py": "train/test_nnunet.py",
    "nnunet/trainer.py": "train/test_nnunet.py",
    "nnunet/transforms.py": "train/test_nnunet.py",
    "nnunet_trainers/soft_label_trainers.py": "train/test_nnunet.py",
    "readers/b2nd.py": "readers/test_nnunetpreprocessed.py",
    "tuning/figure.py": "cli/test_tune.py: the picture",
    "tuning/rows.py": "tuning/test_advice.py, test_sweep.py: rows are all that they read and make",
    "cache/transfer.py": "cache/test_pack.py: packing and unpacking are all that copy by it",
    "cli/unpack.py": "cli/test_pack.py",
    "console/drawing.py": "console/test_terminal.py: tables escape what a terminal would obey",
    "exports/case.py": "exports/test_run.py: grids and ids of every format",
    "exports/format.py": "exports/test_run.py: what every format is given",
    "exports/formats.py": "exports/test_run.py: the register",
    "generation/failures.py": "generation/test_report.py, test_shards.py",
    "distance/blocks.py": "distance/test_measure.py: what it asks for and gives",
    "distance/bounds.py": "distance/test_measure.py: a box too small gives other values",
    "distance/number_types.py": "distance/test_measure.py: every type gives the same values",
    "distance/transform.py": "distance/test_measure.py: the transform is all that it calls",
    "phantom/bodywall.py": "phantom/test_body.py: the anatomy as a whole",
    "phantom/landmarks.py": "phantom/test_body.py",
    "phantom/skeleton.py": "phantom/test_body.py",
    "phantom/vessels.py": "phantom/test_body.py",
    "phantom/viscera.py": "phantom/test_body.py",
    "preprocess/step.py": "preprocess/test_plan.py: every step has what it asks for",
    "preprocess/steps.py": "preprocess/test_plan.py: presets and their steps",
    "init.py": "train/cli/test_init.py: the recipe is its text",
    "cli/demonstration.py": "train/cli/test_train_oct.py, test_train_mri.py: what they share",
    "readers/annotated.py": "readers/test_coco.py, test_labelme.py: both list and read by it",
    "readers/dicomfiles.py": "readers/test_dicom.py",
    "readers/dicomseg.py": "readers/test_dicom.py",
    "readers/dicomseries.py": "readers/test_dicom.py",
    "readers/labeltables.py": "readers/test_classfile.py: class tables of programs",
    "readers/matlab5.py": "readers/test_matlab.py",
    "readers/rtstruct.py": "readers/test_dicom.py",
    "readers/voxelstream.py": "every file of readers/test_nifti.py, test_mgh.py, test_analyze.py",
    "readers/niftiplace.py": "readers/test_nifti.py: headers that contradict themselves",
    "reports/names.py": "reports/test_contents.py: what a page calls cases and files",
    "render/comparison_figure.py": "render/test_comparison.py: pictures are drawn by it",
    "softmaps/entropy.py": "render/test_picture.py: worked values",
    "softening/fusions.py": "softening/test_staple.py: all ways, and refusals",
    "softening/inputs.py": "softening/test_methods.py: what every method is given",
    "softening/windows.py": "softening/test_gaussian.py, test_svls.py: filters of one class",
}
"""Modules without a test file of their own, and why."""

TESTS_OF_THE_WHOLE = {
    "cache/test_compatibility.py": "caches of earlier versions",
    "cache/test_large_and_read_only.py": "thousands of parts, and folders that cannot be written",
    "cache/test_links.py": "folders of parts that are symbolic links",
    "cli/test_main.py": "the command line of softlabel",
    "cli/test_irregular.py": "commands that are given pipes, devices and folders for files",
    "faults/test_inputs.py": "damaged and hostile inputs of every kind",
    "faults/test_faults.py": "kills, full disks, flipped bits, runs that meet",
    "generation/test_plugins.py": "caches made by the methods of other packages",
    "readers/test_irregular.py": "readers that are given pipes, devices and folders for files",
    "readers/test_real_data.py": "scans of real patients, where they are",
    "reports/test_browser.py": "pages in a browser",
    "softening/test_properties.py": "what all methods promise",
    "test_benchmarks.py": "the folder benchmarks/",
    "test_constraints.py": "the oldest libraries that are allowed",
    "test_containers.py": "containers/",
    "test_contributing.py": "the walk-throughs of CONTRIBUTING.md",
    "test_docs.py": "the documentation and the READMEs",
    "test_examples.py": "the folder examples/",
    "test_imports.py": "the layers of docs/architecture.md",
    "test_mirror.py": "this",
    "test_public_names.py": "what the package softlabel offers",
    "train/cli/test_main.py": "the command line of softlabel-train",
    "train/test_nnunet.py": "the bridge to nnU-Net, in its own package",
    "train/test_signals.py": "how a training run is stopped",
    "train/test_package.py": "what the package softlabel_train offers",
}
"""Test files that belong to no single module, and what they are of."""


def modules(package):
    folder, _ = PACKAGES[package]
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if path.name not in NO_CODE
    }


def files_of_tests(package):
    """Test files by the module that they are of."""
    _, folder = PACKAGES[package]
    foreign = [other for _, other in PACKAGES.values() if other != folder]
    return {
        path.with_name(path.name.removeprefix("test_")).relative_to(folder).as_posix(): path
        for path in folder.rglob("test_*.py")
        if not any(path.is_relative_to(other) and folder in other.parents for other in foreign)
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_has_a_test_file(package):
    missing = modules(package) - set(files_of_tests(package))
    assert missing == {m for m in TESTED_ELSEWHERE if m in modules(package)}, package


@pytest.mark.parametrize("package", PACKAGES)
def test_every_test_file_has_a_module(package):
    rest = {
        path.relative_to(TESTS).as_posix()
        for module, path in files_of_tests(package).items()
        if module not in modules(package)
    }
    assert rest <= set(TESTS_OF_THE_WHOLE)


def test_what_is_listed_is_there():
    every = set.union(*map(modules, PACKAGES))
    assert set(TESTED_ELSEWHERE) <= every
    assert all((TESTS / name).is_file() for name in TESTS_OF_THE_WHOLE)
