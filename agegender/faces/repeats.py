"""Which of several answers show one face, and which of these is kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from agegender.faces.face import Face

_TURNED_ODDS: Final = math.exp(2)
"""Of two answers for one face, upright and turned, the turned one has to have so many times the odds."""

_SAME_FACE_IOU: Final = 0.6
_SAME_FACE_DISTANCE: Final = 0.15
"""Two boxes are one face if they overlap this much (intersection over union), or if the mean distance of
their landmarks is below this share of the smaller box's side."""

_TURNED_FACE_OVERLAP: Final = 0.5
"""Nobody has a face in two directions: boxes of two that share this much of the smaller one show one face."""


def drop_repeats(faces: Sequence[Face]) -> list[Face]:
    """Keeps the most confident of boxes that show one face; among equals, upright ones."""

    def rank(face: Face) -> float:
        handicap = _TURNED_ODDS if face.quarter_turns else 1.0
        return face.confidence / (face.confidence + handicap * (1 - face.confidence))

    kept: list[Face] = []
    for face in sorted(faces, key=rank, reverse=True):
        if not any(_is_same_face(face, other) for other in kept):
            kept.append(face)
    return kept


def _is_same_face(one: Face, other: Face) -> bool:
    x1, y1, x2, y2 = one.box
    u1, v1, u2, v2 = other.box
    shared = max(0.0, min(x2, u2) - max(x1, u1)) * max(0.0, min(y2, v2) - max(y1, v1))
    union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
    if one.quarter_turns != other.quarter_turns:
        # Landmarks of different directions cannot be compared, and boxes overlap less.
        return shared > _TURNED_FACE_OVERLAP * min((x2 - x1) * (y2 - y1), (u2 - u1) * (v2 - v1))
    if shared > _SAME_FACE_IOU * union:
        return True
    apart = np.linalg.norm(np.subtract(one.landmarks, other.landmarks), axis=1).mean()
    return bool(apart < _SAME_FACE_DISTANCE * min(one.size, other.size))
