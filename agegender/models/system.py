"""What a system is: a family of networks behind one interface, each in a file of `agegender.models.systems`.

Training, publishing and prediction know nothing of a family but what is here: how to build its networks
from options, and that every output of interest is a layer with one of the names in `OUTPUTS`.

A system's file imports Keras only as it builds: lists and checks of options must not wait for TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from agegender.labels import NetworkTask

if TYPE_CHECKING:
    import keras

OUTPUTS: Final = ("age_distribution", "age_range", "age", "female")
"""Names of output layers: probabilities of the years 0 to ``MAX_AGE`` (batch, 117); of the nine age ranges
(batch, 9); years (batch, 1); probability of *female* (batch, 1)."""


@dataclass(frozen=True)
class System:
    """A family of networks.

    Attributes:
        name: What configs, cards and ``--system`` call it.
        options: Frozen dataclass of how its networks are built. It has ``input_size`` (height, width),
            and ``backbone``, a name in ``backbones.BACKBONES`` or ``None`` where it has none.
        build: ``(task, options) -> keras.Model``: untrained, from RGB (batch, height, width, 3), 0 to
            255; its output layers are named as in `OUTPUTS`. Reads no file.
        tasks: Which networks it can build, the usual one first: "both" where it is multi-task.
    """

    name: str
    options: type[Any]
    build: Callable[[NetworkTask, Any], keras.Model]
    tasks: tuple[NetworkTask, ...]


def network_of(inputs: Any, outputs: Mapping[str, Any], task: NetworkTask, *, name: str) -> keras.Model:
    """The network of one task, or of both, from the graph of both: what a task does not need is left out.

    Args:
        inputs: The graph's input.
        outputs: Its outputs, named as in `OUTPUTS`.
        task: What the network should answer.
        name: The network's.

    Returns:
        A model of the layers that lead to the task's outputs.
    """
    import keras

    wanted = {"gender": {"female"}, "age": set(OUTPUTS) - {"female"}, "both": set(OUTPUTS)}[task]
    return keras.Model(inputs, [outputs[key] for key in outputs if key in wanted], name=name)


def named_outputs(network: keras.Model) -> dict[str, Any]:
    """The outputs of a network by name, in the order of `OUTPUTS`, whether or not it returns them all."""
    layers = {layer.name: layer for layer in network.layers}
    return {name: layers[name].output for name in OUTPUTS if name in layers}


def with_named_outputs(network: keras.Model) -> keras.Model:
    """The same layers as a model that returns a dictionary of all named outputs."""
    import keras

    return keras.Model(network.inputs[0], named_outputs(network), name=f"{network.name}_outputs")
