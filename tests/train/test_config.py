"""Recipes: inheritance, arms, overrides, and errors that name the key."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from softlabel_train.config import (
    Recipe,
    generation_settings,
    load_recipe,
    parse_grid,
    parse_override,
    recipe_arms,
    recipe_grids,
    recipe_names,
)

from softlabel.errors import UsageError


def test_every_shipped_recipe_loads_with_every_arm():
    names = recipe_names()
    assert {"oct_dme", "oct_demo", "mrbrains18", "mri_demo", "smoke"} <= set(names)
    assert all(names.values()), "each recipe says what it is about"
    for name in names:
        for arm in [None, *recipe_arms(name)]:
            load_recipe(name, arm=arm)


def test_oct_dme_is_the_published_setting():
    r = load_recipe("oct_dme")
    assert (r.model.architecture, r.model.encoder) == ("unet", "xception")
    assert (r.loss.alpha, r.loss.beta, r.loss.class_weights) == (0, 1, "enet")
    assert (r.optimizer.name, r.optimizer.lr, r.optimizer.weight_decay) == ("adam", 3e-4, 1e-5)
    assert (r.data.batch_size, r.optimizer.patience, r.optimizer.factor) == (16, 20, 0.5)
    settings = generation_settings(r.generate)
    assert (settings.method, settings.n_segments, settings.boundary) == (
        "superpixel",
        2000,
        "inner",
    )


@pytest.mark.parametrize("arm, beta, weights, method", [
    ("ce-hard", 0, "none", "superpixel"), ("wce-hard", 0, "enet", "superpixel"),
    ("ce-gaussian", 1, "none", "gaussian"), ("wce-gaussian", 1, "enet", "gaussian"),
    ("ce-superpixel", 1, "none", "superpixel"), ("wce-superpixel", 1, "enet", "superpixel"),
])  # fmt: skip
def test_table_two_is_one_key(arm, beta, weights, method):
    r = load_recipe("oct_dme", [f"arm={arm}"])
    assert (r.loss.beta, r.loss.class_weights, r.generate["method"]) == (beta, weights, method)
    assert r.arm == arm


@pytest.mark.parametrize("labels, beta, method", [
    ("hard", 0, "superpixel"), ("gaussian", 1, "gaussian"), ("superpixel", 1, "superpixel"),
])  # fmt: skip
@pytest.mark.parametrize("weights", ["none", "enet"])
def test_table_one_is_one_key(labels, beta, method, weights):
    arm = f"{'ce' if weights == 'none' else 'wce'}-{labels}"
    r = load_recipe("mrbrains18", [f"arm={arm}"])
    assert (r.loss.beta, r.loss.class_weights, r.generate["method"]) == (beta, weights, method)
    assert (r.loss.alpha, r.data.batch_size, r.loss.target) == (1, 2, "soft")


@pytest.mark.parametrize("recipe", ["oct_dme", "mrbrains18"])
def test_controls_have_the_loss_of_the_superpixel_arms_with_hard_targets(recipe):
    for weights in ("ce", "wce"):
        soft, hard = (load_recipe(recipe, arm=f"{weights}-{n}") for n in ("superpixel", "control"))
        same = {k: v for k, v in soft.flat().items() if k not in ("arm", "loss.target")}
        assert same == {k: v for k, v in hard.flat().items() if k in same}
        assert (soft.loss.target, hard.loss.target) == ("soft", "hard")


@pytest.mark.parametrize("recipe", ["oct_dme", "mrbrains18"])
@pytest.mark.parametrize("weights", ["none", "enet"])
@pytest.mark.parametrize("control, superpixels, method", [
    ("grid", "grid", "superpixel"), ("distance", "slic", "distance"),
])  # fmt: skip
def test_controls_of_the_superpixels_change_nothing_else(
    recipe, weights, control, superpixels, method
):
    prefix = "ce" if weights == "none" else "wce"
    arm, published = (load_recipe(recipe, arm=f"{prefix}-{a}") for a in (control, "superpixel"))
    made = generation_settings(arm.generate)
    assert (made.superpixels, made.method, made.n_segments) == (superpixels, method, 2000)
    assert arm.loss == published.loss and arm.loss.class_weights == weights


def test_what_is_set_last_wins(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("base: oct_dme\nname: own\nloss: {beta: 4}\narms: {mine: {loss.beta: 5}}\n")
    assert load_recipe(own).loss.beta == 4
    assert load_recipe(own).loss.class_weights == "enet", "the base's other keys stay"
    assert load_recipe(own, ["arm=mine"]).loss.beta == 5
    assert load_recipe(own, ["arm=mine", "loss.beta=6"]).loss.beta == 6
    assert load_recipe(own, ["arm=ce-hard"]).loss.beta == 0, "the base's arms are inherited"
    (tmp_path / "second.yaml").write_text("base: own.yaml\nseed: 3\n")
    second = load_recipe(tmp_path / "second.yaml")
    assert (second.loss.beta, second.seed) == (4, 3)


STEPS_OF = {
    "oct_dme": ("wedges", "denoise", "flatten", "crop"),
    "oct_demo": ("wedges", "denoise", "flatten", "crop"),
    "mrbrains18": ("brain_mask", "box", "resample", "normalise"),
    "smoke": (),
}
"""The paper's (Li et al. 2020), but for smoke, which takes any data."""


def steps_of(*arguments):
    recipe = load_recipe(*arguments)
    return tuple(step.name for step in generation_settings(recipe.generate).preprocessing)


@pytest.mark.parametrize("name", STEPS_OF)
def test_recipes_take_the_papers_steps_and_one_key_leaves_out_each(name):
    assert steps_of(name) == STEPS_OF[name]
    for step in STEPS_OF[name]:
        key = {"resample": "resample_mm"}.get(step, step)
        word = "keep" if step == "wedges" else "none"
        left = tuple(s for s in STEPS_OF[name] if s != step)
        assert steps_of(name, [f"generate.{key}={word}"]) == left
    assert steps_of(name, ["generate.preprocess_options={}"]) == ()


def test_words_of_steps_are_where_settings_have_them(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("base: oct_dme\ngenerate: {denoise: nlm, preprocess_options: {nlm_h: 2.0}}\n"
                   "arms: {raw: {generate.denoise: none}}\n")  # fmt: skip
    assert load_recipe(own).generate["preprocess_options"] == {
        "wedges": "fill", "denoise": "nlm", "flatten": "pixel", "crop": "retina", "nlm_h": 2.0,
    }  # fmt: skip
    assert "denoise" not in load_recipe(own).generate
    assert steps_of(own, ["arm=raw"]) == ("wedges", "flatten", "crop"), "nlm_h goes along"
    again = load_recipe("smoke", ["generate={preprocess: oct, denoise: nlm}"])
    assert Recipe.model_validate(again.model_dump()).generate == again.generate
    with pytest.raises(UsageError, match="denoise is given both by itself and in preprocess_opt"):
        load_recipe("smoke", ["generate={denoise: nlm, preprocess_options: {denoise: tv}}"])
    own.write_text("generate: {denoise: nlm, preprocess_options: {denoise: tv}}\n")
    with pytest.raises(UsageError, match=r"own\.yaml: generate: denoise is given both by itself"):
        load_recipe(own)


def test_a_split_may_be_its_kind_alone(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("base: mrbrains18\ndata: {split: paper}\n")
    for recipe in (load_recipe(own), load_recipe("mrbrains18", ["data.split=paper"])):
        assert (recipe.data.split.kind, recipe.data.split.n_evaluation) == ("paper", 2)
    rotated = load_recipe(own, ["data.split=rotate", "data.split.fold=3"]).data.split
    assert (rotated.kind, rotated.fold) == ("rotate", 3)


@pytest.mark.parametrize("recipe", ["oct_dme", "mrbrains18"])
def test_grids_of_the_figures_are_those_of_the_paper(recipe):
    grids = recipe_grids(recipe)
    assert grids == {
        "n_segments": {"generate.n_segments": list(range(500, 3501, 500))},
        "beta": {"loss.beta": [2.0**n for n in range(-2, 4)]},
    }
    assert recipe_grids("smoke") == {}


def test_grids_that_are_none_are_refused(tmp_path):
    for number, grids in enumerate(("[1]", "{a: 1}", "{a: {loss.beta: 1}}", "{a: {b: []}}")):
        own = tmp_path / f"{number}.yaml"
        own.write_text(f"base: smoke\ngrids: {grids}\n")
        with pytest.raises(UsageError, match="grids must map names to"):
            load_recipe(own)


def test_a_recipe_is_frozen_and_survives_a_round_trip():
    r = load_recipe("smoke")
    with pytest.raises(ValidationError):
        r.seed = 2
    assert Recipe.model_validate(r.model_dump(mode="json")) == r
    assert r.flat()["loss.beta"] == 1


@pytest.mark.parametrize("override, what", [
    ("loss.betta=1", r"loss\.betta is no key of a recipe; did you mean loss\.beta\?"),
    ("lossy=1", "lossy is no key"),
    ("loss.beta=-1", r"loss\.beta: .*greater than or equal to 0; got -1"),
    ("loss.beta=.inf", r"loss\.beta: .*finite"),
    ("loss.beta=much", r"loss\.beta: .*valid number.*'much'"),
    ("train.steps=1.5", r"train\.steps: .*integer"),
    ("train.precision=8-bit", r"train\.precision: .*'32-true'"),
    ("data.crop=[0, 64]", r"data\.crop\.0: .*greater than 0"),
    ("data.split.kind=thirds", r"data\.split\.kind: .*'halves'"),
    ("data.split.kind=named", r"data\.split: a named split must list"),
    ("data.split.fold=7", None),
    ("generate.n_segment=5", r"generate: n_segment is no setting; did you mean n_segments\?"),
    ("generate.in_plane=true", r"generate: in_plane is no setting but an option of the method"),
    ("generate.boundary=outside", r"generate: boundary must be one of inner"),
    ("generate.compression=rar", r"generate: compression must be one of zstd, gzip"),
    ("evaluate.classes=brats", r"evaluate\.classes.*oct, mrbrains18"),
    ("loss.beta.more=1", r"loss\.beta\.more is no key of a recipe: beta is a value"),
    ("train.steps=true", r"train\.steps: .*valid integer; got True"),
    ("seed=true", "seed: .*valid integer"),
    ("loss.beta=true", r"^The recipe smoke: loss\.beta: .*valid number; got True\.$"),
    ("loss.beta='0.5'", r"^The recipe smoke: loss\.beta: .*valid number; got '0\.5'\.$"),
    ("generate.n_segments=true", r"^The recipe smoke: generate: n_segments must be .* True\.$"),
    ("generate.n_segments=2.5", r"generate: n_segments must be an integer; got 2\.5\.$"),
    ("generate.compactness='0.5'", r"generate: compactness must be a number; got '0\.5'\.$"),
    ("generate.channel_percentiles=5", r"channel_percentiles must be 2 numbers; got 5\.$"),
    ("loss.betta=null", r"loss\.betta is no key of a recipe; did you mean loss\.beta\?$"),
    ("generate.n_segmentz=null", "generate: .*n_segmentz"),
    ("generate.method_options=3", r"generate: method_options must be a mapping; got 3\.$"),
    ("generate.method_options.in_plane='no'", r"in_plane must be True or False; got 'no'\.$"),
    ("arm=[1]", r"no arm \[1\]"),
    ("arm=none-such", "no arm 'none-such'; its arms are: hard, gaussian"),
    ("novalue", "key=value"),
    ("loss.beta=[1", "cannot be read as YAML"),
])  # fmt: skip
def test_errors_name_the_key(override, what):
    if what is None:  # possible alone
        load_recipe("smoke", [override])
        return
    with pytest.raises(UsageError, match=what):
        load_recipe("smoke", [override])


def test_several_complaints_are_counted():
    with pytest.raises(UsageError, match=r"\(1 more\)"):
        load_recipe("smoke", ["loss.beta=-1", "loss.alpha=-1"])


def test_a_split_that_names_a_patient_twice_is_refused():
    with pytest.raises(UsageError, match=r"\['b'\] are in two"):
        load_recipe("smoke", ["data.split={kind: named, train: [a, b], evaluation: [b]}"])


def test_files_that_are_no_recipes(tmp_path):
    with pytest.raises(UsageError, match=r"no recipe 'oct_dm'; did you mean oct_dme\?"):
        load_recipe("oct_dm")
    with pytest.raises(UsageError, match="does not exist"):
        load_recipe(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("base: b.yaml\n")
    (tmp_path / "b.yaml").write_text("base: a.yaml\n")
    with pytest.raises(UsageError, match="in a circle"):
        load_recipe(tmp_path / "a.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="must be a mapping"):
        load_recipe(tmp_path / "list.yaml")
    (tmp_path / "bad.yaml").write_text("a: 1\nb: [\n")
    with pytest.raises(UsageError, match="not valid YAML in line"):
        load_recipe(tmp_path / "bad.yaml")
    (tmp_path / "arms.yaml").write_text("arms: [1]\n")
    with pytest.raises(UsageError, match="arms must map"):
        load_recipe(tmp_path / "arms.yaml")


def test_a_recipe_that_is_not_utf8_says_where_and_what_to_do(tmp_path):
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("base: smoke\nabout: für später\n".encode("latin-1"))
    with pytest.raises(UsageError) as raised:
        load_recipe(latin)
    assert str(raised.value) == (
        f"The recipe {latin} is not UTF-8 (byte 0xfc in line 2); save it as UTF-8."
    )


def test_exponents_are_numbers_in_every_section():
    r = load_recipe("smoke", ["optimizer.lr=3e-4", "generate.compactness=1e-2",
                              "generate.channel_percentiles=[1e0, 99]"])  # fmt: skip
    assert r.optimizer.lr == 3e-4
    settings = generation_settings(r.generate)
    assert (settings.compactness, settings.channel_percentiles) == (0.01, (1.0, 99.0))
    r = load_recipe("smoke", ["generate={method: gaussian, method_options: {blur: 2e0}}"])
    assert generation_settings(r.generate).method_options == {"blur": 2.0}


def test_overrides_and_grids_are_read_as_yaml():
    assert parse_override("a=") == ("a", None)
    assert load_recipe("smoke", ["optimizer.lr=3e-4"]).optimizer.lr == 3e-4
    assert parse_grid("arm=ce-hard,wce-hard") == ("arm", ["ce-hard", "wce-hard"])
    with pytest.raises(UsageError, match="key=v1,v2"):
        parse_grid("arm")


LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "\n".join(
    f"{after}: &{after} [{', '.join([f'*{name}'] * 10)}]"
    for name, after in zip("abcde", "bcdef", strict=True)
)
"""A million values."""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("base: {a: b}", "base must be the name or path"),
        ("seed: " + "9" * 5000, "a number of 5000 characters"),
        ("seed: 1\nseed: 2", r"has the key 'seed' twice \(line 2\)"),
        ("seed: 10000000000000000000000", "seed: input should be less than"),
        ("seed: 2001-99-99", "a value of it cannot be"),
        ("a: " + "[" * 2000, "nested more than 100 deep"),
        ("generate: {n_segments: 99999999999999999999}", "n_segments must be below"),
        (LAUGHS, "more than 100000 values"),
    ],
)  # fmt: skip
def test_recipes_of_others_are_read_within_bounds(tmp_path, text, sentence):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=rf"The recipe .*r\.yaml.*{sentence}"):
        load_recipe(path)
    if text.startswith("seed: 9"):
        with pytest.raises(UsageError, match="The value of seed cannot be used: it has a number"):
            load_recipe("smoke", [text.replace(": ", "=")])


def test_labels_of_single_raters_are_hard():
    with pytest.raises(UsageError, match=r"set loss\.beta=0 or loss\.target=hard"):
        load_recipe("smoke", ["data.raters=sample"])
    for settled in ("loss.beta=0", "loss.target=hard"):
        assert load_recipe("smoke", ["data.raters=sample", settled]).data.raters == "sample"


def test_a_word_leaves_out_a_step_of_the_recipe_below(tmp_path):
    """Also where the file has nothing else of the section, which stays."""
    (tmp_path / "below.yaml").write_text(
        "generate: {n_segments: 9, box: mask, resample_mm: [1, 1, 2], brain_mask: intensity, "
        "preprocess_options: {grow_mm: 6}}\n"
    )
    above = tmp_path / "above.yaml"
    for text, left in [
        ("{resample_mm: none}", {"box": "mask", "brain_mask": "intensity", "grow_mm": 6}),
        ("{brain_mask: none}", {"brain_mask": "none", "box": "mask", "resample_mm": [1, 1, 2]}),
    ]:
        above.write_text(f"base: below.yaml\ngenerate: {text}\n")
        found = load_recipe(above).generate
        assert found == {"n_segments": 9, "preprocess_options": left}


def test_null_and_empty_sections_unset(tmp_path):
    below = tmp_path / "below.yaml"
    below.write_text(
        "data: {crop: [8, 8], batch_size: 3, split: {kind: kfold, folds: 3}}\n"
        "augment: {flip: [1], noise: 0.5}\n"
        "generate: {n_segments: 9, method_options: {in_plane: true}}\n"
        "loss: {beta: 7}\narm: a\narms: {a: {loss.alpha: 2}, b: {loss.beta: null}}\n"
    )
    above = tmp_path / "above.yaml"
    above.write_text(
        "base: below.yaml\ndata: {crop: null, batch_size: null, split: null}\naugment: {}\n"
        "generate: {n_segments: null, method_options: {}}\nloss:\narms: {b: {loss.alpha: null}}\n"
    )
    found, default = load_recipe(above), Recipe()
    assert found.data == default.data
    assert found.augment == default.augment
    assert found.generate == {"method_options": {}}
    assert found.loss == default.loss.model_copy(update={"alpha": 2.0})
    assert load_recipe(below, ["arm=b"]).loss.beta == default.loss.beta
    assert load_recipe(below, ["loss.beta=null"]).loss.beta == default.loss.beta
    assert load_recipe(below, ["generate.method_options="]).generate == {"n_segments": 9}
    assert load_recipe(below, ["augment={}", "augment.noise=1"]).augment.flip == ()
