"""System `scratch-cnn`: a small network that has seen nothing before UTKFace.

The fourth of the published approaches, and the yardstick of the others: three blocks of convolution, batch
normalisation, ReLU and pooling, then a gender and an age head. What the others do better is what
pre-training buys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agegender.errors import ConfigError
from agegender.labels import GENDERS, NetworkTask
from agegender.models.options import check_blocks, validate_options
from agegender.models.system import System, network_of

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ScratchCNNOptions:
    """How to build the network of this system.

    Attributes:
        input_size: (height, width) in pixels, at least 16 each.
        filters: Of the three blocks.
        hidden: Units of the dense layer under the heads.
        dropout: Share of its units dropped while training, 0 to under 1.
        backbone: Always ``None``: it has none.
    """

    input_size: tuple[int, int] = (96, 96)
    filters: tuple[int, ...] = (16, 64, 128)
    hidden: int = 256
    dropout: float = 0.4
    backbone: None = None

    def __post_init__(self) -> None:
        validate_options(self)
        if self.backbone is not None:
            raise ConfigError(f"scratch-cnn has no backbone, not {self.backbone!r}")
        check_blocks(self.filters, self.input_size)


def build(task: NetworkTask, options: ScratchCNNOptions) -> keras.Model:
    """Builds the network; see `System.build`. With "age" or "gender" the other head is left out."""
    import keras

    from agegender.models.layers import LastColumn, age_head, convolutional_blocks

    inputs = keras.Input((*options.input_size, 3), name="rgb")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="normalization")(inputs)
    x = convolutional_blocks(x, options.filters)
    x = keras.layers.Dense(options.hidden, activation="relu", name="shared")(x)
    x = keras.layers.Dropout(options.dropout, name="shared_dropout")(x)
    gender = keras.layers.Dense(len(GENDERS), activation="softmax", dtype="float32", name="gender")(x)
    female = LastColumn(dtype="float32", name="female")(gender)
    return network_of(inputs, {"age": age_head(x), "female": female}, task, name="scratch_cnn")


SYSTEM: Final = System("scratch-cnn", ScratchCNNOptions, build, ("both", "age", "gender"))
