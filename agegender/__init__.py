"""agegender: how old does a face look, and which gender is it perceived as?

    import agegender
    predictor = agegender.Predictor()
    predictions = predictor.predict("family.jpg")

Importing the package is quick; TensorFlow loads with the first prediction.
"""

from __future__ import annotations

from agegender.errors import AgeGenderError, DatasetError, ImageError, ModelError
from agegender.faces import Face
from agegender.images import read_image
from agegender.prediction import AgeEstimate, GenderEstimate, Prediction
from agegender.predictor import Predictor

__version__ = "0.1.0"

__all__ = [
    "AgeEstimate",
    "AgeGenderError",
    "DatasetError",
    "Face",
    "GenderEstimate",
    "ImageError",
    "ModelError",
    "Prediction",
    "Predictor",
    "__version__",
    "read_image",
]
