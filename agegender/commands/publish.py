"""`python -m agegender publish`: finished runs become a model that predicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.commands import OK, prepare_outputs, progress_bars, say, write_json
from agegender.data.table import read_dataset
from agegender.errors import ConfigError
from agegender.models.registry import DEFAULT_MODEL, MODELS
from agegender.runs.records import RUNS_DIR
from agegender.training.recipes import finished_runs

if TYPE_CHECKING:
    from agegender.labels import NetworkTask


def run(
    *,
    age: Path | None,
    gender: Path | None,
    both: Path | None,
    recipe: str | None,
    data: list[str] | None,
    name: str | None,
    title: str | None,
    note: list[str],
    corruptions: bool,
    detect: bool,
    share: bool,
    light: bool | None,
    again: bool,
    sets: list[str],
    json: str | None,
) -> int:
    """Publishes runs, or calibrates and measures a published model anew, and shows the test figures.

    Returns:
        0.

    Raises:
        ConfigError: No run is named, or the runs do not fit together.
        DatasetError: The folder is missing or holds no labelled chip.
    """
    named: dict[NetworkTask, Path | None] = {"age": age, "gender": gender, "both": both}
    given = {task: run if run.is_dir() else RUNS_DIR / run for task, run in named.items() if run is not None}
    if again and (given or recipe):
        raise ConfigError("--again measures a model that is published: name no run and no recipe")
    sets_alone = bool(sets) and not (again or given or recipe)
    nothing_named = not again and not sets_alone and bool(given) == bool(recipe)
    if nothing_named or ("both" in given and len(given) > 1):
        raise ConfigError(
            "name --age RUN, --gender RUN or one of them, --recipe NAME alone or --both RUN alone"
        )
    prepare_outputs({"--json": json})
    if recipe is not None:
        given = finished_runs(recipe, RUNS_DIR)
    name = name or (Path(recipe).stem if recipe else DEFAULT_MODEL)
    title = title or (MODELS[name].title if name in MODELS else name)
    measured_on = [read_dataset(folder) for folder in sets]
    dataset = None if sets_alone else read_dataset(data)

    from agegender.faces import FaceDetector  # after the checks: these import TensorFlow
    from agegender.publishing.publish import measure_again, publish
    from agegender.publishing.sets import measure_sets

    with progress_bars("file") as progress:
        if dataset is None:
            card = measure_sets(name, measured_on, progress=progress)
        elif again:
            card = measure_again(
                name,
                dataset,
                corruptions=corruptions,
                detect=detect,
                sets=measured_on,
                light=bool(light),
                progress=progress,
            )
        else:
            card = publish(
                given,
                name,
                dataset,
                title=title,
                notes=tuple(note),
                corruptions=corruptions,
                detector=FaceDetector() if detect else None,
                sets=measured_on,
                share=share,
                light=light is not False,
                progress=progress,
            )
    if json is not None:
        write_json(card, json)
        return OK
    say(f"{name}: {_say_figures(card['metrics'])} on {card['metrics']['n']} test chips.")
    for source, metrics in card.get("sets", {}).items():
        say(f"  {_say_figures(metrics)} on {metrics['n']} photos of {source}, {metrics['split']}.")
    say(f"Its card: python -m agegender card {name}. Try it: python -m agegender predict --model {name} PATH")
    return OK


def _say_figures(metrics: Mapping[str, Any]) -> str:
    age, gender, figures = metrics.get("age", {}), metrics.get("gender", {}), []
    if age.get("ranges_n"):
        figures.append(f"age in the labelled range {age['in_range']:.1%}")
    elif age:
        figures.append(f"age error {age['mae']:.2f} years")
    if gender:
        figures.append(f"gender accuracy {gender['accuracy']:.1%}")
    return ", ".join(figures).replace("%", " %")
