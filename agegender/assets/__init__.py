"""Files that ship with the package, and the one place that knows where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parent

EXAMPLE: Final = _FOLDER / "example.jpg"
"""A photo of seven faces for who has none at hand; README.md says whose they are."""

LABEL_TABLE: Final = _FOLDER / "utkface_labels.csv.gz"
"""UTKFace's labels; see `agegender.audit.label_table`."""

AUDIT: Final = _FOLDER / "audit.json"
"""What `python -m agegender audit --json` found in UTKFace."""

COMPARISON: Final = _FOLDER / "compare.json"
"""What `python -m agegender compare --json` said of the models that ship."""

RIVALS: Final = _FOLDER / "rivals.json"
"""What ``tools/once/rivals`` measured of other people's networks."""

PUBLISHED: Final = _FOLDER / "published.json"
"""What others say of theirs; see `agegender.reports.others.published_figures`."""

MTCNN: Final = _FOLDER / "mtcnn"
"""The three networks of the face detector's cascade."""
