"""`TrainingConfig`: everything that decides a training run, frozen, checked and written beside it."""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from agegender.data.augment import Augmentation
from agegender.data.sampling import SamplingRule
from agegender.errors import ConfigError
from agegender.files import read_json
from agegender.labels import NetworkTask
from agegender.models.backbones import get_backbone
from agegender.models.registry import get_system

ACCURACY_IN_YEARS: Final = 50.0
"""What a network of both tasks is judged by: its mean absolute error in years plus so many times its share of
wrong genders. Two points of accuracy weigh as much as a year, which is about what either costs to gain."""


@dataclass(frozen=True)
class Stage:
    """A stretch of epochs with one set of trainable layers and one learning-rate curve.

    Attributes:
        name: For the history: "head", "finetune" or what you like.
        epochs: How many.
        learning_rate: Its peak.
        frozen_blocks: How many of the backbone's lowest blocks do not train, or "all". The lowest cost
            most to train and change least: edges and textures serve any face task. Where a network has no
            backbone nothing is frozen.
    """

    name: str
    epochs: int
    learning_rate: float
    frozen_blocks: int | Literal["all"] = 0


DEFAULT_STAGES: Final = (Stage("head", 1, 1e-3, "all"), Stage("finetune", 8, 2e-4, 0))


@dataclass(frozen=True)
class TrainingConfig:
    """The recipe of one run: one network, and the stages it is trained in.

    Attributes:
        task: "age", "gender", or "both" where one network answers both.
        system: Name of a family in `agegender.models.system`.
        options: How the network is built, an instance of the system's options.
        base_weights: "default" for the backbone's own weights, "none" for a random start, the name of
            others it knows, or the path of a weight file.
        start: Name of a published model, or folder of a run, to go on from: the weights it kept are taken
            over wherever layers match, so a network of one task can start from one of both. ``None`` starts
            from ``base_weights``.
        stages: One after the other, each with fresh optimiser state.
        batch_size: Chips a step.
        optimizer: "adamw", or "adam" without weight decay.
        schedule: Within a stage: "cosine" after a warm-up, "constant", or "plateau", which divides by
            ``plateau_factor`` after ``plateau_patience`` epochs of the stage without a better validation
            figure.
        warmup_epochs: How long each stage's learning rate rises under "cosine", in epochs.
        plateau_factor: What "plateau" divides the learning rate by.
        plateau_patience: See ``schedule``.
        layer_decay: Each block of the backbone learns at this multiple of the rate of the block above
            it (discriminative learning rates); 1 trains all alike.
        rates: Factors of the stage's learning rate for parts of a network, by how the names of their layers
            begin: ``{"range_net_": 5.0}``. They come on top of ``layer_decay``.
        weight_decay: AdamW's.
        clip_norm: Largest global norm of a gradient.
        ema_momentum: Of the exponential moving average of the weights that is validated and kept; 0
            keeps the weights themselves.
        age_loss: On the years: "mae" or "mse". Beside a distribution it is "mae" times ``age_weight``.
        age_sigma: Spread in years of the label distribution around an age label.
        age_weight: Weight of the loss on years beside the age distribution's cross-entropy, and beside
            gender's loss where there is no distribution.
        gender_weight: Weight of the gender loss where a network answers both.
        range_weight: Weight of the cross-entropy over age ranges, where a network has them.
        weighting: "fixed" keeps the weights of the losses; "uncertainty" starts from them and learns them
            with the network, see `agegender.training.uncertainty`.
        label_smoothing: Of the gender label.
        teacher: Name of a published model whose answers on the unchanged training chips are mixed into
            the training labels (knowledge distillation), or ``None``.
        teacher_weight: The teacher's share in the mixed labels, 0 to 1.
        balance: "none", or "age", "gender" or "both": weighs each chip by the inverse square root of
            how common its age band, gender, or both together are.
        mixup: Alpha of Keras's MixUp on training batches, 0 for none to 1.
        cutmix: Alpha of Keras's CutMix, 0 for none to 1. With both, each batch takes one by chance.
        erasing: Share of training chips that Keras's RandomErasing covers in part with noise, beside what
            ``augmentation`` covers.
        precision: "float32", "mixed_float16", "mixed_bfloat16", or "auto": mixed where there is a GPU.
        patience: Epochs of the last stage without a better validation figure after which the run stops
            early. Stages before it, which prepare for it, run as planned.
        augmentation: What the generator does to chips.
        sampling: Which pictures come more often than others, see `agegender.data.sampling`.
        epoch_chips: Pictures an epoch, drawn by ``sampling``; ``None`` for as many as there are.
        limit: Train, and validate, on at most so many chips; ``None`` for all. For trying things out.
        seed: Of initialisation, order and augmentation.
    """

    task: NetworkTask
    system: str = "vggface"
    options: Any = None
    base_weights: str = "default"
    start: str | None = None
    stages: tuple[Stage, ...] = DEFAULT_STAGES
    batch_size: int = 64
    optimizer: Literal["adamw", "adam"] = "adamw"
    schedule: Literal["cosine", "constant", "plateau"] = "cosine"
    warmup_epochs: float = 0.3
    plateau_factor: float = 2.0
    plateau_patience: int = 2
    layer_decay: float = 1.0
    rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    ema_momentum: float = 0.998
    age_loss: Literal["mae", "mse"] = "mse"
    age_sigma: float = 2.0
    age_weight: float = 0.2
    gender_weight: float = 1.0
    range_weight: float = 1.0
    weighting: Literal["fixed", "uncertainty"] = "fixed"
    label_smoothing: float = 0.04
    teacher: str | None = None
    teacher_weight: float = 0.5
    balance: Literal["none", "age", "gender", "both"] = "none"
    mixup: float = 0.0
    cutmix: float = 0.0
    erasing: float = 0.0
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    patience: int = 5
    augmentation: Augmentation = field(default_factory=Augmentation)
    sampling: tuple[SamplingRule, ...] = ()
    epoch_chips: int | None = None
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        system = get_system(self.system)
        if self.options is None:
            object.__setattr__(self, "options", system.options())
        if not isinstance(self.options, system.options):
            raise ConfigError(f"options of {self.system} are {system.options.__name__}, not {self.options!r}")
        if self.task not in system.tasks:
            raise ConfigError(f"task {self.task!r} is none of {self.system}: {', '.join(system.tasks)}")
        self._check_choices()
        self._check_numbers()
        self._check_stages()

    def _check_choices(self) -> None:
        choices = {
            "optimizer": ("adamw", "adam"),
            "schedule": ("cosine", "constant", "plateau"),
            "age_loss": ("mae", "mse"),
            "weighting": ("fixed", "uncertainty"),
            "balance": ("none", "age", "gender", "both"),
            "precision": ("auto", "float32", "mixed_float16", "mixed_bfloat16"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")
        for name in ("base_weights", "start", "teacher"):
            value = getattr(self, name)
            if not isinstance(value, str) and (value is not None or name == "base_weights"):
                raise ConfigError(f"{name} must be text, not {value!r}")

    def _check_numbers(self) -> None:
        _check_whole(self, ("batch_size", "patience", "plateau_patience"), least=1)
        _check_whole(self, ("seed",), least=0)
        for name in ("limit", "epoch_chips"):
            if getattr(self, name) is not None:
                _check_whole(self, (name,), least=1)
        at_least_0 = ("weight_decay", "warmup_epochs", "age_weight", "gender_weight", "range_weight")
        _check_number(self, at_least_0, "at least 0", lambda value: 0 <= value < math.inf)
        _check_number(self, ("clip_norm", "age_sigma"), "over 0", lambda value: 0 < value < math.inf)
        _check_number(self, ("plateau_factor",), "over 1", lambda value: 1 < value < math.inf)
        _check_number(self, ("layer_decay",), "over 0, at most 1", lambda value: 0 < value <= 1)
        below_1 = ("ema_momentum", "label_smoothing")
        _check_number(self, below_1, "at least 0, under 1", lambda value: 0 <= value < 1)
        if not isinstance(self.rates, Mapping) or not all(
            _is_number(rate) and 0 <= rate < math.inf for rate in self.rates.values()
        ):
            raise ConfigError(f"rates are factors of at least 0 by layer name, not {self.rates!r}")
        shares = ("teacher_weight", "mixup", "cutmix", "erasing")
        _check_number(self, shares, "0 to 1", lambda value: 0 <= value <= 1)

    def _check_stages(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ConfigError(f"stages must have different names, not {', '.join(names)}")
        for stage in self.stages:
            _check_whole(stage, ("epochs",), least=0)
            _check_number(stage, ("learning_rate",), "over 0", lambda value: 0 < value < math.inf)
            if stage.frozen_blocks == "all":
                continue
            if isinstance(stage.frozen_blocks, str):
                raise ConfigError(f"frozen_blocks is a number or all, not {stage.frozen_blocks!r}")
            _check_whole(stage, ("frozen_blocks",), least=0)
            if stage.frozen_blocks >= max(1, len(self.blocks)):
                raise ConfigError(
                    f"frozen_blocks {stage.frozen_blocks} leaves none of {len(self.blocks)} to train; "
                    'to train the head alone say "all"'
                )
        if self.epochs == 0:
            raise ConfigError("there are no epochs in any stage: nothing to train")

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the layers that begin each block of the backbone; empty where there is none."""
        return get_backbone(self.options.backbone).blocks if self.options.backbone else ()

    @property
    def epochs(self) -> int:
        """Of all stages."""
        return sum(stage.epochs for stage in self.stages)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready nested dictionaries."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """The inverse of `to_dict`; keys that are left out take their defaults.

        Raises:
            ConfigError: A key is unknown, or a value makes no sense.
        """
        rest = dict(values)
        system = get_system(rest.get("system", "vggface"))
        rest["options"] = _from_known(system.options, rest.pop("options", None) or {}, "options")
        rest["augmentation"] = _from_known(Augmentation, rest.pop("augmentation", {}), "augmentation")
        rules = rest.pop("sampling", ())
        if not isinstance(rules, (list, tuple)):
            raise ConfigError(f"sampling is a list of rules, not {rules!r}")
        rest["sampling"] = tuple(_from_known(SamplingRule, rule, "sampling") for rule in rules)
        if "stages" in rest:
            if not isinstance(rest["stages"], (list, tuple)):
                raise ConfigError(f"stages is a list of stages, not {rest['stages']!r}")
            rest["stages"] = tuple(_from_known(Stage, stage, "stages") for stage in rest["stages"])
        config: TrainingConfig = _from_known(cls, rest, "config")
        return config

    @classmethod
    def read(cls, path: Path) -> TrainingConfig:
        """Reads a recipe: TOML as people write it, or ``config.json`` as a run wrote it.

        Raises:
            ConfigError: The file is not there or is not a config.
        """
        values = read_config_values(path)
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def read_config_values(path: Path) -> dict[str, Any]:
    """Reads the keys of a ``.toml`` or ``.json`` recipe, unchecked.

    Raises:
        ConfigError: The file is not there, or is neither.
    """
    try:
        values = (
            tomllib.loads(path.read_text(encoding="utf-8")) if path.suffix == ".toml" else read_json(path)
        )
    except OSError as error:
        raise ConfigError(f"cannot read the config {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not a config, TOML or JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a config: it holds no keys")
    return values


def _from_known(kind: type[Any], values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise ConfigError(f"{where} holds no keys: {values!r}")
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown key {', '.join(unknown)} in {where}; known: {', '.join(sorted(known))}")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _check_number(owner: Any, names: Iterable[str], words: str, holds: Callable[[float], bool]) -> None:
    """Refuses what is no number, NaN, which compares false with everything, and what is out of range."""
    for name in names:
        value = getattr(owner, name)
        if not _is_number(value) or not holds(value):
            raise ConfigError(f"{name} must be a number, {words}, not {value!r}")


def _check_whole(owner: Any, names: Iterable[str], *, least: int) -> None:
    for name in names:
        value = getattr(owner, name)
        if not _is_number(value) or not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
