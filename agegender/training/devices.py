"""Where and in which precision a network is trained: what is the machine's, not the recipe's."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import keras
import numpy as np
import tensorflow as tf

from agegender.errors import ConfigError
from agegender.training.config import TrainingConfig
from agegender.training.losses import TARGET_COLUMNS

StrategyName = Literal["none", "mirrored", "multiworker"]
STRATEGIES: Final[tuple[StrategyName, ...]] = ("none", "mirrored", "multiworker")


def grow_gpu_memory() -> int:
    """Lets each GPU's memory grow with need instead of taking it whole.

    Returns:
        The number of GPUs.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    return len(gpus)


def make_strategy(name: StrategyName, batch_size: int) -> tf.distribute.Strategy | None:
    """Decides what the chips of a batch are spread over. Comes before anything TensorFlow computes.

    Args:
        name: "none" for one device; "mirrored" for all GPUs of this machine, or all logical processors
            where there is no GPU; "multiworker" for the machines named in ``TF_CONFIG``, each of which runs
            the same command, keeps a record of its own and resumes from that.
        batch_size: Chips a step, over all devices together.

    Returns:
        The strategy, or ``None`` for one device.

    Raises:
        ConfigError: The batch does not divide, or ``TF_CONFIG`` makes no sense.
    """
    if name == "none":
        return None
    try:
        strategy = _only_strategy(name)
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"TF_CONFIG does not describe a cluster of workers: {error}") from error
    replicas = strategy.num_replicas_in_sync
    if batch_size % replicas:
        raise ConfigError(f"batch_size {batch_size} does not divide by the {replicas} devices it goes to")
    return strategy


@functools.cache
def _only_strategy(name: StrategyName) -> tf.distribute.Strategy:
    # One for the whole process: TensorFlow numbers the exchanges of each strategy from the same start, and
    # remembers their shapes by number, so the networks of a second one would clash with those of the first.
    if name == "multiworker":
        return tf.distribute.MultiWorkerMirroredStrategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy([d.name for d in tf.config.list_logical_devices(kind)])


def precision_policy(config: TrainingConfig, gpus: int) -> str:
    """Keras's name of the precision a recipe asks for; mixed where it leaves that open and there is a GPU."""
    if config.precision != "auto":
        return config.precision
    return "mixed_float16" if gpus else "float32"


@dataclass(frozen=True)
class Machine:
    """What a network is trained on.

    Attributes:
        policy: Keras's name of the precision.
        strategy: What batches are spread over; ``None`` for one device.
    """

    policy: str
    strategy: tf.distribute.Strategy | None

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """Where networks are built and compiled: their numbers' precision and their variables' places.

        Both stay with what was built; the process gets back what it had.
        """
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(self.policy)
        try:
            with contextlib.nullcontext() if self.strategy is None else self.strategy.scope():
                yield
        finally:
            keras.config.set_dtype_policy(before)


class SpreadModel(keras.Model):
    """A model whose ``fit`` works under any strategy, several machines included.

    Keras 3.15 says what a step returned by averaging it over devices, which fails between machines, and reads
    a batch from the iterator to learn its shape, which fails there too and elsewhere disturbs the order of
    batches. Here a step returns what the first device says, which only the progress bar shows: figures of an
    epoch are summed up over all devices when it ends.
    """

    train_function: Any
    test_function: Any

    def make_train_function(self, force: bool = False) -> None:
        """Makes the function of one training step."""
        if self.train_function is None or force:
            self.train_function = self._spread(self.train_step)

    def make_test_function(self, force: bool = False) -> None:
        """Makes the function of one validation step."""
        if self.test_function is None or force:
            self.test_function = self._spread(self.test_step)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The mean over this device's chips, with a gradient that counts each chip of the batch alike.

        Keras counts each device alike, and the last batch of an epoch may not divide evenly.
        """
        loss = super().compute_loss(x, y, y_pred, sample_weight, training)
        context = tf.distribute.get_replica_context()
        if context is None:
            return loss
        chips = tf.cast(tf.shape(tf.nest.flatten(y)[0])[0], loss.dtype)
        share = chips / context.all_reduce(tf.distribute.ReduceOp.SUM, chips)
        value = tf.stop_gradient(loss)
        return value + share * context.num_replicas_in_sync * (loss - value)

    def _spread(self, step: Callable[..., dict[str, Any]]) -> Callable[[Iterator[Any]], dict[str, Any]]:
        strategy = self.distribute_strategy

        @tf.function(reduce_retracing=True, autograph=False)
        def one(batch: Any) -> dict[str, Any]:
            logs = strategy.run(step, args=(batch,))
            return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

        return lambda batches: one(next(batches))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Makes the metrics' variables, outside the step that is spread."""

        def nothing_like(tensor: Any, columns: int | None = None) -> Any:
            return np.zeros((1, columns) if columns else (1, *tensor.shape[1:]), np.float32)

        targets = {name: nothing_like(x, TARGET_COLUMNS.get(name)) for name, x in self.output.items()}
        batch = nothing_like(self.inputs[0]), targets
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=batch)
