"""Faces in pictures: find them with `FaceDetector`, cut them out with `crop_face`.

Importing this package is quick; the networks load with the first detection. TensorFlow is not needed.
"""

from agegender.faces.chip import CHIP_SIZE
from agegender.faces.crop import CHIP_LANDMARKS, CROP_WARNINGS, Chip, crop_face, pad_chip
from agegender.faces.detector import DEFAULT_MAX_SIDE, DEFAULT_MIN_CONFIDENCE, FaceDetector, main_face
from agegender.faces.face import Face, shift_face

__all__ = [
    "CHIP_LANDMARKS",
    "CHIP_SIZE",
    "CROP_WARNINGS",
    "DEFAULT_MAX_SIDE",
    "DEFAULT_MIN_CONFIDENCE",
    "Chip",
    "Face",
    "FaceDetector",
    "crop_face",
    "main_face",
    "pad_chip",
    "shift_face",
]
