"""System `resnet18-finetuned`: transfer learning by the book, in two stages.

The fifth of the published approaches: a pre-trained ResNet18 whose last fully connected layer gives way to
two, one a task. First only these learn, on features that stay as they are; then everything does, gently.
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
class ResNet18FinetunedOptions:
    """How to build the network of this system.

    Attributes:
        backbone: A name in ``backbones.BACKBONES``.
        input_size: (height, width) in pixels.
    """

    backbone: str = "resnet18"
    input_size: tuple[int, int] = (96, 96)

    def __post_init__(self) -> None:
        validate_options(self)


def build(task: NetworkTask, options: ResNet18FinetunedOptions) -> keras.Model:
    """Builds the network; see `System.build`. Years and log-odds are linear in the backbone's features."""
    import keras

    from agegender.models.layers import age_head, gender_head

    inputs = keras.Input((*options.input_size, 3), name="rgb")
    features = get_backbone(options.backbone).build(options.input_size)(inputs)
    return network_of(
        inputs, {"age": age_head(features), "female": gender_head(features)}, task, name="resnet18_finetuned"
    )


SYSTEM: Final = System("resnet18-finetuned", ResNet18FinetunedOptions, build, ("both", "age", "gender"))
