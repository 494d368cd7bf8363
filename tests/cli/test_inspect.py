"""``softlabel inspect``."""

import shutil
import subprocess
import sys
from dataclasses import replace

import factories
import pytest
from click.testing import CliRunner
from PIL import Image

from softlabel.cli import main
from softlabel.render.cases import case_picture
from softlabel.render.sections import View


def inspect(*arguments, dpi=40):
    return CliRunner().invoke(main, ["inspect", *map(str, arguments), "--dpi", str(dpi)])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return factories.make_cache(tmp_path_factory.mktemp("cache"), ("a", "b", "scan 1"))


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    return factories.full_cache(tmp_path_factory.mktemp("volume"))


@pytest.fixture
def views(monkeypatch):
    """The views that are drawn."""
    seen = []

    def record(opened, case_id, view):
        seen.append((case_id, view))
        return case_picture(opened, case_id, view)

    monkeypatch.setattr("softlabel.render.cases.case_picture", record)
    return seen


def test_every_case_becomes_a_picture_beside_the_cache(cache):
    folder = cache.with_name("c.overlays")
    shutil.rmtree(folder, ignore_errors=True)
    result = inspect(cache)
    assert result.exit_code == 0, result.output
    written = sorted(folder.iterdir())
    assert sorted(result.stdout.splitlines()) == [str(path) for path in written]
    assert [path.name.split("-")[0] for path in written] == ["a.png", "b.png", "scan_1"]
    assert "pictures: 3 of 3" in result.stderr
    for path in written:
        with Image.open(path) as image:
            image.load()


def test_only_some_cases(cache, tmp_path):
    result = inspect(cache, "b", "scan*", "-o", tmp_path / "x" / "y")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 2
    assert (tmp_path / "x" / "y" / "b.png").is_file()
    assert not (tmp_path / "x" / "y" / "a.png").exists()


def test_an_id_that_looks_like_a_pattern_is_an_id(tmp_path):
    cache = factories.make_cache(tmp_path, ("[ab]", "a"))
    result = inspect(cache, "[ab]")
    assert len(result.stdout.splitlines()) == 1
    assert "+" not in result.stdout
    assert not (tmp_path / "c.overlays" / "a.png").exists()


def test_a_window_of_intensities(cache, tmp_path, views):
    result = inspect(cache, "a", "--window", 50, 99.5, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert views == [("a", View(window=(50.0, 99.5)))]
    assert [path.name for path in tmp_path.iterdir()] == ["a+window-50-99.5.png"]
    for low, high in ((5, 5), (5, 1), ("nan", 1), (0, "inf")):
        result = inspect(cache, "a", "--window", low, high)
        assert result.exit_code == 2 and "window" in result.stderr


def test_the_first_cases(cache, tmp_path):
    result = inspect(cache, "--limit", 2, "-o", tmp_path)
    assert [line.rpartition("/")[2] for line in result.stdout.splitlines()] == ["a.png", "b.png"]


def test_one_case_has_no_progress_and_quiet_has_none_at_all(cache, tmp_path):
    assert inspect(cache, "a", "-o", tmp_path).stderr == ""
    assert inspect(cache, "-q", "-o", tmp_path).stderr == ""
    verbose = inspect(cache, "-v", "-o", tmp_path).stderr
    assert {"a", "b", "scan 1"} <= set(verbose.splitlines())


def test_options_become_a_view(volume, tmp_path, views):
    options = ["--class", "shell", "--channel", "T2", "--axis", 0, "--slice", 3, "--zoom"]
    result = inspect(volume, *options, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    ((_, view),) = views
    assert view == View(1, 1, 0, 3, 4, True)
    assert result.stdout.endswith("+class-7-shell+channel-1+axis-0+slice-3+zoom.png\n")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], View()),
        (["--class", "300"], View(class_index=2)),
        (["--class", "größter Kern"], View(class_index=2)),
        (["--channel", "1"], View(channel=1)),
        (["--slices", "2"], View(slices=2)),
    ],
)
def test_classes_and_channels_go_by_name_or_number(volume, tmp_path, views, options, expected):
    result = inspect(volume, *options, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert [view for _, view in views] == [expected]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody"], "has no case 'nobody'; it has a, b, scan 1"),
        (["x*"], "has no case 'x*'"),
        (["--class", "liver"], "no class 'liver'; the classes are: 0 (label 0), 128 (label 128)"),
        (["--channel", "T1"], "no channel 'T1'; its channels are intensity"),
        (["--channel", "7"], "no channel 7; it has channel 0 only"),
        (["--channel", "-1"], "no channel '-1'"),
        (["--slice", "0"], "has no slices"),
        (["--axis", "0"], "has no slices"),
    ],
)
def test_what_there_is_not_is_named_with_what_there_is(cache, tmp_path, arguments, words):
    result = inspect(cache, *arguments, "-o", tmp_path / "new")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--axis", "3"], "no axis 3; its axes are 0 to 2"),
        (["--slice", "5"], "no slice 5 along axis 2; it has the slices 0 to 4"),
        (["--channel", "FLAIR"], "no channel 'FLAIR'; its channels are T1, T2"),
    ],
)
def test_what_a_volume_has_not_is_named_with_what_it_has(volume, tmp_path, arguments, words):
    result = inspect(volume, *arguments, "-o", tmp_path)
    assert result.exit_code == 2
    assert words in result.stderr


def test_channels_without_names_are_asked_for_by_index(tmp_path, views):
    cache = factories.full_cache(tmp_path, [replace(factories.full_case(), channels=())])
    assert inspect(cache, "--channel", "1", "-o", tmp_path / "x").exit_code == 0
    assert [view.channel for _, view in views] == [1]
    result = inspect(cache, "--channel", "T1", "-o", tmp_path / "x")
    assert result.exit_code == 2
    assert "no channel 'T1'; its channels have no names: give an index" in result.stderr


def test_a_long_list_of_cases_is_cut(tmp_path):
    cache = factories.make_cache(tmp_path, [f"case{n}" for n in range(13)])
    assert "case9 and 3 more (`softlabel info -v`" in inspect(cache, "x").stderr


def test_no_cache(tmp_path):
    result = inspect(tmp_path / "c.h5")
    assert result.exit_code == 2
    assert f"There is no cache file {tmp_path / 'c.h5'}" in result.stderr


def test_a_folder_that_is_a_file_is_refused(cache, tmp_path):
    (tmp_path / "file").write_text("")
    assert inspect(cache, "-o", tmp_path / "file").exit_code == 2
    result = inspect(cache, "-o", tmp_path / "file" / "x")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_a_damaged_case_is_listed_and_the_others_are_drawn(cache, tmp_path):
    broken = factories.copy_cache(cache, tmp_path)
    factories.part(broken, "b").write_bytes(b"no HDF5")
    result = inspect(broken)
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 2
    assert "failed: b: " in result.stderr
    assert "1 case of 3 could not be drawn: b" in result.stderr
    alone = inspect(broken, "b")
    assert alone.exit_code == 1
    assert str(factories.part(broken, "b")) in alone.stderr


def test_ids_that_differ_only_in_case_have_files_that_differ_in_more(tmp_path):
    cache = factories.make_cache(tmp_path, ("a", "A"))
    names = [line.rpartition("/")[2].lower() for line in inspect(cache).stdout.splitlines()]
    assert len(set(names)) == 2


def test_more_workers_draw_the_same(cache, tmp_path):
    assert inspect(cache, "-o", tmp_path / "one", "-j", 1).exit_code == 0
    assert inspect(cache, "-o", tmp_path / "two", "-j", 2).exit_code == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_help_does_not_wait_for_matplotlib():
    code = (
        "import sys\n"
        "from softlabel.cli import main\n"
        "main(['inspect', '--help'], standalone_mode=False)\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for option in ("--class", "--slice", "--axis", "--channel", "--zoom", "--dpi", "--output"):
        assert option in shown.stdout


def test_a_preprocessed_case_is_shown_before_and_after_its_steps(tmp_path):
    cache = factories.oct_cache(tmp_path)
    result = inspect(cache)
    folder = cache.with_suffix(".overlays")
    expected = [folder / "scan.png", folder / "scan+steps.png"]
    assert result.stdout.split() == [str(path) for path in expected]
    assert sorted(folder.iterdir()) == sorted(expected)
