"""System `age-range`: which of nine age ranges first, how old within it second, and gender on its own.

The remaining published approach, three nets on one input, trained jointly:

- gender on a face-recognition backbone;
- a CNN of three convolutional blocks that sorts faces into the nine ranges of ``labels.AGE_BANDS``;
- an age regressor fed by an embedding of the predicted range.

The embedding is soft: every range has a learned vector, and the regressor gets their mean, weighted by the
predicted probabilities. Looking up the most probable range only would tell it nothing of doubt between two
neighbours, and no gradient would flow from the age error back into the CNN. Beside the embedding the
regressor sees the CNN's features, from which it tells a face of 46 from one of 60: a range alone cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from agegender.labels import AGE_BANDS, NetworkTask
from agegender.models.backbones import get_backbone
from agegender.models.options import check_blocks, validate_options
from agegender.models.system import System, network_of

if TYPE_CHECKING:
    import keras

_CONVOLUTIONS: Final = (1, 2, 2)
"""Of each block. At full resolution a second one would cost as much as all that follow."""


@dataclass(frozen=True)
class AgeRangeOptions:
    """How to build the network of this system.

    Attributes:
        backbone: The gender net's, a name in ``backbones.BACKBONES``.
        input_size: (height, width) in pixels, for all three nets; a size the backbone takes.
        filters: Of the CNN's three blocks.
        hidden: Units of the CNN's dense layer, the features that the regressor sees too.
        embedding: Length of a range's vector.
        dropout: Share of units dropped after each dense layer while training, 0 to under 1.
    """

    backbone: str = "mobilenet"
    input_size: tuple[int, int] = (96, 96)
    filters: tuple[int, ...] = (16, 64, 128)
    hidden: int = 192
    embedding: int = 16
    dropout: float = 0.3

    def __post_init__(self) -> None:
        validate_options(self)
        check_blocks(self.filters, self.input_size)


def build(task: NetworkTask, options: AgeRangeOptions) -> keras.Model:
    """Builds the three nets as one model; see `System.build`.

    With the task "age" or "gender" those nets are left out that it does not need. The outputs are the nine
    ranges, years and *female*.
    """
    import keras

    from agegender.models.layers import age_head, convolutional_blocks, gender_head

    layers = keras.layers
    inputs = keras.Input((*options.input_size, 3), name="rgb")

    x = get_backbone(options.backbone).build(options.input_size)(inputs)
    x = layers.Dense(options.hidden, activation="relu", name="gender_net_dense")(x)
    x = layers.Dropout(options.dropout, name="gender_net_dropout")(x)
    female = gender_head(x)

    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="range_net_normalization")(inputs)
    x = convolutional_blocks(x, options.filters, convolutions=_CONVOLUTIONS, prefix="range_net_")
    x = layers.Dense(options.hidden, activation="relu", name="range_net_dense")(x)
    features = layers.Dropout(options.dropout, name="range_net_dropout")(x)
    age_range = layers.Dense(len(AGE_BANDS), activation="softmax", dtype="float32", name="age_range")(
        features
    )

    # A dense layer without bias on probabilities is the weighted mean of its kernel's rows, one a range.
    embedding = layers.Dense(options.embedding, use_bias=False, name="age_net_embedding")(age_range)
    x = layers.Concatenate(name="age_net_inputs")([embedding, features])
    x = layers.Dense(options.hidden // 2, activation="relu", name="age_net_dense")(x)
    x = layers.Dropout(options.dropout, name="age_net_dropout")(x)
    outputs = {"age_range": age_range, "age": age_head(x), "female": female}
    return network_of(inputs, outputs, task, name="age_range_nets")


SYSTEM: Final = System("age-range", AgeRangeOptions, build, ("both", "age", "gender"))
