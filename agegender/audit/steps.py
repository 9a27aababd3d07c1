"""A dataset audited in two steps, for somebody who waits: what pixels say, then what a model says.

The first step reads every file: copies, split, conflicts, dim and blurred pictures. The second takes
TensorFlow and most of the time: which labels do not fit their face. `python -m agegender audit` does both
at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from agegender.audit.audit import Audit, audit, near_pairs_of
from agegender.audit.conditions import Conditions, measure_conditions
from agegender.audit.findings import document, findings
from agegender.audit.gallery import flagged_faces
from agegender.audit.out_of_fold import LEAST_FILES, predict_out_of_fold
from agegender.audit.suspects import find_suspects
from agegender.data.duplicates import Fingerprints, fingerprint
from agegender.data.landmarks import find_faces
from agegender.data.table import Dataset
from agegender.errors import DatasetError
from agegender.faces.face import Face
from agegender.files import paths_below
from agegender.progress import Progress, within

_LABELS: Final = ("age", "gender", "ethnicity", "captured")


@dataclass(frozen=True, eq=False)
class FolderAudit:
    """What was found.

    Attributes:
        tables: Of the audit.
        prints: Of the files.
        conditions: Of the files.
        landmarks: Where the face is in each file, see `agegender.data.landmarks.find_faces`; ``None`` where
            all are chips.
    """

    tables: Audit
    prints: Fingerprints
    conditions: Conditions
    landmarks: Sequence[Face | None] | None = None

    @cached_property
    def faces(self) -> pd.DataFrame:
        """One row a labelled file; see `gallery.flagged_faces`."""
        return flagged_faces(self.tables, self.conditions)

    @cached_property
    def figures(self) -> dict[str, Any]:
        """See `audit_report.document`."""
        return document(self.tables)

    @cached_property
    def findings(self) -> pd.DataFrame:
        """See `audit_report.findings`."""
        return findings(self.tables)

    def prepare(self) -> None:
        """Makes the tables above now, not at the first look at them."""
        _ = self.faces, self.figures, self.findings

    @property
    def has_suspects(self) -> bool:
        """Whether the second step was taken."""
        return self.tables.suspects is not None


def same_labels(table: pd.DataFrame, facts: pd.DataFrame) -> bool:
    """Says whether two tables hold the same labels, in whatever order.

    Args:
        table: Rows with ``age``, ``gender``, ``ethnicity`` and ``captured``, such as `Dataset.table`.
        facts: Likewise, such as `label_table.read_label_table`, which keeps the day of ``captured``.

    Returns:
        Whether each combination occurs as often in both, by the day.
    """
    if len(table) != len(facts):
        return False
    first, second = (
        part[list(_LABELS)]
        .assign(captured=part["captured"].dt.normalize().astype("datetime64[s]"))
        .sort_values(list(_LABELS), ignore_index=True)
        for part in (table, facts)
    )
    return bool(first.equals(second))


def audit_files(dataset: Dataset, progress: Progress, *, cache: Path | None = None) -> FolderAudit:
    """Takes the first step: finds faces where there are no chips, and reads every file, twice.

    Args:
        dataset: The files.
        progress: Called often, with percent of the whole step.
        cache: Where faces are kept; see `agegender.data.landmarks.find_faces`.

    Returns:
        What was found, no label doubted.
    """
    start, faces = 0, None
    if not dataset.table["aligned"].all():
        start = 50
        faces = find_faces(dataset, cache=cache, progress=within(progress, 0, start))
    rest = within(progress, start, 100)
    prints = fingerprint(dataset, faces=faces, progress=within(rest, 0, 40))
    conditions = measure_conditions(dataset, faces=faces, progress=within(rest, 40, 65))
    pairs = near_pairs_of(prints, progress=within(rest, 65, 80))
    progress("Summing up", 90, 100)
    tables = audit(dataset, prints=prints, faces=faces, pairs=pairs)
    return FolderAudit(tables, prints, conditions, faces)


def audit_labels(first: FolderAudit, progress: Progress) -> FolderAudit:
    """Takes the second step: a model that never saw the faces says what it expects of each.

    Args:
        first: Result of `audit_files`.
        progress: Called often, with percent of the whole step.

    Returns:
        The same with suspicious labels.

    Raises:
        DatasetError: There are fewer than `LEAST_FILES` readable files: too few to tell what is usual.
        WeightsNotFoundError: The face-recognition base is not there.
    """
    found = first.tables
    table, folder = found.dataset.table, found.dataset.folder
    if len(table) < LEAST_FILES:
        raise DatasetError(
            f"{len(table)} files are too few to tell usual labels from suspicious ones; "
            f"{LEAST_FILES} are needed"
        )
    progress("Starting TensorFlow", 0, 100)
    from agegender.audit.frozen_features import frozen_features  # imports TensorFlow

    features = frozen_features(
        paths_below(folder, table["file"]),
        faces=first.landmarks,
        progress=within(progress, 3, 93),
    )
    features[table["file"].isin(found.no_face["file"])] = np.nan
    progress("Comparing with the labels", 93, 100)
    groups = found.files["photo"].to_numpy()
    predictions = predict_out_of_fold(features, table["age"], table["gender"], groups)
    expected = {
        "predicted_age": predictions.age,
        "predicted_low": predictions.low,
        "predicted_high": predictions.high,
        "predicted_female": predictions.female,
    }
    doubted = replace(found, files=found.files.assign(**expected), suspects=find_suspects(table, predictions))
    return replace(first, tables=doubted)
