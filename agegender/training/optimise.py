"""Losses, optimiser and what is frozen: a network made ready for one stage of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from agegender.errors import ConfigError
from agegender.models.backbones import get_backbone
from agegender.models.system import named_outputs, with_named_outputs
from agegender.training.config import Stage, TrainingConfig
from agegender.training.devices import SpreadModel
from agegender.training.losses import AgeLikelihood, YearsOutside, years_outside
from agegender.training.uncertainty import weigh_by_uncertainty


class LayerwiseAdamW(keras.optimizers.AdamW):
    """AdamW whose learning rate is multiplied by a factor of each variable's own.

    Weight decay, small as it is, follows the common rate. Under a `tf.distribute` strategy the steps are
    those of one device: gradients are added up before their norm is clipped. Keras alone clips on each
    replica first.

    Args:
        multipliers: Factor by ``variable.path``; 1 where one is not named.
        global_clipnorm: Largest global norm of a gradient.
        **kwargs: AdamW's.
    """

    def __init__(
        self,
        *args: Any,
        multipliers: Mapping[str, float] | None = None,
        global_clipnorm: float | None = None,
        **kwargs: Any,
    ) -> None:
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        norm = None if global_clipnorm is None else global_clipnorm / replicas
        super().__init__(*args, global_clipnorm=norm, **kwargs)
        self._replicas = replicas
        self.multipliers = dict(multipliers or {})

    def build(self, variables: list[keras.Variable]) -> None:
        """Makes the optimiser's state for these variables."""
        super().build(variables)
        self._factors = [self.multipliers.get(variable.path, 1.0) for variable in variables]

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """One step of all variables."""
        context = tf.distribute.get_replica_context()
        if self._replicas > 1 and context is not None:
            # Each replica goes on with its share of the sum, which Keras will add up to the sum again.
            given = [gradient for gradient in grads if gradient is not None]
            summed = iter(context.all_reduce(tf.distribute.ReduceOp.SUM, given))
            grads = [None if gradient is None else next(summed) / self._replicas for gradient in grads]
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One variable's step, at its own rate."""
        # What comes here is TensorFlow's variable, which has lost its path: Keras tells it by its place.
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = {**super().get_config(), "multipliers": self.multipliers}
        if config["global_clipnorm"] is not None:
            config["global_clipnorm"] *= self._replicas
        return config


def backbone_of(network: keras.Model, config: TrainingConfig) -> keras.Model | None:
    """The backbone inside a network, or ``None`` where it has none.

    A system's options may name one that only the network of its other task uses.
    """
    if config.options.backbone is None:
        return None
    name = get_backbone(config.options.backbone).name
    return next((layer for layer in network.layers if layer.name == name), None)


def prepare(network: keras.Model, config: TrainingConfig, stage: Stage, steps: int) -> keras.Model:
    """Compiles the model that trains a network in one stage, in the scope that the network was built in.

    Args:
        network: The network itself, whose layers are shared.
        config: The recipe.
        stage: Which of its stages.
        steps: Batches an epoch.

    Returns:
        A model with the network's named outputs as a dictionary, compiled, its optimiser built.
    """
    freeze(network, config, stage)
    outputs = named_outputs(network)
    names = list(outputs)
    one_device = not tf.distribute.has_strategy()
    model = with_named_outputs(network) if one_device else SpreadModel(network.inputs[0], outputs)
    losses: dict[str, Any] = {
        "age_distribution": AgeLikelihood(),
        "age_range": "categorical_crossentropy",
        "age": YearsOutside("mae" if "age_distribution" in names else config.age_loss),
        "female": keras.losses.BinaryCrossentropy(label_smoothing=config.label_smoothing),
    }
    beside = {"age_distribution", "female", "age_range"} & set(names)
    weights = {
        "age_distribution": 1.0,
        "age_range": config.range_weight,
        "age": config.age_weight if beside else 1.0,
        "female": config.gender_weight,
    }
    how: dict[str, Any] = {
        "loss": {name: losses[name] for name in names},
        "loss_weights": {name: weights[name] for name in names},
    }
    if config.weighting == "uncertainty":
        how = {"loss": weigh_by_uncertainty(model, how["loss"], how["loss_weights"])}
    model.compile(
        _optimizer(network, config, stage, steps),
        **how,
        metrics={name: _metrics(name) for name in names},
    )
    # Not the one that was handed over: under mixed_float16 Keras wraps it in one that scales the loss.
    model.optimizer.build(model.trainable_variables)
    return model


def _metrics(output: str) -> list[keras.metrics.Metric]:
    """Named as in the history, because Keras leaves the output's name out where there is only one."""
    if output == "age":
        return [keras.metrics.MeanMetricWrapper(years_outside, name="mae")]
    if output == "female":
        return [keras.metrics.MeanMetricWrapper(_same_side, name="accuracy")]
    if output == "age_range":
        return [keras.metrics.CategoricalAccuracy(name="range_accuracy")]
    return []


def _same_side(y_true: Any, y_pred: Any) -> Any:
    """Whether label and answer fall on the same side of one half.

    Keras's binary accuracy asks for labels of exactly 0 or 1, which a teacher's or MixUp's are not.
    """
    same = keras.ops.equal(keras.ops.greater(y_true, 0.5), keras.ops.greater(y_pred, 0.5))
    return keras.ops.cast(same, "float32")


def freeze(network: keras.Model, config: TrainingConfig, stage: Stage) -> None:
    """Sets which layers of the network learn in a stage."""
    backbone = backbone_of(network, config)
    if backbone is None:
        return
    backbone.trainable = stage.frozen_blocks != "all"
    if stage.frozen_blocks == "all":
        return
    frozen = stage.frozen_blocks > 0
    for layer in backbone.layers:
        frozen = frozen and layer.name != config.blocks[stage.frozen_blocks]
        layer.trainable = not frozen


def _optimizer(
    network: keras.Model, config: TrainingConfig, stage: Stage, steps: int
) -> keras.optimizers.Optimizer:
    rate: Any = float(stage.learning_rate)
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=stage.learning_rate * 0.01,
            decay_steps=max(1, int(steps * stage.epochs - steps * config.warmup_epochs)),
            alpha=0.01,
            warmup_target=stage.learning_rate,
            warmup_steps=int(steps * config.warmup_epochs),
        )
    ema: dict[str, Any] = {}
    if config.ema_momentum > 0:
        ema = {"use_ema": True, "ema_momentum": config.ema_momentum}
    optimizer = LayerwiseAdamW(
        rate,
        weight_decay=config.weight_decay if config.optimizer == "adamw" else 0.0,
        global_clipnorm=config.clip_norm,
        multipliers=layer_multipliers(network, config),
        **ema,
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "log_scale"])
    return optimizer


def layer_multipliers(network: keras.Model, config: TrainingConfig) -> dict[str, float]:
    """Factor of the learning rate of each variable under ``layer_decay`` and ``rates``.

    Returns:
        By ``variable.path``, where it is not 1: for the backbone ``layer_decay`` to the power of how many
        blocks lie between a variable and the head, its own included; times the factor of ``rates``.

    Raises:
        ConfigError: No layer's name begins like one of ``rates``.
    """
    multipliers: dict[str, float] = {}
    backbone = backbone_of(network, config)
    if backbone is not None and config.layer_decay != 1:
        blocks, block = config.blocks, 0
        for layer in backbone.layers:
            if layer.name in blocks:
                block = blocks.index(layer.name)
            for variable in layer.trainable_variables:
                multipliers[variable.path] = config.layer_decay ** (len(blocks) - block)
    for prefix, rate in config.rates.items():
        named = [layer for layer in network.layers if layer.name.startswith(prefix)]
        if not named:
            raise ConfigError(f"rates name {prefix!r}, but no layer of {network.name} begins like that")
        for variable in (variable for layer in named for variable in layer.trainable_variables):
            multipliers[variable.path] = multipliers.get(variable.path, 1.0) * rate
    return multipliers
