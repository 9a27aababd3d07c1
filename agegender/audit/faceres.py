"""The network our MobileNet base comes from, whole: body and its own age and gender heads.

Kept to prove the conversion: with these heads the converted body must answer as the original did.
"""

from __future__ import annotations

from typing import Final

import cv2
import keras
import numpy as np
from numpy.typing import NDArray

from agegender.models.backbones import MOBILENET_BASE, build_mobilenet, load_base_weights
from agegender.models.card import find_model
from agegender.models.store import load_weights

ORIGINAL_INPUT: Final = (224, 224)
HEADS_FILE: Final = "heads.weights.h5"


def build_heads() -> keras.Model:
    """The original's heads, untrained.

    Returns:
        Features (batch, 1024) to probabilities of 1 to 100 years (batch, 100) and of *male* (batch, 1).
    """
    inputs = keras.Input((1024,), name="features")
    features = keras.layers.Dense(256, activation="relu", name="feats")(inputs)
    age = keras.layers.Dense(100, activation="softmax", name="age_pred")(features)
    male = keras.layers.Dense(1, activation="sigmoid", name="gender_pred")(features)
    return keras.Model(inputs, [age, male], name="faceres_heads")


def load_original() -> keras.Model:
    """The original whole, with its published weights.

    Returns:
        RGB of 0 to 255, shape (batch, 224, 224, 3), to what `build_heads` answers.
    """
    body, heads = build_mobilenet(ORIGINAL_INPUT), build_heads()
    load_base_weights(body, "mobilenet")
    load_weights(heads, find_model(MOBILENET_BASE) / HEADS_FILE)
    return keras.Model(body.input, heads(body.output), name="faceres_deep")


def predict_zero_shot(
    chips: NDArray[np.uint8], network: keras.Model | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ages and genders as the original network sees them, with no training of ours.

    Args:
        chips: RGB ``uint8`` of shape (n, height, width, 3), UTKFace geometry.
        network: What `load_original` gave, to load it once for many calls.

    Returns:
        Years and the probability of *female*, float64 of shape (n,) each.
    """
    network = load_original() if network is None else network
    height, width = ORIGINAL_INPUT
    resized = np.stack([cv2.resize(chip, (width, height), interpolation=cv2.INTER_LINEAR) for chip in chips])
    age, male = network.predict(resized, batch_size=32, verbose=0)
    return age.astype(np.float64) @ np.arange(1, 101), 1.0 - male[:, 0].astype(np.float64)
