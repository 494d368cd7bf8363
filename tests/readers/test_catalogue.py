"""Recognition of formats, options, and what no reader may let out."""

from __future__ import annotations

import pytest

from softlabel.errors import SourceError, UsageError
from softlabel.readers import READERS, detect, list_dataset

from .factories import (
    WRITERS,
    write_duke,
    write_nnunet,
    write_pairs,
)


@pytest.mark.parametrize("name", READERS)
def test_every_format_is_recognised_and_says_so(tmp_path, name):
    WRITERS[name](tmp_path)
    reader, sentence = detect(tmp_path)
    assert reader.name == name and sentence
    dataset = list_dataset(tmp_path)
    assert dataset.format == name and dataset.root == tmp_path and dataset.refs
    assert set(dataset.options) == {option.name for option in reader.options}
    assert list_dataset(str(tmp_path), name) == dataset


def test_nothing_recognised_names_what_was_looked_for_and_the_mend(tmp_path):
    with pytest.raises(SourceError) as caught:
        list_dataset(tmp_path)
    for word in ("Subject_*.mat", "segm.nii.gz", "dataset.json", "images", "--format", *READERS):
        assert word in str(caught.value)


def test_several_folders_one_level_deeper_are_all_pointed_out(tmp_path):
    for name in ("a", "b", "c"):
        write_duke(tmp_path / name)
    with pytest.raises(SourceError, match=r"3 of its folders are data sets: a is Duke .*c is Duke"):
        detect(tmp_path)


@pytest.mark.parametrize("inside", ["imagesTr", "imagesTr/case_0_0000.nii.gz"])
def test_a_part_of_a_data_set_points_to_the_whole(tmp_path, inside):
    path = tmp_path / "Dataset001" / inside
    path.parent.mkdir(parents=True)
    path.touch() if path.suffix else path.mkdir()
    (tmp_path / "Dataset001" / "dataset.json").write_text(
        '{"file_ending": ".nii.gz", "labels": {"background": 0, "a": 1}, '
        '"channel_names": {"0": "T1"}}'
    )
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "Dataset001" / folder).mkdir(exist_ok=True)
    with pytest.raises(SourceError, match=r"It lies in .*Dataset001, which is nnU-Net"):
        detect(path)


def test_one_folder_of_pairs_points_to_both(tmp_path):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").touch()
    with pytest.raises(SourceError, match=r"It lies in .*, which is image/label pairs"):
        detect(tmp_path / "images")


def test_a_folder_one_level_deeper_is_pointed_out(tmp_path):
    write_duke(tmp_path / "2015_BOE_Chiu")
    with pytest.raises(SourceError, match="folder 2015_BOE_Chiu is Duke OCT-DME: 1 file"):
        list_dataset(tmp_path)


def test_several_recognised_need_a_word(tmp_path):
    write_duke(tmp_path)
    write_nnunet(tmp_path)
    with pytest.raises(SourceError, match=r"more than one format: .*--format duke\|nnunet"):
        list_dataset(tmp_path)
    assert list_dataset(tmp_path, "duke").format == "duke"
    assert list_dataset(tmp_path, "nnunet").format == "nnunet"


def test_the_general_format_does_not_compete(tmp_path):
    write_nnunet(tmp_path)  # imagesTr and labelsTr are usual folder names as well
    assert detect(tmp_path)[0].name == "nnunet"


def test_a_broken_dataset_json_is_said_and_not_passed_over(tmp_path):
    write_nnunet(tmp_path)
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(SourceError, match=r"dataset\.json is not valid JSON"):
        list_dataset(tmp_path)


def test_unknown_formats_options_and_folders(tmp_path):
    write_pairs(tmp_path)
    with pytest.raises(UsageError, match=r"no format 'nrd'; expected auto or duke\|mrbrains18"):
        list_dataset(tmp_path, "nrd")
    with pytest.raises(UsageError, match="format pairs has no option 'nope'; its options are: ima"):
        list_dataset(tmp_path, "pairs", {"nope": 1})
    with pytest.raises(UsageError, match="format pairs has no option 'grader'"):
        list_dataset(tmp_path, options={"grader": "both"})
    for format in ("auto", *READERS):
        with pytest.raises(SourceError, match="missing"):
            list_dataset(tmp_path / "missing", format)
    with pytest.raises(SourceError, match="does not exist"):
        detect(tmp_path / "missing")


def test_options_that_are_none_take_their_default(tmp_path):
    write_duke(tmp_path)
    assert list_dataset(tmp_path, options={"grader": None}) == list_dataset(tmp_path)


def test_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
    from pathlib import Path

    def forbidden(self):
        raise PermissionError(13, "Permission denied", str(self))

    write_pairs(tmp_path)
    monkeypatch.setattr(Path, "iterdir", forbidden)
    for format in ("auto", "pairs"):
        with pytest.raises(SourceError, match="cannot be listed \\(Permission denied\\)"):
            list_dataset(tmp_path, format)
