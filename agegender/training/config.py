"""`TrainingConfig`: everything that decides a training run, frozen, checked and written beside it.

A setting is one field: `agegender.training.settings` checks it and makes an option of the command line of it.
Imports no TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from agegender.data.augment import Augmentation
from agegender.data.sampling import SamplingRule
from agegender.errors import ConfigError
from agegender.files import MALFORMED, read_json
from agegender.labels import MAX_AGE, NetworkTask
from agegender.models.backbones import get_backbone
from agegender.models.registry import get_system
from agegender.models.system import System
from agegender.training.settings import check_settings, setting

ACCURACY_IN_YEARS: Final = 50.0
"""What a network of both tasks is judged by: its mean absolute error in years plus so many times its share of
wrong genders. Two points of accuracy weigh as much as a year, which is about what either costs to gain."""

_network, _stages, _optimiser, _labels, _data = (
    partial(setting, group) for group in ("network", "stages", "optimiser", "labels and loss", "data")
)


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
    epochs: int = _stages(words="how many epochs", within="[0, inf)")
    learning_rate: float = _stages(words="peak of the learning rate", within="(0, inf)")
    frozen_blocks: int | Literal["all"] = _stages(
        0, "lowest blocks that do not train, a number or all,", "[0, inf)"
    )


DEFAULT_STAGES: Final = (Stage("head", 1, 1e-3, "all"), Stage("finetune", 8, 2e-4, 0))


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides one run: one network, and the stages it is trained in.

    What a setting means stands beside it, and in ``python train.py --help``. The others:

    Attributes:
        options: How the network is built, an instance of the system's options; ``None`` takes its defaults.
        stages: One after the other, each with fresh optimiser state.
        rates: Factors of the stage's learning rate for parts of a network, by how the names of their layers
            begin: ``{"range_net_": 5.0}``. They come on top of ``layer_decay``.
        augmentation: What the generator does to chips.
        sources: Those it learns from, chooses its epoch on and is calibrated on; empty for all. Others that
            are read beside them only measure, and nothing is learnt from a photo that they keep for that.
        sampling: Which pictures come more often than others, see `agegender.data.sampling`.
    """

    task: NetworkTask = _network(words="what it answers")  # noqa: RUF009 - it makes a field
    system: str = _network("vggface", "family of networks")
    options: Any = None
    base_weights: str = _network(
        "default", "what the backbone begins with: default, none, others it knows by name, or a weight file"
    )
    start: str | None = _network(
        None, "run or published model to go on from, wherever layers match: one of both will do; or none"
    )

    stages: tuple[Stage, ...] = DEFAULT_STAGES
    schedule: Literal["cosine", "constant", "plateau"] = _stages("cosine", "of the rate within a stage")
    warmup_epochs: float = _stages(0.3, "epochs in which the rate rises, under cosine", "[0, inf)")
    plateau_factor: float = _stages(2.0, "divides the rate, under plateau", "(1, inf)")
    plateau_patience: int = _stages(2, "epochs of the stage without progress before that", "[1, inf)")
    patience: int = _stages(5, "epochs without progress before the last stage ends early", "[1, inf)")

    batch_size: int = _optimiser(64, "chips a step, over all devices", "[1, inf)")
    optimizer: Literal["adamw", "adam"] = _optimiser("adamw", "adam has no weight decay")
    layer_decay: float = _optimiser(1.0, "rate of a block of the backbone to the one above it", "(0, 1]")
    rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = _optimiser(0.01, "AdamW's", "[0, inf)")
    clip_norm: float = _optimiser(5.0, "largest norm of a gradient, over all weights", "(0, inf)")
    ema_momentum: float = _optimiser(
        0.998, "of the weights' moving average, which is validated and kept; 0 for none", "[0, 1)"
    )
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = _optimiser(
        "auto", "auto is mixed_float16 on a GPU, float32 elsewhere"
    )

    age_loss: Literal["mae", "mse"] = _labels("mse", "on years, with a linear head")
    age_sigma: float = _labels(2.0, "spread in years of a label's distribution", "(0, inf)")
    oldest: int = _labels(
        MAX_AGE, "where training labels end that are open above, as 70 or more, in years", f"[1, {MAX_AGE}]"
    )
    age_weight: float = _labels(0.2, "of the loss on years beside other losses", "[0, inf)")
    gender_weight: float = _labels(1.0, "of gender's loss beside age's", "[0, inf)")
    range_weight: float = _labels(1.0, "of the loss on age ranges", "[0, inf)")
    weighting: Literal["fixed", "uncertainty"] = _labels(
        "fixed", "of several losses: as given, or learned from there"
    )
    label_smoothing: float = _labels(0.04, "of gender's label", "[0, 1)")
    teacher: str | None = _labels(None, "published model whose answers are mixed into the training labels")
    teacher_weight: float = _labels(0.5, "its share in them", "[0, 1]")
    balance: Literal["none", "age", "gender", "both"] = _labels(
        "none", "weigh chips by the inverse root of how common their age band, gender or both are"
    )

    augmentation: Augmentation = field(default_factory=Augmentation)
    sources: tuple[str, ...] = ()
    sampling: tuple[SamplingRule, ...] = ()
    epoch_chips: int | None = _data(None, "pictures an epoch, drawn by the sampling rules", "[1, inf)")
    mixup: float = _data(0.0, "alpha of MixUp on training batches", "[0, 1]")
    cutmix: float = _data(0.0, "alpha of CutMix; with both, each batch takes one by chance", "[0, 1]")
    erasing: float = _data(0.0, "share of chips partly covered with noise, beside augmentation", "[0, 1]")
    limit: int | None = _data(None, "use so many chips only, to try things out", "[1, inf)")
    seed: int = _data(0, "of the first weights, order and augmentation", "[0, inf)")

    def __post_init__(self) -> None:
        system = system_of({"system": self.system})
        if self.options is None:
            object.__setattr__(self, "options", system.options())
        if not isinstance(self.options, system.options):
            raise ConfigError(f"options of {self.system} are {system.options.__name__}, not {self.options!r}")
        if self.task not in system.tasks:
            raise ConfigError(f"task {self.task!r} is none of {self.system}: {', '.join(system.tasks)}")
        check_settings(self)
        if not isinstance(self.rates, Mapping) or not all(
            isinstance(rate, (int, float)) and 0 <= rate <= sys.float_info.max for rate in self.rates.values()
        ):
            raise ConfigError(f"rates are factors of at least 0 by layer name, not {self.rates!r}")
        if not isinstance(self.sources, tuple) or not all(isinstance(name, str) for name in self.sources):
            raise ConfigError(f"sources is a list of names of sources, not {self.sources!r}")
        self._check_stages()

    def _check_stages(self) -> None:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ConfigError(f"stages must have different names, not {', '.join(names)}")
        for stage in self.stages:
            check_settings(stage)
            if stage.frozen_blocks != "all" and stage.frozen_blocks >= max(1, len(self.blocks)):
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
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingConfig:
        """The inverse of `to_dict`; keys that are left out take their defaults.

        Raises:
            ConfigError: A key is unknown, or a value makes no sense.
        """
        rest = dict(values)
        rest["options"] = _from_known(system_of(rest).options, rest.pop("options", None) or {}, "options")
        rest["augmentation"] = _from_known(Augmentation, rest.pop("augmentation", {}), "augmentation")
        rules = rest.pop("sampling", ())
        if not isinstance(rules, (list, tuple)):
            raise ConfigError(f"sampling is a list of rules, not {rules!r}")
        rest["sampling"] = tuple(_from_known(SamplingRule, rule, "sampling") for rule in rules)
        if isinstance(rest.get("sources"), list):
            rest["sources"] = tuple(rest["sources"])
        if "stages" in rest:
            if not isinstance(rest["stages"], (list, tuple)):
                raise ConfigError(f"stages is a list of stages, not {rest['stages']!r}")
            rest["stages"] = tuple(_from_known(Stage, stage, "stages") for stage in rest["stages"])
        config: TrainingConfig = _from_known(cls, rest, "config")
        return config

    @classmethod
    def read(cls, path: Path) -> TrainingConfig:
        """Reads the ``config.json`` of a run.

        Raises:
            ConfigError: The file is not there or is not a config.
        """
        values = read_config_values(path)
        try:
            return cls.from_dict(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error


def system_of(values: Mapping[str, Any]) -> System:
    """The system that a config's values name, or the default one.

    Raises:
        ConfigError: There is none of that name.
    """
    name = values.get("system", "vggface")
    if not isinstance(name, str):
        raise ConfigError(f"system must be text, not {name!r}")
    return get_system(name)


def read_config_values(path: Path) -> dict[str, Any]:
    """Reads the keys of a ``.json`` config or a ``.toml`` recipe, unchecked.

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
    except MALFORMED as error:
        raise ConfigError(f"{where}: {error}") from error
