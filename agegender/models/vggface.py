"""System `vggface`: two separate Sequential models on a face-recognition backbone.

The first of the published approaches: an age regressor and a gender classifier, each a VGGFace backbone
with global average pooling under Dense 512 → 256 → 128 with dropout and one output unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import keras

from agegender.errors import ConfigError
from agegender.labels import MAX_AGE, Task
from agegender.models.backbones import get_backbone
from agegender.models.layers import ExpectedAge

AgeHead = Literal["distribution", "linear"]
AGE_HEADS: Final[tuple[AgeHead, ...]] = ("distribution", "linear")

AGE_SCALE: Final = 100.0
"""What the linear head multiplies its unit by: targets then lie near one, where optimisers do well."""


@dataclass(frozen=True)
class VGGFaceOptions:
    """How to build a model of this system.

    Attributes:
        backbone: A name in ``backbones.BACKBONES``.
        input_size: (height, width) in pixels; ``None`` takes the backbone's default.
        hidden: Units of the dense layers.
        dropout: Share of units dropped after each dense layer while training, 0 to under 1.
        age_head: "distribution", a softmax over years with its expectation as the output unit, or
            "linear", one unit trained on the squared error, as first published.
    """

    backbone: str = "mobilenet"
    input_size: tuple[int, int] | None = None
    hidden: tuple[int, ...] = (512, 256, 128)
    dropout: float = 0.3
    age_head: AgeHead = "distribution"

    def __post_init__(self) -> None:
        if self.age_head not in AGE_HEADS:
            raise ConfigError(f"age head {self.age_head!r} is neither of {', '.join(AGE_HEADS)}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout {self.dropout} is not in [0, 1)")
        backbone = get_backbone(self.backbone)
        size = backbone.input_size if self.input_size is None else self.input_size
        object.__setattr__(self, "input_size", (int(size[0]), int(size[1])))
        object.__setattr__(self, "hidden", tuple(int(units) for units in self.hidden))


def build(task: Task, options: VGGFaceOptions) -> keras.Sequential:
    """Builds one of the two models, untrained.

    Args:
        task: "age" or "gender".
        options: Backbone and head.

    Returns:
        A Sequential from RGB (batch, height, width, 3), 0 to 255, to (batch, 1): years, or the
        probability of *female*. With the distribution head the layer ``age_distribution`` before the
        last holds the probabilities of the years 0 to ``MAX_AGE``.
    """
    assert options.input_size is not None
    model = keras.Sequential(name=f"vggface_{task}")
    model.add(keras.Input((*options.input_size, 3), name="rgb"))
    model.add(get_backbone(options.backbone).build(options.input_size))
    for i, units in enumerate(options.hidden, start=1):
        model.add(keras.layers.Dense(units, activation="relu", name=f"dense_{i}"))
        model.add(keras.layers.Dropout(options.dropout, name=f"dropout_{i}"))
    if task == "gender":
        model.add(keras.layers.Dense(1, activation="sigmoid", name="female"))
    elif options.age_head == "distribution":
        model.add(keras.layers.Dense(MAX_AGE + 1, activation="softmax", name="age_distribution"))
        model.add(ExpectedAge(name="age"))
    else:
        model.add(keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(0.33), name="age_unit"))
        model.add(keras.layers.Rescaling(AGE_SCALE, name="age"))
    return model
