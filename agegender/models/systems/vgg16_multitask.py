"""System `vgg16-multitask`: one functional VGG16, flattened, with an age and a gender branch.

The second of the published approaches. The map of VGG16's last block goes flat into a dense layer with
batch normalisation and dropout, so that the head knows where in the face a feature lies, which global
pooling forgets. Both tasks share all of it but a small dense layer each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agegender.errors import ConfigError
from agegender.labels import NetworkTask
from agegender.models.backbones import get_backbone
from agegender.models.options import validate_options
from agegender.models.system import System, network_of

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class VGG16MultitaskOptions:
    """How to build the network of this system.

    Attributes:
        backbone: A name in ``backbones.BACKBONES`` that ends in global average pooling.
        input_size: (height, width) in pixels; decides the size of the flattened map.
        shared: Units of the dense layer that both tasks share.
        branch: Units of each task's own dense layer.
        dropout: Share of units dropped after each dense layer while training, 0 to under 1.
    """

    backbone: str = "vgg16"
    input_size: tuple[int, int] = (96, 96)
    shared: int = 128
    branch: int = 64
    dropout: float = 0.4

    def __post_init__(self) -> None:
        validate_options(self)
        if self.shared < 1 or self.branch < 1:
            raise ConfigError(f"dense layers need units, not {self.shared} and {self.branch}")


def build(task: NetworkTask, options: VGG16MultitaskOptions) -> keras.Model:
    """Builds the network; see `System.build`. With "age" or "gender" the other branch is left out."""
    import keras

    from agegender.models.layers import age_head, gender_head, without_pooling

    def dense(x: Any, units: int, name: str) -> Any:
        # No bias: batch normalisation would subtract it again.
        x = keras.layers.Dense(units, use_bias=False, kernel_initializer="he_normal", name=name)(x)
        x = keras.layers.BatchNormalization(name=f"{name}_bn")(x)
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
        return keras.layers.Dropout(options.dropout, name=f"{name}_dropout")(x)

    inputs = keras.Input((*options.input_size, 3), name="rgb")
    backbone = get_backbone(options.backbone).build(options.input_size)
    x = without_pooling(backbone)(inputs)
    x = keras.layers.Flatten(name="flatten")(x)
    x = dense(x, options.shared, "shared")
    age = age_head(dense(x, options.branch, "age_branch"))
    female = gender_head(dense(x, options.branch, "gender_branch"))
    return network_of(inputs, {"age": age, "female": female}, task, name="vgg16_multitask")


SYSTEM: Final = System("vgg16-multitask", VGG16MultitaskOptions, build, ("both", "age", "gender"))
