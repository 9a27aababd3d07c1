"""`TrainingConfig`: everything that decides a training run, frozen, checked and written beside it."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agegender.data.augment import Augmentation
from agegender.errors import ConfigError
from agegender.labels import TASKS, Task
from agegender.models.backbones import get_backbone
from agegender.models.vggface import VGGFaceOptions


@dataclass(frozen=True)
class TrainingConfig:
    """The recipe of one run: one task, one network, two stages.

    Stage "head" trains the dense layers on the frozen backbone; stage "finetune" trains everything.

    Attributes:
        task: "age" or "gender".
        system: Name in the model registry.
        options: How the network is built.
        base_weights: "default" for the backbone's face-recognition weights, "none" for a random start, or
            the path of a weight file.
        head_epochs: Epochs of stage "head".
        epochs: Epochs of stage "finetune".
        frozen_blocks: How many of the backbone's lowest blocks stay as they are in stage "finetune". The
            lowest cost most to train and change least: edges and textures serve any face task.
        batch_size: Chips a step.
        head_learning_rate: Peak learning rate of stage "head".
        learning_rate: Peak learning rate of stage "finetune".
        warmup_epochs: How long each stage's learning rate rises, in epochs; then it falls along a cosine.
        weight_decay: AdamW's.
        clip_norm: Largest global norm of a gradient.
        ema_momentum: Of the exponential moving average of the weights that is validated and kept.
        age_sigma: Spread in years of the label distribution around an age label.
        l1_weight: Weight of the absolute error of the expected age beside the distribution's
            cross-entropy.
        label_smoothing: Of the gender label.
        patience: Epochs without a better validation figure before a run stops early.
        augmentation: What the generator does to chips.
        limit: Train on at most so many chips; ``None`` for all. For trying things out.
        seed: Of initialisation, order and augmentation.
    """

    task: Task
    system: str = "vggface"
    options: VGGFaceOptions = field(default_factory=VGGFaceOptions)
    base_weights: str = "default"
    head_epochs: int = 1
    epochs: int = 8
    frozen_blocks: int = 0
    batch_size: int = 64
    head_learning_rate: float = 1e-3
    learning_rate: float = 2e-4
    warmup_epochs: float = 0.3
    weight_decay: float = 0.01
    clip_norm: float = 5.0
    ema_momentum: float = 0.998
    age_sigma: float = 2.0
    l1_weight: float = 0.2
    label_smoothing: float = 0.04
    patience: int = 5
    augmentation: Augmentation = field(default_factory=Augmentation)
    limit: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(f"task {self.task!r} is neither age nor gender")
        # Written so that NaN, which compares false with everything, is refused too.
        for name in ("head_epochs", "epochs", "frozen_blocks", "weight_decay", "l1_weight", "warmup_epochs"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a number of at least 0, not {getattr(self, name)}")
        for name in (
            "batch_size",
            "head_learning_rate",
            "learning_rate",
            "clip_norm",
            "age_sigma",
            "patience",
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} must be a number over 0, not {getattr(self, name)}")
        blocks = get_backbone(self.options.backbone).blocks
        if self.frozen_blocks >= len(blocks):
            raise ConfigError(f"frozen_blocks {self.frozen_blocks} leaves none of {len(blocks)} to train")
        if self.head_epochs + self.epochs == 0:
            raise ConfigError("head_epochs and epochs are both 0: nothing to train")
        if not (0 <= self.ema_momentum < 1 and 0 <= self.label_smoothing < 1):
            raise ConfigError("ema_momentum and label_smoothing lie in [0, 1)")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit must be at least 1, not {self.limit}")

    @property
    def monitor(self) -> str:
        """The validation figure that decides which epoch is best: "val_mae" or "val_accuracy"."""
        return "val_mae" if self.task == "age" else "val_accuracy"

    @property
    def monitor_in_keras(self) -> str:
        """The same figure under the name Keras logs it by."""
        multiple_outputs = self.task == "age" and self.options.age_head == "distribution"
        return "val_age_mae" if multiple_outputs else self.monitor

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready nested dictionaries."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainingConfig:
        """The inverse of `to_dict`.

        Raises:
            ConfigError: A key is unknown, or a value makes no sense.
        """
        rest = dict(values)
        options = _from_known(VGGFaceOptions, rest.pop("options", {}), "options")
        augmentation = _from_known(Augmentation, rest.pop("augmentation", {}), "augmentation")
        return _from_known(cls, {**rest, "options": options, "augmentation": augmentation}, "config")

    @classmethod
    def read(cls, path: Path) -> TrainingConfig:
        """Reads what a run wrote as ``config.json``.

        Raises:
            ConfigError: The file is not there or is not a config.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read the config {path}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigError(f"{path} is not a config: it holds no keys")
        return cls.from_dict(values)


def _from_known(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ConfigError(f"unknown key {', '.join(unknown)} in {where}; known: {', '.join(sorted(known))}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
