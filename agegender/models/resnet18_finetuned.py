"""System `resnet18-finetuned`: transfer learning by the book, in two stages.

The fifth of the published approaches: a pre-trained ResNet18 whose last fully connected layer gives way to
two, one a task. First only these learn, on features that stay as they are; then everything does, gently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import keras

from agegender.models.backbones import get_backbone
from agegender.models.layers import age_head, gender_head
from agegender.models.systems import NetworkTask, System


@dataclass(frozen=True)
class ResNet18FinetunedOptions:
    """How to build the network of this system.

    Attributes:
        backbone: A name in ``backbones.BACKBONES``.
        input_size: (height, width) in pixels.
    """

    backbone: str = "resnet18"
    input_size: tuple[int, int] = (96, 96)

    def __post_init__(self) -> None:
        get_backbone(self.backbone)
        object.__setattr__(self, "input_size", (int(self.input_size[0]), int(self.input_size[1])))


def build(task: NetworkTask, options: ResNet18FinetunedOptions) -> keras.Model:
    """Builds the network, untrained.

    Args:
        task: "both".
        options: Backbone and input.

    Returns:
        From RGB (batch, height, width, 3), 0 to 255, to years and the probability of *female*, (batch, 1)
        each, both linear in the backbone's features but for the sigmoid.

    Raises:
        ConfigError: The task is another.
    """
    SYSTEM.require(task)
    inputs = keras.Input((*options.input_size, 3), name="rgb")
    features = get_backbone(options.backbone).build(options.input_size)(inputs)
    return keras.Model(inputs, [age_head(features), gender_head(features)], name="resnet18_finetuned")


SYSTEM: Final = System("resnet18-finetuned", ResNet18FinetunedOptions, build, ("both",))
