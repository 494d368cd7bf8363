"""Recipes: everything that a training run depends on, as frozen, checked settings.

A recipe is a YAML file. It may continue another one (``base: oct_dme``) and name *arms*, sets of
keys that belong together (``arms: {ce-hard: {loss.beta: 0}}``, chosen by ``arm: ce-hard``). What is
set last wins: base, recipe, arm, ``key=value`` overrides. A null unsets a key or a section, which
has its default then, and so does ``{}`` of a section. *Grids* are values of keys that a sweep goes
through (``grids: {beta: {loss.beta: [1, 2]}}``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from softlabel.errors import SoftlabelError, UsageError, did_you_mean
from softlabel.files.documents import LARGEST_YAML, DocumentError, parse_yaml
from softlabel.files.regular import open_regular
from softlabel.generation import Settings
from softlabel.preprocess import STEPS, step_fields, word_fields
from softlabel_train.metrics import CLASS_SETS, Convention

_EXPONENT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+")


def _with_numbers(value: Any) -> Any:
    """The value with numbers such as 1e-2, which are text to YAML 1.1."""
    if isinstance(value, Mapping):
        return {key: _with_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_numbers(inner) for inner in value]
    if isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    return value


# strict, as the settings of a cache are: `true` is no number, and neither is "3"
Number = Annotated[float, BeforeValidator(_with_numbers), Field(strict=True)]
Whole = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Positive = Annotated[int, Field(gt=0, lt=2**63, strict=True)]
Share = Annotated[Number, Field(ge=0, le=1)]
Axes = tuple[Annotated[int, Field(ge=0, le=2, strict=True)], ...]
NotNegative = Annotated[Number, Field(ge=0, allow_inf_nan=False)]

Logger = Literal["csv", "tensorboard", "wandb", "mlflow"]

VOLUME_EPOCH_STEPS = 250
"""Steps in an epoch of patches of volumes, unless ``train.epoch_steps`` is given; as in nnU-Net."""


class Section(BaseModel):
    """A frozen part of a recipe that refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitConfig(Section):
    """Which patients train, validate (learning rate, best checkpoint) and are evaluated."""

    kind: Literal["halves", "kfold", "random", "rotate", "paper", "named", "file"] = Field(
        default="halves",
        description="halves: the first half of the patients, in natural order, trains and the "
        "rest is evaluated (published for OCT-DME: five and five); `fold` 1 swaps them. kfold: one "
        "of `folds` parts is evaluated. random: `n_evaluation` drawn patients are evaluated. "
        "rotate: the next `n_evaluation` patients in every `fold`, until each was evaluated once, "
        "and those after them validate. paper: as random, but the evaluated patients validate "
        "(leaks). named: as listed. file: as listed in `file`.",
    )
    file: str | None = Field(
        default=None,
        description="file: splits_final.json of nnU-Net, or CSV with the columns case (or "
        "patient), part (train, val, test) and fold; without a part test, val is evaluated",
    )
    train: tuple[str, ...] = Field(default=(), description="named: patients that train")
    validation: tuple[str, ...] = Field(
        default=(), description="named: patients that validate; empty: held out of `train`"
    )
    evaluation: tuple[str, ...] = Field(
        default=(), description="named: patients that are evaluated"
    )
    held_out: Whole = Field(default=1, description="training patients held out for validation")
    folds: int = Field(default=5, ge=2, strict=True, description="kfold: number of parts")
    fold: Whole = Field(
        default=0,
        description="halves, kfold, rotate, file: which of its divisions; the first is 0",
    )
    n_evaluation: Positive = Field(
        default=2, description="random, rotate, paper: number of evaluated patients"
    )
    seed: Whole = Field(default=0, description="kfold, random, paper: seed of the draw")

    @model_validator(mode="after")
    def _possible(self) -> SplitConfig:
        if self.kind == "kfold" and self.fold >= self.folds:
            raise ValueError(f"fold must be smaller than folds; got {self.fold} of {self.folds}")
        if self.kind == "named" and not self.train:
            raise ValueError("a named split must list the patients of `train`")
        if self.kind == "file" and not self.file:
            raise ValueError("the split `file` needs `file`, the path of a .json or .csv file")
        listed = [*self.train, *self.validation, *self.evaluation]
        if self.kind == "named" and len(set(listed)) != len(listed):
            twice = sorted({g for g in listed if listed.count(g) > 1})
            raise ValueError(f"patients must be in one part of the split only; {twice} are in two")
        return self


class DataConfig(Section):
    """Where batches come from."""

    cache: str | None = Field(
        default=None, description="the cache; made from `source` if it is missing"
    )
    source: str | None = Field(
        default=None, description="the data set that caches are generated from"
    )
    format: str = Field(default="auto", description="of `source`: a reader's name, or auto")
    format_options: dict[str, Any] = Field(
        default_factory=dict, description="options of the reader, as `softlabel generate` has them"
    )
    cache_folder: str = Field(
        default="caches", description="generated caches go here when `cache` is not given"
    )
    may_fail: Share = Field(
        default=0.1,
        description="largest share of the cases of `source`, and of those that are evaluated, that "
        "may be left out since they could not be computed",
    )
    classes: Positive | None = Field(default=None, description="refuse a cache with another number")
    channels: Positive | None = Field(
        default=None, description="refuse a cache with another number"
    )
    split: SplitConfig = SplitConfig()
    raters: Literal["fused", "sample"] = Field(
        default="fused",
        description="of caches of several annotators: the labels that they were combined to, or "
        "the hard labels of one of them, drawn anew for every image and epoch",
    )
    crop: tuple[Positive, ...] | None = Field(
        default=None,
        description="size of random crops (rows, columns[, slices]); null: whole images",
    )
    balance: Share = Field(
        default=0.0,
        description="share of crops centred on a pixel of a class drawn with equal chance",
    )
    normalize: Literal["case", "dataset", "none"] = Field(
        default="dataset",
        description="subtract the mean and divide by the deviation of each channel: of the case, "
        "or of the training patients",
    )
    batch_size: Positive = Field(default=16, description="images in a batch, over all processes")
    workers: Whole = Field(
        default=2, description="loader processes; 0 loads in the training process"
    )
    keep_mb: Whole = Field(
        default=4096,
        description="space in the temporary folder (TMPDIR) for cases that were read once, shared "
        "by the loader processes; 0 decodes them anew every time",
    )
    verify: bool = Field(
        default=True,
        strict=True,
        description="compare every array of the cache with its digest when it is first read",
    )


class AugmentConfig(Section):
    """Random changes of training images; the same (seed, epoch, index) gives the same change."""

    flip: Axes = Field(default=(), description="spatial axes that are mirrored half of the time")
    rotate_degrees: NotNegative = Field(
        default=0.0,
        description="largest rotation in the plane of the image, or of the slices",
    )
    rotate_across_degrees: NotNegative = Field(
        default=0.0, description="largest rotation of volumes out of the plane of the slices"
    )
    scale: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0, description="0.1: zoom between 0.9 and 1.1"
    )
    shift: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0, description="largest shift as a share of the image"
    )
    elastic: NotNegative = Field(
        default=0.0,
        description="largest displacement in pixels of control points 32 pixels apart",
    )
    blur: NotNegative = Field(default=0.0, description="largest deviation of a Gaussian, in pixels")
    brightness: NotNegative = Field(default=0.0, description="largest added value, in deviations")
    contrast: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0, description="0.1: factor between 0.9 and 1.1"
    )
    low_resolution: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0, description="0.5: down to between half of the pixels along an axis and all"
    )
    gamma: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.0, description="0.3: exponent of the intensities between 0.7 and 1.3"
    )
    noise: NotNegative = Field(
        default=0.0, description="largest deviation of Gaussian noise, normalised"
    )
    chance: Share = Field(
        default=1.0, description="share of the images that each change but flips is done to"
    )

    @property
    def warps(self) -> bool:
        """Whether images are turned, zoomed or shifted."""
        return bool(self.rotate_degrees or self.rotate_across_degrees or self.scale or self.shift)


class ModelConfig(Section):
    """The network."""

    architecture: str = Field(
        default="unet",
        description="of segmentation-models-pytorch, or dynunet, monai_unet, monai_basic_unet",
    )
    encoder: str = Field(default="xception", description="of the architecture, by SMP's name")
    encoder_weights: str = Field(default="none", description="none, imagenet, or a file")
    options: dict[str, Any] = Field(
        default_factory=dict, description="further arguments of the architecture"
    )


class LossConfig(Section):
    """CE + α · Dice + β · KL + λ · NACL; see :class:`softlabel_train.SoftLabelLoss`."""

    alpha: NotNegative = Field(default=0.0, description="weight of Dice")
    beta: NotNegative = Field(default=1.0, description="weight of KL")
    class_weights: Literal["none", "enet"] = Field(
        default="none",
        description="enet: weighted cross-entropy, from the training split's frequencies",
    )
    kl_class_weights: bool = Field(default=False, description="class weights in the KL term too")
    target: Literal["soft", "hard"] = Field(
        default="soft", description="hard: the control, the same loss with q = y"
    )
    dice: Literal["soft", "semimetric"] = Field(
        default="soft", description="semimetric: least where p = q, also for soft targets"
    )
    denominator: Literal["linear", "squared"] = Field(
        default="linear", description="of the soft Dice"
    )
    dice_background: bool = Field(default=True, description="the first class counts in Dice too")
    reduction: Literal["pixels", "weights"] = Field(
        default="pixels",
        description="cross-entropy divided by the pixels or by the sum of their weights",
    )
    nacl: NotNegative = Field(
        default=0.0,
        description="weight of NACL's penalty, which pulls logits to the shares of the classes "
        "around a pixel; its authors take 0.1",
    )


class OptimizerConfig(Section):
    """How weights are changed, and the learning rate's schedule."""

    name: Literal["adam", "adamw", "sgd"] = Field(default="adam", description="of the optimizer")
    lr: Annotated[Number, Field(gt=0, allow_inf_nan=False)] = Field(
        default=3e-4, description="learning rate at the start"
    )
    weight_decay: NotNegative = Field(default=1e-5, description="L2 penalty (adamw: decoupled)")
    momentum: Share = Field(default=0.9, description="sgd only")
    clip_norm: Annotated[Number, Field(gt=0)] | None = Field(
        default=None, description="largest norm of the gradient"
    )
    patience: Positive = Field(
        default=20, description="epochs without a better validation score before the rate falls"
    )
    factor: Annotated[Number, Field(gt=0, lt=1)] = Field(
        default=0.5, description="of the rate's fall"
    )


class TrainConfig(Section):
    """Length, devices and bookkeeping of a run."""

    steps: Positive = Field(default=4000, description="optimisation steps of the whole run")
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto", description="auto: a GPU where there is one"
    )
    devices: Positive = Field(default=1, description="devices (processes) on each machine")
    nodes: Positive = Field(default=1, description="machines, started by SLURM or torchrun")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        default="32-true", description="mixed: half precision where it is safe"
    )
    epoch_steps: Positive | None = Field(
        default=None,
        description="steps in an epoch; null: 250 for patches of volumes, else as many as show "
        "every training image once",
    )
    validate_epochs: Positive = Field(default=1, description="epochs between validations")
    checkpoint_steps: Positive = Field(default=200, description="steps between saves of `last`")
    log_steps: Positive = Field(default=10, description="steps between logged values")
    logger: Logger | tuple[Logger, ...] = Field(
        default="tensorboard",
        description="where numbers go beside metrics.csv, one or several: tensorboard, wandb "
        "(offline unless WANDB_MODE says otherwise), mlflow (into the run's folder, or to "
        "MLFLOW_TRACKING_URI); csv: nowhere else",
    )
    pictures: Whole = Field(default=2, description="predictions drawn at each validation")
    threads: Whole = Field(default=0, description="CPU threads; 0: the library's choice")

    @property
    def loggers(self) -> tuple[Logger, ...]:
        """Every logger that is asked for, once."""
        given = (self.logger,) if isinstance(self.logger, str) else self.logger
        return tuple(dict.fromkeys(given))


class EvaluateConfig(Section):
    """How predictions are scored."""

    classes: str | tuple[int, ...] | None = Field(
        default=None,
        description="a named set (oct, mrbrains18), label values, or null: all but the first",
    )
    convention: Convention | Annotated[tuple[Convention, ...], Field(min_length=1)] = Field(
        default="medpy", description="whose surface distances: MedPy's, EvaluateSegmentation's, or "
        "the HD95 of the MRBrainS18 challenge; of several, those after the first are named beside "
        "their metrics",
    )  # fmt: skip
    tolerance: NotNegative | None = Field(default=None, description="of NSD; null: one pixel")
    unit: Literal["mm", "pixel"] = Field(
        default="mm", description="mm where the cache knows the spacing"
    )
    against: tuple[str, ...] = Field(
        default=("labels",), description="labels, truth, or names of further label maps"
    )
    window: tuple[Positive, ...] | None = Field(
        default=None, description="size of the sliding window; null: whole images"
    )
    overlap: Annotated[Number, Field(ge=0, lt=1)] = Field(
        default=0.5, description="of neighbouring windows, as a share of their size"
    )
    flips: Axes = Field(
        default=(),
        description="spatial axes: the mean of predictions of the image and its mirror images, "
        "which takes 2, 4 or 8 times as long; not while validating",
    )
    bootstrap: Whole = Field(default=2000, description="resamples over patients for the intervals")

    @field_validator("classes")
    @classmethod
    def _known_set(cls, value: Any) -> Any:
        if isinstance(value, str) and value not in CLASS_SETS:
            raise ValueError(
                f"there is no class set {value!r}; the sets are {', '.join(CLASS_SETS)}"
            )
        return value

    @property
    def conventions(self) -> tuple[Convention, ...]:
        """Every convention that is asked for, once."""
        given = (self.convention,) if isinstance(self.convention, str) else self.convention
        return tuple(dict.fromkeys(given))


class Recipe(Section):
    """A training run. :func:`load_recipe` reads one."""

    name: str = Field(default="recipe", description="names the run")
    about: str = Field(default="", description="one sentence")
    arm: str | None = Field(default=None, description="one of `arms`")
    seed: Whole = Field(default=0, description="of the weights, the batches and the augmentation")
    data: DataConfig = DataConfig()
    generate: dict[str, Any] = Field(
        default_factory=dict,
        description="settings of `softlabel generate` for a missing cache, the words of its steps "
        "among them (denoise: none)",
    )
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()

    @field_validator("generate")
    @classmethod
    def _possible_settings(cls, value: dict[str, Any]) -> dict[str, Any]:
        settled = _with_words_of_steps(value)
        generation_settings(settled)
        return settled

    @model_validator(mode="after")
    def _possible(self) -> Recipe:
        if self.data.raters == "sample" and self.loss.beta > 0 and self.loss.target == "soft":
            raise ValueError(
                "data.raters=sample trains on the hard labels of single raters, and a cache has no "
                "soft labels of theirs; set loss.beta=0 or loss.target=hard"
            )
        return self

    def epoch_steps(self, images: int) -> int:
        """Steps in an epoch, after which validation and the learning rate's schedule look.

        Parameters
        ----------
        images : int
            Training images.
        """
        if self.train.epoch_steps is not None:
            return self.train.epoch_steps
        # one patch shows little of a volume: seven patients would be an epoch of a few patches
        if self.data.crop is not None and len(self.data.crop) == 3:
            return VOLUME_EPOCH_STEPS
        return -(-images // self.data.batch_size)

    def flat(self) -> dict[str, Any]:
        """Every value under its dotted key."""
        return flatten(self.model_dump(mode="json"))


def _with_words_of_steps(generate: Mapping[str, Any]) -> dict[str, Any]:
    """The section with the words of the steps where :class:`softlabel.Settings` has them.

    ``denoise: none`` stands for ``preprocess_options: {denoise: none}``, and ``resample_mm: none``
    for no resampling. A step that a word leaves out takes its options along, so that one key is
    enough.

    Raises
    ------
    ValueError
        When a word is in both places.

    Examples
    --------
    >>> _with_words_of_steps({"brain_mask": "none", "preprocess_options": {"grow_mm": 6}})
    {'preprocess_options': {'brain_mask': 'none'}}
    """
    settled = _with_moved_words(generate)
    options = settled.pop("preprocess_options", {})
    if not isinstance(options, Mapping):
        return dict(generate)  # the settings say what is wrong with it
    gone = {step for step, s in STEPS.items() if options.get(s.asked_by or step) in _LEAVE_OUT}
    idle = {name for name, owners in step_fields().items() if gone.issuperset(owners)}
    if options.get("resample_mm") in _LEAVE_OUT:  # numbers, which have no word for it
        idle.add("resample_mm")
    options = {name: value for name, value in options.items() if name not in idle}
    return settled | ({"preprocess_options": options} if options else {})


def _with_moved_words(generate: Mapping[str, Any]) -> dict[str, Any]:
    """The section of one file with the words of the steps where another file may have them.

    Nothing is left out yet: what a word leaves out may stand in the file below.

    Raises
    ------
    ValueError
        When a word is in both places.

    Examples
    --------
    >>> _with_moved_words({"n_segments": 9, "resample_mm": "none"})
    {'n_segments': 9, 'preprocess_options': {'resample_mm': 'none'}}
    """
    words = {name: generate[name] for name in word_fields() if name in generate}
    options = generate.get("preprocess_options", {})
    if not words or not isinstance(options, Mapping):
        return dict(generate)
    if twice := [name for name in words if name in options]:
        raise ValueError(
            f"{twice[0]} is given both by itself and in preprocess_options; give it once"
        )
    rest = {name: value for name, value in generate.items() if name not in words}
    return rest | {"preprocess_options": {**options, **words}}


_LEAVE_OUT = ("none", "keep")
"""Words that leave a step out."""


def generation_settings(values: Mapping[str, Any]) -> Settings:
    """The ``generate`` section as :class:`softlabel.generation.settings.Settings`.

    Raises
    ------
    ValueError
        Naming the key.
    """
    try:
        return Settings(**_with_numbers(values))
    except SoftlabelError as error:
        raise ValueError(str(error)) from error


def load_recipe(
    name_or_path: str | Path, overrides: Iterable[str] = (), *, arm: str | None = None
) -> Recipe:
    """Read a recipe.

    Parameters
    ----------
    name_or_path : str or Path
        The name of a recipe that is shipped (:func:`recipe_names`) or the path of a YAML file.
    overrides : iterable of str
        ``dotted.key=value``, the value written as in YAML.
    arm : str, optional
        One of the recipe's arms.

    Returns
    -------
    Recipe

    Raises
    ------
    UsageError
        For a recipe that is not there, and for unknown keys, wrong types and impossible values,
        naming the key.
    """
    values = _read_with_bases(name_or_path, ())
    given = [parse_override(text) for text in overrides]
    chosen = [value for key, value in given if key == "arm"]
    selected = chosen[-1] if chosen else arm if arm is not None else values.get("arm")
    arms = values.pop("arms", {})
    values.pop("grids", None)
    resolved = not arms and not chosen and arm is None
    if selected is not None and not resolved:  # the recipe of a run names its arm and has no others
        if not isinstance(selected, str) or selected not in arms:
            known = ", ".join(arms) or "none"
            raise UsageError(
                f"The recipe {name_or_path} has no arm {selected!r}; its arms are: {known}."
            )
        for key, value in arms[selected].items():
            _set(values, key, value)
        values["arm"] = selected
    for key, value in given:
        _set(values, key, value)
    return make_recipe(values, str(name_or_path))


def make_recipe(values: Mapping[str, Any], source: str) -> Recipe:
    """Check nested values and make a :class:`Recipe` of them.

    Raises
    ------
    UsageError
        Naming ``source`` and the key.
    """
    try:
        return Recipe.model_validate(_without_nulls(values, Recipe))
    except ValidationError as error:
        raise UsageError(f"The recipe {source}: {_sentence(error)}") from error


def recipe_names() -> dict[str, str]:
    """Names of the recipes that are shipped, and what each is about."""
    folder = resources.files("softlabel_train") / "recipes"
    found = {}
    for file in sorted(folder.iterdir(), key=lambda f: f.name):
        if file.name.endswith(".yaml"):
            values = yaml.safe_load(file.read_text(encoding="utf-8"))
            found[file.name.removesuffix(".yaml")] = str(values.get("about", ""))
    return found


def recipe_arms(name_or_path: str | Path) -> list[str]:
    """Names of a recipe's arms."""
    return list(_read_with_bases(name_or_path, ()).get("arms", {}))


def recipe_grids(name_or_path: str | Path) -> dict[str, dict[str, list[Any]]]:
    """The grids of a recipe by name: values of dotted keys, for a sweep."""
    found = _read_with_bases(name_or_path, ()).get("grids", {})
    return {str(name): dict(grid) for name, grid in found.items()}


def parse_override(text: str) -> tuple[str, Any]:
    """Split ``key=value`` and read the value as YAML.

    Examples
    --------
    >>> parse_override("loss.beta=0.5"), parse_override("data.crop=[256, 256]")
    (('loss.beta', 0.5), ('data.crop', [256, 256]))
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UsageError(
            f"An override is written key=value, for example loss.beta=0.5; got {text!r}."
        )
    try:
        return key, parse_yaml(value) if value else None
    except yaml.YAMLError as error:
        raise UsageError(f"The value of {key} cannot be read as YAML: {value!r:.200}.") from error
    except DocumentError as error:
        raise UsageError(f"The value of {key} cannot be used: {error}.") from error


def parse_grid(text: str) -> tuple[str, list[Any]]:
    """Split ``key=v1,v2`` into the key and its values; a list is written in brackets.

    Examples
    --------
    >>> parse_grid("loss.beta=0.5,1,2"), parse_grid("data.crop=[64, 64],null")
    (('loss.beta', [0.5, 1, 2]), ('data.crop', [[64, 64], None]))
    """
    key, value = parse_override(f"{text.partition('=')[0]}=[{text.partition('=')[2]}]")
    if "=" not in text or not value:
        raise UsageError(f"A swept key is written key=v1,v2; got {text!r}.")
    return key, value


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted keys.

    Examples
    --------
    >>> flatten({"a": {"b": 1}, "c": 2})
    {'a.b': 1, 'c': 2}
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _read_with_bases(name_or_path: str | Path, seen: tuple[str, ...]) -> dict[str, Any]:
    """The recipe's values on top of its base's, and so on."""
    source = str(name_or_path)
    if source in seen:
        raise UsageError(
            f"The recipes {' → '.join([*seen, source])} continue each other in a circle."
        )
    values = _read_yaml(name_or_path)
    base = values.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise UsageError(f"The recipe {source}: base must be the name or path of another recipe.")
    arms = values.get("arms", {})
    if not isinstance(arms, dict) or not all(isinstance(a, dict) for a in arms.values()):
        raise UsageError(f"The recipe {source}: arms must map names to {{dotted.key: value}}.")
    if not _are_grids(values.get("grids", {})):
        raise UsageError(f"The recipe {source}: grids must map names to {{dotted.key: [v1, v2]}}.")
    if base is None:
        return values
    path = Path(source)
    near = path.parent / str(base) if path.suffix in _SUFFIXES else Path(str(base))
    below = _read_with_bases(
        near if near.suffix in _SUFFIXES and near.is_file() else base, (*seen, source)
    )
    return _merged(below, values)


def _are_grids(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(grid, dict) and all(isinstance(v, list) and v for v in grid.values())
        for grid in value.values()
    )


_SUFFIXES = {".yaml", ".yml"}


def _read_yaml(name_or_path: str | Path) -> dict[str, Any]:
    path = Path(name_or_path)
    if path.suffix in _SUFFIXES:
        if not path.is_file():
            raise UsageError(f"The recipe {path} does not exist.")
        text = _text_of(path)
    else:
        name = str(name_or_path)
        known = list(recipe_names())
        if name not in known:
            raise UsageError(
                f"There is no recipe {name!r}{did_you_mean(name, known) or '.'} The recipes are "
                f"{', '.join(known)}; the path of one of your own ends in .yaml."
            )
        file = resources.files("softlabel_train") / "recipes" / f"{name}.yaml"
        text = file.read_text(encoding="utf-8")
    try:
        values = parse_yaml(text) or {}
    except DocumentError as error:
        raise UsageError(
            f"The recipe {name_or_path} cannot be used: {error}. Correct it."
        ) from error
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" in line {where.line + 1}" if where else ""
        raise UsageError(f"The recipe {name_or_path} is not valid YAML{line}.") from error
    if not isinstance(values, dict):
        raise UsageError(f"The recipe {name_or_path} must be a mapping of keys to values.")
    if isinstance(generate := values.get("generate"), Mapping):
        try:
            values["generate"] = _with_moved_words(generate)
        except ValueError as error:
            raise UsageError(f"The recipe {name_or_path}: generate: {error}.") from error
    data = values.get("data")
    if isinstance(data, dict) and isinstance(data.get("split"), str):
        data["split"] = {"kind": data["split"]}
    return values


def _text_of(path: Path) -> str:
    with open_regular(path) as stream:
        data = stream.read(LARGEST_YAML + 1)
    if len(data) > LARGEST_YAML:
        raise UsageError(f"The recipe {path} has more than {LARGEST_YAML} bytes; give a recipe.")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"The recipe {path} is not UTF-8 (byte 0x{data[error.start]:02x} in line {line}); save "
            "it as UTF-8."
        ) from error


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """The values of ``above`` over those ``below``; ``{}`` leaves nothing of a section.

    Examples
    --------
    >>> _merged({"a": {"b": 1, "c": 2}, "d": {"e": 3}}, {"a": {"b": None}, "d": {}})
    {'a': {'b': None, 'c': 2}, 'd': {}}
    """
    result = dict(below)
    for key, value in above.items():
        mine = result.get(key)
        if value and isinstance(mine, dict) and isinstance(value, dict):
            result[key] = _merged(mine, value)
        else:
            result[key] = value
    return result


def _without_nulls(values: Mapping[str, Any], section: type[BaseModel]) -> dict[str, Any]:
    """The values without those that are null, which have their defaults then.

    Keys that the section does not know stay, so that they are refused.
    """
    kept: dict[str, Any] = {}
    for key, value in values.items():
        field = section.model_fields.get(key)
        if value is None and field is not None:
            continue
        kind = None if field is None else field.annotation
        if isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            kept[key] = _without_nulls(value, kind)
        elif isinstance(value, Mapping) and field is not None:
            kept[key] = _options_without_nulls(value, key)
        else:
            kept[key] = value
    return kept


def _options_without_nulls(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The same of a section whose keys others know: the settings, a reader, an architecture."""
    known = {*Settings.__dataclass_fields__, *word_fields()} if key == "generate" else {*values}
    return {
        name: _options_without_nulls(value, name) if isinstance(value, Mapping) else value
        for name, value in values.items()
        if value is not None or name not in known
    }


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    if dotted == "data.split" and isinstance(value, str):  # short for its kind
        dotted = "data.split.kind"
    *sections, key = str(dotted).split(".")
    if sections == ["generate"] and key in word_fields():
        sections.append("preprocess_options")
    here = values
    for section in sections:
        inner = here.get(section)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise UsageError(
                f"{dotted} is no key of a recipe: {section} is a value, not a section."
            )
        inner = here[section] = dict(inner)
        here = inner
    here[key] = value


def _sentence(error: ValidationError) -> str:
    """The first complaint, with its dotted key."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    key = ".".join(location)
    others = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{key} is no key of a recipe{others}{did_you_mean(key, _keys()) or '.'}"
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    message = message[:1].lower() + message[1:]
    found = "" if isinstance(first["input"], Mapping | BaseModel) else f"; got {first['input']!r}"
    end = "" if message.endswith("?") and not found and not others else "."
    return f"{key}: {message}{found}{others}{end}"


def _keys() -> list[str]:
    return list(Recipe().flat())
