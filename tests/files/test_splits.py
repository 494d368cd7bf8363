"""Files that say which cases train: what nnU-Net and spreadsheets write, and what is refused."""

import pytest

from softlabel.errors import UsageError
from softlabel.files.splits import read_split


def written(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


FOLDS = '[{"train": ["a", "b"], "val": ["c"]}, {"train": ["c"], "val": ["a", "b"]}]'


def test_a_fold_of_nnunet(tmp_path):
    path = written(tmp_path, "splits_final.json", FOLDS)
    assert read_split(path) == {"train": ("a", "b"), "validation": ("c",)}
    assert read_split(path, 1) == {"train": ("c",), "validation": ("a", "b")}
    with pytest.raises(UsageError, match=r"has no fold 2; its folds are 0, 1\.$"):
        read_split(path, 2)


def test_one_object_is_one_fold(tmp_path):
    path = written(tmp_path, "s.json", '{"training": ["a"], "test": ["b"]}')
    assert read_split(path) == {"train": ("a",), "evaluation": ("b",)}


def test_a_table_as_spreadsheets_write_it(tmp_path):
    text = "\ufeffpatient, part\r\nP 1,train\r\nP2,test\r\nP3,val\r\nP4,train\r\n"
    path = written(tmp_path, "s.csv", text)
    assert read_split(path) == {
        "train": ("P 1", "P4"), "evaluation": ("P2",), "validation": ("P3",),
    }  # fmt: skip


def test_a_table_with_folds(tmp_path):
    path = written(tmp_path, "s.csv", "case,fold,split\na,0,train\na,1,test\nb,1,train\nb,0,val\n")
    assert read_split(path, 0) == {"train": ("a",), "validation": ("b",)}
    assert read_split(path, 1) == {"evaluation": ("a",), "train": ("b",)}
    with pytest.raises(UsageError, match=r"has no fold 2; its folds are 0, 1\.$"):
        read_split(path, 2)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("s.txt", "", r"must end in \.json or \.csv"),
        ("s.json", "{", "cannot be used"),
        ("s.json", '[{"train": ["a"], "train": ["b"]}]', "has the key 'train' twice"),
        ("s.json", '[["a"]]', "fold 0 is another kind of value"),
        ("s.json", '[{"train": [1]}]', "fold 0 is another kind of value"),
        ("s.json", '[{"train": ["a"], "vall": ["b"]}]', "has the part 'vall'; expected train,"),
        ("s.json", '[{"train": ["a", "b", "a"]}]', "names 'a' twice in fold 0"),
        ("s.json", '[{"val": ["a"]}]', "nothing that trains in fold 0"),
        ("s.json", "[]", "has no fold 0; its folds are none"),
        ("s.csv", "", "has the columns none; expected one of case, id,"),
        ("s.csv", "case,role\na,train\n", "columns case, role; expected one of part, split"),
        ("s.csv", "case,part,fold\na,train,x\n", "has the fold 'x'; expected whole numbers"),
        ("s.csv", "case,part\na,train\na,val\n", "names 'a' twice in fold 0"),
        ("s.csv", "case,part\na\n", "has the part ''; expected train"),
        ("s.csv", "case,part\na,train\n", ""),
    ],
)
def test_what_is_no_split_is_refused_by_name(tmp_path, name, text, message):
    path = written(tmp_path, name, text)
    if not message:
        assert read_split(path) == {"train": ("a",)}
        with pytest.raises(UsageError, match="has no fold 1; its folds are 0"):
            read_split(path, 1)
        return
    with pytest.raises(UsageError, match=message) as error:
        read_split(path)
    assert str(path) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"gone\.json cannot be read \(No such file"):
        read_split(tmp_path / "gone.json")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=r"folder\.csv cannot be read"):
        read_split(tmp_path / "folder.csv")


def test_two_words_for_one_part_add_up(tmp_path):
    path = tmp_path / "split.json"
    path.write_text('{"train": ["a"], "val": ["b"], "validation": ["c"]}')
    assert sorted(read_split(path)["validation"]) == ["b", "c"]
