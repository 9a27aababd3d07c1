"""Where in a face a network's answer comes from: integrated gradients at a convolutional map.

Grad-CAM (Selvaraju et al., 2017, https://arxiv.org/abs/1610.02391) is the usual answer. It multiplies the
last convolutional map by the gradient of the output, averaged over places. Two things speak against it here:

- It keeps one slope per channel, taken at the face itself, and drops what is negative. Behind the pooling
  our networks have several dense layers, so that slope is not what the map contributed, and "makes it look
  younger" is half of what one wants to see. HiResCAM (Draelos and Carin, 2020,
  https://arxiv.org/abs/2011.08891) mends the averaging, which before a global average pooling is no
  difference at all: the gradient is the same in every place there.
- The last map of a MobileNet at 160 pixels has 5 × 5 places, each of which sees nearly the whole face.

So this module integrates the gradient instead, along the straight line from the map of a reference to the
map of the face (Sundararajan, Taly and Yan, "Axiomatic attribution for deep networks", 2017,
https://arxiv.org/abs/1703.01365; at a convolutional map: Sattarzadeh et al., "Integrated Grad-CAM", 2021,
https://arxiv.org/abs/2102.07805), and at the deepest map of at least `MIN_CELLS` places a side. With signs,
and complete: all places together add up to what the face's answer differs from the reference's. The reference
is plain grey, which is also what `occlusion` covers with and what training hides patches of faces behind.

`tools/once/measure_explanations.py` compares the methods: by how well their maps agree with what really
happens when places are covered. docs/measurements/explanations.json has the figures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from agegender.errors import ModelError
from agegender.explain.occlusion import GREY
from agegender.faces.chip import resize_chip
from agegender.labels import TASKS, Task

if TYPE_CHECKING:
    import keras

    from agegender.models.trained import TrainedModel

MIN_CELLS: Final = 8
"""Places a side that a map must have at least. Deeper maps mean more, but one cannot see where."""

STEPS: Final = 64
"""Points of the line at which the gradient is taken; sums are then right to about a tenth of a year."""

_OUTPUTS: Final[dict[Task, tuple[str, ...]]] = {"age": ("age_distribution", "age"), "gender": ("female",)}
"""Where an answer is read off, the first that a network has."""

_BATCH: Final = 32
_LEAST_PROBABILITY: Final = 1e-6


@dataclass(frozen=True, eq=False)
class ContributionMap:
    """What each place of a face adds to the answer.

    Attributes:
        task: Of which answer.
        values: float64 of shape (rows, columns), the places from the top left. For "age" in years, positive
            where it makes the face look older; for "gender" in log-odds, positive towards *female*.
            ``values.sum()`` is ``answer - reference`` up to the error of the integration.
        answer: The calibrated answer for the face, before it is rounded: years, or log-odds of *female*.
        reference: That for a plain grey picture.
        layer: Name of the layer that the map is of.
    """

    task: Task
    values: NDArray[np.float64]
    answer: float
    reference: float
    layer: str


@dataclass(frozen=True)
class _Split:
    """A network cut in two at a convolutional map.

    Attributes:
        layer: Where it is cut.
        head: Chips to maps.
        tail: Maps to an output, shape (batch, n).
    """

    layer: str
    head: Callable[[Any], Any]
    tail: Callable[[Any], Any]


class ContributionMapper:
    """Finds contributions for one model. Make one a model and keep it: cutting networks takes a second.

    Safe to share by threads. The networks are used as they are, and no weight is copied or changed.

    Args:
        model: A loaded model.
        min_cells: Places a side that a map must have at least to be taken.
    """

    def __init__(self, model: TrainedModel, *, min_cells: int = MIN_CELLS) -> None:
        self._name, self._min_cells = model.name, min_cells
        self._input_size = model.input_size
        self._splits: dict[Task, _Split] = {}
        self._scores: dict[Task, Callable[[Any], Any]] = {}
        calibration = model.card.get("calibration", {})
        networks: dict[str, keras.Model] = getattr(model, "networks", {})  # others may answer by other means
        for task in TASKS:
            network = networks.get(task, networks.get("both"))
            split = None if network is None else _split(network, _OUTPUTS[task], min_cells)
            if split is not None:
                self._splits[task] = split
                self._scores[task] = _SCORES[task](calibration.get(task, {}))

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The answers that can be explained this way; empty for a model without a convolutional map."""
        return tuple(self._splits)

    def explain(self, chip: NDArray[np.uint8], task: Task) -> ContributionMap:
        """Deals an answer out over the places of a face.

        Args:
            chip: RGB ``uint8`` of shape (height, width, 3), UTKFace geometry, any size.
            task: Which answer.

        Returns:
            The contributions.

        Raises:
            ModelError: The method does not apply: see `tasks`.
        """
        face, reference, score = self.cut(chip, task)
        values, (answer, at_reference) = _integrate(score, face, reference)
        return ContributionMap(task, values, answer, at_reference, self._splits[task].layer)

    def cut(self, chip: NDArray[np.uint8], task: Task) -> tuple[Any, Any, Callable[[Any], Any]]:
        """Gives what maps of this kind are made of, for other methods to be compared with.

        Args:
            chip: RGB ``uint8`` of shape (height, width, 3), UTKFace geometry, any size.
            task: Which answer.

        Returns:
            The convolutional maps of the face and of the reference, tensors of shape (rows, columns,
            channels), and the function from a batch of such maps to answers, shape (batch,).

        Raises:
            ModelError: The method does not apply: see `tasks`.
        """
        if task not in self._splits:
            raise ModelError(
                f"model {self._name!r} has no network that leads from a convolutional map of at least "
                f"{self._min_cells}×{self._min_cells} places to its {task}, so it cannot be dealt out "
                "over the face; covering parts of it works for every model"
            )
        split, score = self._splits[task], self._scores[task]
        pixels = resize_chip(chip, self._input_size).astype(np.float32)
        maps = split.head(np.stack([pixels, np.full_like(pixels, GREY)]))
        return maps[0], maps[1], _chain(split.tail, score)


def _integrate(
    score: Callable[[Any], Any], face: Any, reference: Any
) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Integrated gradients, channels summed up, and the answers at both ends of the line."""
    import tensorflow as tf

    difference = face - reference
    gradient = np.zeros(face.shape, dtype=np.float64)
    positions = (np.arange(STEPS, dtype=np.float32) + 0.5) / STEPS
    for start in range(0, STEPS, _BATCH):
        along = tf.constant(positions[start : start + _BATCH])[:, None, None, None]
        points = reference + tf.cast(along, difference.dtype) * difference
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            scores = score(points)
        gradient += tape.gradient(scores, points).numpy().astype(np.float64).sum(axis=0) / STEPS
    values = (difference.numpy().astype(np.float64) * gradient).sum(axis=-1)
    answer, at_reference = score(tf.stack([face, reference])).numpy().tolist()
    return values, (answer, at_reference)


def _score_years(calibration: dict[str, Any]) -> Callable[[Any], Any]:
    """Years from an output of shape (batch, 117) or (batch, 1), as `AgeCalibration` makes them."""
    sharpness = float(calibration.get("sharpness", 1.0))

    def score(output: Any) -> Any:
        import tensorflow as tf

        output = tf.cast(output, tf.float32)
        if output.shape[-1] == 1:
            return output[:, 0]
        logits = sharpness * tf.math.log(tf.maximum(output, _LEAST_PROBABILITY))
        years = tf.range(output.shape[-1], dtype=tf.float32)
        return tf.reduce_sum(tf.nn.softmax(logits) * years, axis=-1)

    return score


def _score_log_odds(calibration: dict[str, Any]) -> Callable[[Any], Any]:
    """Log-odds of *female*: there evidence adds up, and `GenderCalibration`'s temperature only scales."""
    temperature = float(calibration.get("temperature", 1.0))

    def score(output: Any) -> Any:
        import tensorflow as tf

        probability = tf.clip_by_value(
            tf.cast(output[:, 0], tf.float32), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY
        )
        return (tf.math.log(probability) - tf.math.log1p(-probability)) / temperature

    return score


_SCORES: Final[dict[Task, Callable[[dict[str, Any]], Callable[[Any], Any]]]] = {
    "age": _score_years,
    "gender": _score_log_odds,
}


def _split(network: keras.Model, outputs: Sequence[str], min_cells: int) -> _Split | None:
    """Cuts a network at the deepest map that is large enough and through which all of an output goes."""
    from agegender.models.system import named_outputs

    named = named_outputs(network)
    answer = next((named[name] for name in outputs if name in named), None)
    return None if answer is None else _cut(network.inputs[0], answer, min_cells)


def _cut(start: Any, end: Any, min_cells: int) -> _Split | None:
    """The same between two symbolic tensors; models within the network are cut inside."""
    import keras

    for tensor, layer, inputs in _walk_back(end):
        after = _part(tensor, end)
        if after is None:  # something of the answer goes another way
            continue
        if isinstance(layer, keras.Model):
            before = _part(start, inputs[0]) if len(inputs) == 1 else None
            inside = layer.outputs[tensor._keras_history.tensor_index]
            inner = _cut(layer.inputs[0], inside, min_cells)
            if inner is not None and before is not None:
                return _Split(inner.layer, _chain(before, inner.head), _chain(inner.tail, after))
        elif _is_map(tensor, layer, min_cells):
            head = _part(start, tensor)
            if head is not None:
                return _Split(layer.name, head, after)
    return None


def _walk_back(end: Any) -> Iterator[tuple[Any, Any, list[Any]]]:
    """Tensors that lead to one, the nearest first, each with the layer that made it and that layer's inputs.

    A layer's own ``output`` would be shorter to write, but it belongs to the first call of the layer, and
    layers may have been called for another network before.
    """
    queue, seen = [end], {id(end)}
    while queue:
        tensor = queue.pop(0)
        layer, node_index, _ = tensor._keras_history
        inputs = list(layer._inbound_nodes[node_index].input_tensors)
        yield tensor, layer, inputs
        new = [one for one in inputs if id(one) not in seen]
        seen |= {id(one) for one in new}
        queue += new


def _is_map(tensor: Any, layer: Any, min_cells: int) -> bool:
    """Whether a tensor is a map of ``min_cells`` or more a side that convolutions have made, not pooled."""
    import keras

    poolings = (keras.layers.MaxPooling2D, keras.layers.AveragePooling2D)
    if len(tensor.shape) != 4 or isinstance(layer, poolings):
        return False
    if any(side is None or side < min_cells for side in tensor.shape[1:3]):
        return False
    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)
    return any(isinstance(maker, convolutions) for _, maker, _ in _walk_back(tensor))


def _part(start: Any, end: Any) -> Callable[[Any], Any] | None:
    """The part of a network between two tensors, or ``None`` where not all of the end comes from the start.

    It shares the network's layers. Keras notes the new connection in them: another reason to do this once.
    """
    import keras

    if start is end:
        return lambda x: x
    try:
        part = keras.Model(start, end)
    except ValueError:
        return None
    return partial(part, training=False)


def _chain(first: Callable[[Any], Any], second: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: second(first(x))
