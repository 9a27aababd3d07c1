"""Fixtures of the model tests."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest


@pytest.fixture(scope="session")
def wake() -> Callable[[keras.Model], None]:
    """Draws MobileNet's kernels as He et al. do: as Keras draws them, every chip fades to the same answer."""

    def draw(backbone: keras.Model) -> None:
        rng = np.random.default_rng(3)
        for layer in backbone.layers if backbone.name == "mobilenet" else ():
            if layer.weights:
                kernel = layer.weights[0]
                inputs = 9 if isinstance(layer, keras.layers.DepthwiseConv2D) else np.prod(kernel.shape[:-1])
                kernel.assign(rng.normal(0, np.sqrt(2 / inputs), kernel.shape))

    return draw
