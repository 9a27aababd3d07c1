"""`Face`: where a face is in a picture."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True)
class Face:
    """One detected face.

    All coordinates are pixels of the upright source image: x to the right, y down, the origin at the top
    left corner of the top left pixel.

    Attributes:
        box: ``(x1, y1, x2, y2)``, half-open (``x2`` and ``y2`` lie just outside), clipped to the image.
        confidence: The detector's probability that this is a face, 0 to 1.
        landmarks: Five points: left eye, right eye, nose tip, left and right corner of the mouth, where
            left and right are those of the picture once the face is upright, not of the person.
        quarter_turns: How often the picture has to be turned counterclockwise for the face to be upright, as
            ``np.rot90`` counts: 0 to 3.
    """

    box: tuple[float, float, float, float]
    confidence: float
    landmarks: tuple[Point, Point, Point, Point, Point]
    quarter_turns: int = 0

    @property
    def size(self) -> float:
        """The shorter side of the box, in pixels of the source image."""
        x1, y1, x2, y2 = self.box
        return min(x2 - x1, y2 - y1)


def shift_face(face: Face, by: float) -> Face:
    """The same face in a picture that begins so many pixels further left and up."""
    x1, y1, x2, y2 = (float(value) + by for value in face.box)
    left_eye, right_eye, nose, mouth_left, mouth_right = ((x + by, y + by) for x, y in face.landmarks)
    landmarks = (left_eye, right_eye, nose, mouth_left, mouth_right)
    return dataclasses.replace(face, box=(x1, y1, x2, y2), landmarks=landmarks)
