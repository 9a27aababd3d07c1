"""How good a model is on photos of other kinds than its test split: labelled sets of other sources.

The test split of the photos that a model was trained on flatters it: they are alike. What sources keep for
such a check is never trained on and calibrates nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agegender.data.table import Dataset
from agegender.errors import ConfigError
from agegender.evaluation.evaluate import Evaluation, evaluate, select_rows
from agegender.evaluation.groups import fit_baseline, measure_groups
from agegender.faces import FaceDetector
from agegender.models.card import find_model, read_card, write_card
from agegender.predictor import Predictor
from agegender.progress import Progress


def measure_sets(
    name: str,
    sets: Sequence[Dataset],
    *,
    detector: FaceDetector | None = None,
    weights_dir: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures a published model on photos of other kinds than its test split; all else of its card stays.

    Args:
        name: The model.
        sets: Datasets of one source each. What counts is the part that the source keeps for it ("dev").
            Every photo goes through detection.
        detector: Finds the faces; a default one where not given.
        weights_dir: As for `measure_again`.
        progress: Called as photos are done.

    Returns:
        The card, with figures under "sets" by the name of the source: those of `evaluate`, and under "groups"
        those of `measure_groups`.

    Raises:
        UnknownModelError: There is no such model.
        WeightsNotFoundError: It has not been published here.
        ConfigError: A dataset is of several sources, or two have one name.
        DatasetError: A source keeps no part for this.
    """
    card = dict(read_card(name, weights_dir))
    home = find_model(name, weights_dir).parent
    card["sets"] = {**card.get("sets", {}), **measure_on_sets(name, home, sets, progress, detector)}
    write_card(home / name, card)
    return read_card(name, weights_dir)


def measure_on_sets(
    name: str,
    weights_dir: Path,
    sets: Sequence[Dataset],
    progress: Progress | None,
    detector: FaceDetector | None = None,
) -> dict[str, Any]:
    """Figures of a model on each set, by source, as `measure_sets` puts them into the card."""
    predictor, detector = Predictor(name, weights_dir=weights_dir), detector or FaceDetector()
    found = {}
    for source, dataset in name_sets(sets).items():
        rows = select_rows(dataset, split="dev")
        measured = evaluate(predictor, dataset, rows, detector=detector, progress=progress)
        found[source] = {
            **figures(measured, "dev"),
            "detect": True,
            "groups": measure_groups(measured.faces, fit_baseline(rows, "dev")),
        }
        found[source].pop("by_source")  # itself
    return found


def name_sets(sets: Sequence[Dataset]) -> dict[str, Dataset]:
    """Datasets by their source; refuses what is not one source, or one that is named twice."""
    named: dict[str, Dataset] = {}
    for dataset in sets:
        sources = dataset.table["source"].unique()
        if len(sources) != 1 or sources[0] in named:
            raise ConfigError(f"a set is one source, named once; {dataset.folder} has {', '.join(sources)}")
        named[str(sources[0])] = dataset
    return named


def figures(evaluation: Evaluation, split: str = "test") -> dict[str, Any]:
    """A card's figures on a split: the document without the model's name."""
    document = evaluation.document()
    return {"split": split, **{key: value for key, value in document.items() if key != "model"}}
