"""agegender: how old does a face look, and which gender is it perceived as?

    import agegender
    predictor = agegender.Predictor()
    predictions = predictor.predict("family.jpg")

Importing the package is quick; networks load with the first prediction.
"""

from __future__ import annotations

from agegender.drawing import annotate
from agegender.errors import (
    AgeGenderError,
    ConfigError,
    DatasetError,
    EmptyImageError,
    EmptyVideoError,
    FileError,
    ImageError,
    ImageTooLargeError,
    ModelError,
    NotAnImageError,
    NotAVideoError,
    TruncatedImageError,
    UnknownModelError,
    VideoError,
    VideoTooLargeError,
    WeightsNotFoundError,
)
from agegender.faces import Chip, Face, FaceDetector, crop_face
from agegender.images import find_images, read_image
from agegender.models.registry import list_models
from agegender.prediction import AgeEstimate, GenderEstimate, ImageResult, Prediction
from agegender.predictor import Predictor

__version__ = "0.1.0"

__all__ = [
    "AgeEstimate",
    "AgeGenderError",
    "Chip",
    "ConfigError",
    "DatasetError",
    "EmptyImageError",
    "EmptyVideoError",
    "Face",
    "FaceDetector",
    "FileError",
    "GenderEstimate",
    "ImageError",
    "ImageResult",
    "ImageTooLargeError",
    "ModelError",
    "NotAVideoError",
    "NotAnImageError",
    "Prediction",
    "Predictor",
    "TruncatedImageError",
    "UnknownModelError",
    "VideoError",
    "VideoTooLargeError",
    "WeightsNotFoundError",
    "__version__",
    "annotate",
    "crop_face",
    "find_images",
    "list_models",
    "read_image",
]
