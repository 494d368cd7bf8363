"""Settings: what they refuse, and what tells two caches apart."""

from __future__ import annotations

import dataclasses
import inspect
import json
import pickle

import numpy as np
import pytest

from softlabel.errors import UsageError
from softlabel.generation.settings import Settings, idle_settings
from softlabel.types import ClassTable

TABLE = ClassTable.from_mapping({0: "background", 1: "läsion"})
SOURCE = {"format": "pairs", "reader_options": {"row_base": 0}}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"superpixels": "voronoi"}, "superpixels must be one of slic, grid, file; got 'voronoi'"),
        ({"slic_dims": "line"}, "slic_dims must be one of volume, slice; got 'line'"),
        ({"mask_mode": "before"}, "mask_mode must be one of after, slic; got 'before'"),
        ({"slic_code": "gpu"}, "slic_code must be one of cpu, device; got 'gpu'"),
        ({"slic_code": "device", "mask_mode": "slic"}, 'slic_code="device" knows no masked SLIC'),
        ({"distance_unit": "inch"}, "distance_unit must be one of pixel, mm; got 'inch'"),
        ({"compression": "lzma"}, "compression must be one of zstd, gzip; got 'lzma'"),
        ({"method": "blur"}, "method must be one of superpixel, gaussian.*; got 'blur'"),
        ({"boundary": "mid"}, "boundary must be one of inner, outer, edge, symmetric; got 'mid'"),
        ({"normalize": "max"}, "normalize must be one of none, sum; got 'max'"),
        ({"method_options": {"blur": 1.0}}, "method superpixel has no option 'blur'; it has: min_"),
        ({"method_options": {"boundary": "edge"}}, "superpixel has no option 'boundary'; it has"),
        (
            {"method_options": {"min_minority": 2.0}},
            "options of the method superpixel: min_minority must lie in 0..1; got 2.0",
        ),
        ({"method": "gaussian", "method_options": {"blur": 0}}, "blur must be a positive number"),
        ({"preprocess": "otc"}, "preprocess must be one of none, oct.*; got 'otc'"),
        ({"preprocess_options": {"denoise": "bm3d"}}, "denoise must be one of none, tv, nlm"),
        ({"preprocess_options": {"tv_weight": 3.0}}, "no step .* has the option 'tv_weight'"),
        (
            {"preprocess_options": {"denoise": "nlm", "tv_weight": 3.0}},
            "tv_weight has no meaning beside denoise=nlm",
        ),
        ({"preprocess": "oct", "preprocess_options": {"tv_weight": 0}}, "must be a positive numb"),
        ({"method_options": {"min_minority": "much"}}, "The options of the method superpixel: "),
        ({"n_segments": 0}, "n_segments must be positive; got 0"),
        ({"superpixel_size": -3.0}, "superpixel_size must be positive; got -3.0"),
        ({"superpixel_size": float("nan")}, "superpixel_size must be positive; got nan"),
        ({"compactness": 0.0}, "compactness must be positive; got 0.0"),
        ({"compactness": float("nan")}, "compactness must be positive; got nan"),
        ({"compactness": float("inf")}, "compactness must be positive; got inf"),
        ({"max_num_iter": 0}, "max_num_iter must be positive; got 0"),
        ({"scale": 0.0}, "scale must be positive; got 0.0"),
        ({"sigma": -0.5}, "sigma must not be negative; got -0.5"),
        ({"sigma": float("nan")}, "sigma must not be negative; got nan"),
        ({"channel_percentiles": (99.0, 1.0)}, "0 <= low < high <= 100; got 99.0 and 1.0"),
        ({"channel_percentiles": (-1.0, 50.0)}, "0 <= low < high <= 100; got -1.0 and 50.0"),
        ({"channel_percentiles": (1.0, 101.0)}, "0 <= low < high <= 100; got 1.0 and 101.0"),
        ({"channel_percentiles": (5.0, 5.0)}, "0 <= low < high <= 100; got 5.0 and 5.0"),
    ],
)
def test_wrong_settings(wrong, sentence):
    with pytest.raises(UsageError, match=sentence):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"n_segments": 2.5}, r"^n_segments must be an integer; got 2\.5\.$"),
        ({"n_segments": 100.0}, r"^n_segments must be an integer; got 100\.0\.$"),
        ({"n_segments": True}, r"^n_segments must be an integer; got True\.$"),
        ({"n_segments": np.True_}, r"^n_segments must be an integer; got (np\.True_|True)\.$"),
        ({"n_segments": "5"}, r"^n_segments must be an integer; got '5'\.$"),
        ({"n_segments": None}, r"^n_segments must be an integer; got None\.$"),
        ({"max_num_iter": 2.5}, r"^max_num_iter must be an integer; got 2\.5\.$"),
        ({"slice_axis": 1.5}, r"^slice_axis must be an integer or None; got 1\.5\.$"),
        ({"compactness": "0.1"}, r"^compactness must be a number; got '0\.1'\.$"),
        ({"compactness": True}, r"^compactness must be a number; got True\.$"),
        ({"scale": [1.0]}, r"^scale must be a number or None; got \[1\.0\]\.$"),
        ({"sigma": 10**400}, r"^sigma must be a number; got 10+\.$"),
        ({"boundary": None}, r"^boundary must be text; got None\.$"),
        ({"channel_percentiles": (1, 2, 3)}, r"^channel_percentiles must be 2 numbers; got \(1, 2"),
        ({"channel_percentiles": 5}, r"^channel_percentiles must be 2 numbers; got 5\.$"),
        ({"channel_percentiles": "19"}, r"^channel_percentiles must be 2 numbers; got '19'\.$"),
        ({"channel_percentiles": (1, "99")}, r"^channel_percentiles must be 2 numbers; got \(1, '"),
        ({"method_options": None}, r"^method_options must be a mapping; got None\.$"),
        (
            {"method_options": {"in_plane": "no"}},
            r"^The options of the method superpixel: in_plane must be True or False; got 'no'\.$",
        ),
        (
            {"method_options": {"in_plane": 1}},
            r"^The options of the method superpixel: in_plane must be True or False; got 1\.$",
        ),
        ({"method_options": {"slice_axis": 0.0}}, "slice_axis must be an integer or None; got 0"),
        ({"method": "gaussian", "method_options": {"blur": "2"}}, "blur must be a number; got '2'"),
        ({"keep_original": "no"}, r"^keep_original must be True or False; got 'no'\.$"),
        ({"preprocess_options": {"denoise": 3}}, "^preprocess_options: denoise must be text"),
        (
            {"preprocess": "oct", "preprocess_options": {"tv_weight": "3"}},
            r"^preprocess_options: tv_weight must be a number; got '3'\.$",
        ),
    ],
)
def test_settings_of_another_type(wrong, sentence):
    with pytest.raises(UsageError, match=sentence):
        Settings(**wrong)


def test_numbers_of_numpy_and_lists_of_yaml_are_plain_values():
    plain = Settings(
        n_segments=5, compactness=0.5, sigma=2.0, max_num_iter=3, slice_axis=1, scale=0.25,
        channel_percentiles=(1.0, 99.0), boundary="edge",
        method_options={"in_plane": True, "min_minority": 0.0, "slice_axis": 0},
    )  # fmt: skip
    numpy = Settings(
        n_segments=np.int64(5), compactness=np.float32(0.5), sigma=2, max_num_iter=np.uint8(3),
        slice_axis=np.int16(1), scale=np.float64(0.25), channel_percentiles=[1, np.int8(99)],
        boundary=np.str_("edge"),
        method_options={"in_plane": np.True_, "min_minority": 0, "slice_axis": np.int64(0)},
    )  # fmt: skip
    array = dataclasses.replace(plain, channel_percentiles=np.array([1, 99]))
    assert numpy == plain == array
    assert repr(numpy) == repr(plain) == repr(array), "to the last type"
    assert numpy.as_json(SOURCE) == plain.as_json(SOURCE)


def test_settings_do_not_change_with_what_the_caller_gave():
    options = {"in_plane": True}
    settings = Settings(method_options=options)
    options["in_plane"] = False
    assert settings.method_options == {"in_plane": True}


@pytest.mark.parametrize(
    ("given", "record"),
    [
        ({}, {}),
        (
            {"superpixel_size": 190, "slic_dims": "slice", "channel_percentiles": (1, 99)},
            {"channel_percentiles": [1.0, 99.0], "slic_dims": "slice", "superpixel_size": 190.0},
        ),
        (
            {"superpixels": "grid", "slice_axis": 1, "boundary": "edge", "scale": 2},
            {"boundary": "edge", "scale": 2.0, "superpixels": "grid"},
        ),
        (
            {"method_options": {"in_plane": True, "min_minority": 0}},
            {"method_options": {"in_plane": True}},
        ),
        (
            {"method": "gaussian", "method_options": {"blur": 2}, "distance_unit": "mm"},
            {"distance_unit": "mm", "method": "gaussian", "method_options": {"blur": 2.0}},
        ),
        ({"preprocess_options": {"wedges": "keep", "denoise": "none"}}, {}),
        ({"preprocess_options": {"denoise": "tv"}}, {"preprocess_options": {"denoise": "tv"}}),
        (
            {"preprocess": "oct", "preprocess_options": {"tv_weight": 3, "margin_um": 80}},
            {
                "preprocess_options": {
                    "wedges": "fill",
                    "denoise": "tv",
                    "tv_weight": 3.0,
                    "flatten": "pixel",
                    "crop": "retina",
                }
            },
        ),
        (
            {"preprocess_options": {"crop": "retina"}, "keep_original": False},
            {"preprocess_options": {"crop": "retina"}, "keep_original": False},
        ),
        ({"keep_original": False}, {}),
    ],
)
def test_the_record_of_a_cache_stays_what_it_is(given, record):
    """Letter by letter: another record is another fingerprint, and no cache could be resumed."""
    settings = Settings(**given)
    text = settings.as_json(SOURCE)
    assert text == json.dumps(record | SOURCE, sort_keys=True)
    assert Settings.from_json(json.dumps(record)).recorded() == settings.recorded()


def test_a_record_of_format_1_is_read():
    """They hold defaults, and a slice axis that has no say."""
    text = json.dumps({
        "boundary": "inner", "channel_percentiles": [0.0, 100.0], "compactness": 0.2,
        "compression": "zstd", "distance_unit": "pixel", "format": "pairs",
        "format_options": {"group": None}, "mask_mode": "after", "max_num_iter": 10,
        "method": "superpixel", "n_segments": 24, "normalize": "none", "scale": None, "sigma": 1.0,
        "method_options": {"in_plane": False, "min_minority": 0.0, "slice_axis": None},
        "slic_code": "cpu", "slic_dims": "volume", "slice_axis": None, "superpixels": "slic",
    })  # fmt: skip
    expected = Settings(n_segments=24, compactness=0.2)
    assert Settings.from_json(text).recorded() == expected.recorded()


def test_a_record_of_a_newer_version():
    with pytest.raises(UsageError, match="records the setting 'magic', which this softlabel does"):
        Settings.from_json('{"magic": 1, "format": "pairs"}')


def test_a_preset_and_its_steps_one_by_one_are_one_record():
    steps = {"wedges": "fill", "denoise": "tv", "flatten": "pixel", "crop": "retina"}
    one_by_one = Settings(preprocess_options=steps)
    assert Settings(preprocess="oct").as_json(SOURCE) == one_by_one.as_json(SOURCE)
    read = Settings.from_json(one_by_one.as_json({"format": "pairs"}))
    assert read.preprocessing == Settings(preprocess="oct").preprocessing


def test_an_option_of_the_steps_that_is_given_as_a_setting():
    with pytest.raises(UsageError, match="denoise is no setting but an option of preprocessing"):
        Settings(denoise="tv")


def test_the_least_that_is_allowed():
    Settings(n_segments=1, sigma=0.0, max_num_iter=1, channel_percentiles=(0.0, 100.0))


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().boundary = "edge"


def test_everything_that_has_a_say_is_recorded_when_it_is_no_default():
    names = {f.name for f in dataclasses.fields(Settings)}
    of_steps = {"preprocess", "preprocess_options", "keep_original"}
    assert set(Settings().recorded()) == names - {
        "superpixel_size", "slice_axis", "preset",
    } - of_steps  # fmt: skip
    assert of_steps - set(Settings(preprocess="oct").recorded()) == {"preprocess"}
    assert Settings().recorded()["method_options"] == {
        "min_minority": 0.0, "in_plane": False, "slice_axis": None, "conversion": "eq1",
    }  # fmt: skip
    assert json.loads(Settings(sigma=2).as_json(SOURCE)) == {"sigma": 2.0} | SOURCE


OTHER = {
    "superpixels": "grid", "n_segments": 100, "superpixel_size": 190.0, "compactness": 0.2,
    "sigma": 2.0, "max_num_iter": 5, "slic_dims": "slice", "slice_axis": 0,
    "channel_percentiles": (1.0, 99.0), "mask_mode": "slic", "slic_code": "device",
    "method": "gaussian", "boundary": "edge", "distance_unit": "mm", "scale": 2.0,
    "fuse": "soft-staple", "normalize": "sum", "method_options": {"min_minority": 0.1},
    "compression": "gzip",
    "preprocess": "oct", "preprocess_options": {"crop": "retina"}, "keep_original": False,
    "preset": "auto",
}  # fmt: skip


def test_every_setting_tells_caches_apart():
    """A setting that is added to the dataclass must be added here."""
    default = Settings()
    assert set(OTHER) == {f.name for f in dataclasses.fields(Settings)}
    for name, value in OTHER.items():
        bases = {"slice_axis": {"slic_dims": "slice"}, "keep_original": {"preprocess": "oct"}}
        base = Settings(**bases.get(name, {}))
        changed = dataclasses.replace(base, **{name: value})
        assert changed.as_json(SOURCE) != base.as_json(SOURCE), name
    assert default.as_json(SOURCE) != default.as_json({**SOURCE, "format": "msd"})


@pytest.mark.parametrize(
    ("base", "without_a_say"),
    [
        ({"superpixel_size": 190.0}, {"n_segments": 7}),
        ({"superpixels": "grid"}, {"compactness": 0.5}),
        ({"superpixels": "grid"}, {"sigma": 0.0}),
        ({"superpixels": "grid"}, {"max_num_iter": 3}),
        ({"superpixels": "file"}, {"channel_percentiles": (1.0, 99.0)}),
        ({"superpixels": "file"}, {"n_segments": 7}),
        ({"superpixels": "file"}, {"superpixel_size": 7.0}),
        ({"superpixels": "file"}, {"slic_dims": "slice"}),
        ({"superpixels": "grid"}, {"mask_mode": "slic"}),
        ({"superpixels": "grid"}, {"slic_code": "device"}),
        ({"method": "gaussian"}, {"boundary": "edge"}),
        ({"method": "gaussian"}, {"scale": 3.0}),
        ({"method": "gaussian"}, {"n_segments": 7}),
        ({}, {"method_options": {"min_minority": 0}}),  # its default, 0.0
        ({"method": "gaussian"}, {"method_options": {"blur": 1}}),
        ({"method": "distance"}, {"n_segments": 7}),
        ({"method": "svls"}, {"distance_unit": "mm"}),
        ({"method": "smoothing"}, {"boundary": "edge"}),
        ({"scale": 1.0}, {"scale": 1}),
        ({}, {"sigma": 1, "channel_percentiles": (0, 100)}),
        ({"preset": "auto"}, {"n_segments": 7, "superpixel_size": 7.0, "sigma": 3.0}),
        ({"preset": "auto"}, {"slic_dims": "slice", "slice_axis": 0, "compactness": 3.0}),
        ({"superpixels": "file"}, {"preset": "auto"}),
        ({"method": "svls"}, {"preset": "auto"}),
    ],
)
def test_settings_without_a_say_do_not_tell_caches_apart(base, without_a_say):
    assert Settings(**base).as_json(SOURCE) == Settings(**base | without_a_say).as_json(SOURCE)


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({}, {"slice_axis": ("slic_dims", "in_plane")}),
        ({"slic_dims": "slice"}, {}),
        ({"slic_dims": "slice", "superpixel_size": 9}, {"n_segments": ("superpixel_size",)}),
        ({"method_options": {"in_plane": True}}, {}),
        (
            {"method": "distance", "superpixels": "grid", "method_options": {"in_plane": True}},
            dict.fromkeys(
                (
                    "superpixels",
                    "n_segments",
                    "superpixel_size",
                    "slic_dims",
                    "compactness",
                    "sigma",
                    "max_num_iter",
                    "channel_percentiles",
                    "mask_mode",
                    "slic_code",
                    "preset",
                ),
                ("method",),
            ),
        ),
    ],
)
def test_idle_settings_name_what_leaves_them_no_say(given, idle):
    assert idle_settings(Settings(**given)) == idle


def test_the_method_leaves_its_superpixels_no_say_however_they_are_made():
    for given in ({}, {"superpixels": "grid"}, {"superpixel_size": 9}, {"slic_dims": "slice"}):
        idle = idle_settings(Settings(method="gaussian", **given))
        assert set(idle.values()) == {("method",)}
        assert {"superpixels", "n_segments", "slice_axis", "boundary", "scale"} <= set(idle)
        assert not {"method", "method_options", "distance_unit", "normalize"} & set(idle)


def test_json_does_not_depend_on_the_order_of_options():
    one = {"in_plane": True, "slice_axis": 0}
    other = {"slice_axis": 0, "in_plane": True}
    assert list(one) != list(other)
    assert Settings(method_options=one).as_json({"x": 1, "y": 2}) == Settings(
        method_options=other
    ).as_json({"y": 2, "x": 1})


def test_the_options_of_a_method_are_filled_in():
    settings = Settings(method="gaussian", method_options={"blur": 2})
    assert settings.checked_method_options() == {"blur": 2.0}
    assert Settings(method="gaussian").checked_method_options() == {"blur": 1.0}
    assert "boundary" not in Settings().checked_method_options()


@pytest.mark.parametrize("given, what", [
    ({"in_plane": True}, r"in_plane is no setting .* superpixel, distance or posterior; give"),
    ({"n_segment": 5}, r"n_segment is no setting; did you mean n_segments\?"),
    ({"zzz": 5}, r"zzz is no setting\."),
])  # fmt: skip
def test_unknown_settings_say_what_may_be_meant(given, what):
    with pytest.raises(UsageError, match=what):
        Settings(**given)


def test_help_shows_the_settings():
    shown = list(inspect.signature(Settings).parameters)
    assert shown == [f.name for f in dataclasses.fields(Settings)]


def test_settings_can_be_copied_and_pickled():
    settings = Settings(n_segments=7, method_options={"in_plane": True})
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert dataclasses.replace(settings, n_segments=8).n_segments == 8
    assert Settings("grid").superpixels == "grid"


def test_staple_takes_hard_labels_only():
    with pytest.raises(UsageError, match="takes hard labels; use the method hard, or soft-staple"):
        Settings(fuse="staple")
    record = json.loads(Settings(method="hard", fuse="staple").as_json({}))
    assert record == {"fuse": "staple", "method": "hard"}
    assert "fuse" not in json.loads(Settings().as_json({})), "caches made before stay what they are"
