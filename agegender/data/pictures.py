"""Reading the pictures of a dataset, as they are or as face chips. Imports no Keras."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from agegender.errors import DatasetError
from agegender.faces.chip import change_margin
from agegender.faces.crop import crop_face
from agegender.faces.face import Face


def read_chip(path: Path, face: Face | None = None, margin: int = 0) -> NDArray[np.uint8]:
    """Decodes one dataset file.

    A plain decoder without the checks of `agegender.images`: dataset files are read hundreds of
    thousands of times.

    Args:
        path: A JPEG, PNG or WebP file.
        face: Where the face is in it; ``None`` for what is a chip already, or should stay as it is.
        margin: Pixels that the chip should show beyond UTKFace's on each side.

    Returns:
        RGB ``uint8`` of shape (height, width, 3).

    Raises:
        DatasetError: The file cannot be read or decoded.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB) if data.size else None
    if image is None:
        raise DatasetError(f"{path} is not an image that can be decoded")
    picture = np.asarray(image, dtype=np.uint8)
    return change_margin(picture, 0, margin) if face is None else crop_face(picture, face, margin).pixels
