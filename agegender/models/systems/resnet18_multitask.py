"""System `resnet18-multitask`: a ResNet18 whose upper half is trained for both tasks at once.

The third of the published approaches. Age is learned normalised and gender as a logit; how much each task
weighs is fixed, or learned as its uncertainty (`agegender.training.uncertainty`). Which blocks train is the
recipe's business: ``frozen_blocks = 3`` leaves layer3, layer4 and the head.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agegender.labels import NetworkTask
from agegender.models.backbones import get_backbone
from agegender.models.options import validate_options
from agegender.models.system import System, network_of

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ResNet18MultitaskOptions:
    """How to build the network of this system.

    Attributes:
        backbone: A name in ``backbones.BACKBONES``.
        input_size: (height, width) in pixels.
        hidden: Units of each task's dense layers.
        dropout: Share of units dropped after each dense layer while training, 0 to under 1.
    """

    backbone: str = "resnet18"
    input_size: tuple[int, int] = (96, 96)
    hidden: tuple[int, ...] = (256,)
    dropout: float = 0.3

    def __post_init__(self) -> None:
        validate_options(self)


def build(task: NetworkTask, options: ResNet18MultitaskOptions) -> keras.Model:
    """Builds the network; see `System.build`. With "age" or "gender" the other branch is left out."""
    import keras

    from agegender.models.layers import age_head, gender_head

    inputs = keras.Input((*options.input_size, 3), name="rgb")
    features = get_backbone(options.backbone).build(options.input_size)(inputs)
    outputs = {}
    for branch, output, head in (("age", "age", age_head), ("gender", "female", gender_head)):
        x = features
        for i, units in enumerate(options.hidden, start=1):
            x = keras.layers.Dense(units, activation="relu", name=f"{branch}_branch_{i}")(x)
            x = keras.layers.Dropout(options.dropout, name=f"{branch}_branch_{i}_dropout")(x)
        outputs[output] = head(x)
    return network_of(inputs, outputs, task, name="resnet18_multitask")


SYSTEM: Final = System("resnet18-multitask", ResNet18MultitaskOptions, build, ("both", "age", "gender"))
