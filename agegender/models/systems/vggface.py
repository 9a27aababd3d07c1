"""System `vggface`: two separate Sequential models on a face-recognition backbone.

The first of the published approaches: an age regressor and a gender classifier, each a VGGFace backbone
with global average pooling under Dense 512 → 256 → 128 with dropout and one output unit.

Before they part, the two can be trained as one network whose heads share the backbone (task "both"): what
one task teaches the features serves the other, at the price of one. `TrainingConfig.start` then lets each
Sequential go on alone from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from agegender.errors import ConfigError
from agegender.labels import MAX_AGE, TASKS, NetworkTask, Task
from agegender.models.backbones import get_backbone
from agegender.models.options import validate_options
from agegender.models.system import System

if TYPE_CHECKING:
    import keras

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
        margin: Pixels that chips show beyond UTKFace's on each side, where those are 200 wide.
        age_head: "distribution", a softmax over years with its expectation as the output unit, or
            "linear", one unit trained on the squared error, as first published.
    """

    backbone: str = "mobilenet"
    input_size: tuple[int, int] | None = None
    hidden: tuple[int, ...] = (512, 256, 128)
    dropout: float = 0.3
    margin: int = 0
    age_head: AgeHead = "distribution"

    def __post_init__(self) -> None:
        validate_options(self)
        if self.age_head not in AGE_HEADS:
            raise ConfigError(f"age head {self.age_head!r} is neither of {', '.join(AGE_HEADS)}")
        if self.input_size is None:
            object.__setattr__(self, "input_size", get_backbone(self.backbone).input_size)


def build(task: NetworkTask, options: VGGFaceOptions) -> keras.Model:
    """Builds one of the two models, or both on a shared backbone, untrained.

    Args:
        task: "age" or "gender" for a Sequential; "both" for a functional model with both heads.
        options: Backbone and head.

    Returns:
        From RGB (batch, height, width, 3), 0 to 255, to (batch, 1): years, or the probability of *female*;
        for "both" to the two of them. With the distribution head the layer ``age_distribution`` before
        ``age`` holds the probabilities of the years 0 to ``MAX_AGE``.
    """
    import keras

    assert options.input_size is not None
    inputs = keras.Input((*options.input_size, 3), name="rgb")
    backbone = get_backbone(options.backbone).build(options.input_size)
    if task != "both":
        layers = [inputs, backbone, *_head(task, options)]
        return keras.Sequential(layers, name=f"vggface_{task}")
    features = backbone(inputs)
    outputs = []
    for one in TASKS:
        x = features
        for layer in _head(one, options, prefix=f"{one}_"):
            x = layer(x)
        outputs.append(x)
    return keras.Model(inputs, outputs, name="vggface_both")


def _head(task: Task, options: VGGFaceOptions, prefix: str = "") -> list[keras.layers.Layer]:
    import keras

    from agegender.models.layers import ExpectedAge

    head: list[keras.layers.Layer] = []
    for i, units in enumerate(options.hidden, start=1):
        head.append(keras.layers.Dense(units, activation="relu", name=f"{prefix}dense_{i}"))
        head.append(keras.layers.Dropout(options.dropout, name=f"{prefix}dropout_{i}"))
    # Outputs stay in full precision whatever the policy: a softmax over 117 years in half loses digits.
    if task == "gender":
        head.append(keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="female"))
    elif options.age_head == "distribution":
        head.append(
            keras.layers.Dense(MAX_AGE + 1, activation="softmax", dtype="float32", name="age_distribution")
        )
        head.append(ExpectedAge(dtype="float32", name="age"))
    else:
        unit = keras.initializers.Constant(0.33)
        head.append(keras.layers.Dense(1, bias_initializer=unit, dtype="float32", name="age_unit"))
        head.append(keras.layers.Rescaling(AGE_SCALE, dtype="float32", name="age"))
    return head


SYSTEM: Final = System("vggface", VGGFaceOptions, build, ("age", "gender", "both"))
