"""`python -m agegender publish`: finished runs become a model that predicts."""

from __future__ import annotations

from pathlib import Path

from agegender.commands import OK, progress_callback, say, write_json
from agegender.data.table import read_dataset
from agegender.errors import ConfigError
from agegender.labels import Task
from agegender.models.registry import DEFAULT_MODEL, MODELS


def run(
    *,
    age: Path | None,
    gender: Path | None,
    data: str | None,
    name: str | None,
    title: str | None,
    json: str | None,
) -> int:
    """Publishes runs and shows the test figures.

    Args:
        age: Run folder of the age network, or ``None``.
        gender: Run folder of the gender network, or ``None``.
        data: The dataset folder; ``None`` takes the one that ``UTKFACE_DIR`` names.
        name: The model's name; ``None`` takes the default model's and replaces it.
        title: One line for people; ``None`` takes the registry's, or the name.
        json: Where to write the card as JSON, besides ``weights/<name>/card.json``.

    Returns:
        0.

    Raises:
        ConfigError: No run is named, or the runs do not fit together.
        DatasetError: The folder is missing or holds no labelled chip.
    """
    given: dict[Task, Path | None] = {"age": age, "gender": gender}
    runs = {task: folder for task, folder in given.items() if folder is not None}
    if not runs:
        raise ConfigError("name at least one run: --age RUN, --gender RUN")
    name = name or DEFAULT_MODEL
    title = title or (MODELS[name].title if name in MODELS else name)
    dataset = read_dataset(data)

    from agegender.training.publish import publish  # after the checks: it imports TensorFlow

    with progress_callback("Publishing", "file") as progress:
        card = publish(runs, name, dataset, title=title, progress=progress)
    if json is not None:
        write_json(card, json)
        return OK
    metrics = card["metrics"]
    figures = []
    if "age" in metrics:
        figures.append(f"age error {metrics['age']['mae']:.2f} years")
    if "gender" in metrics:
        figures.append(f"gender accuracy {metrics['gender']['accuracy']:.1%}".replace("%", " %"))
    say(f"{name}: {', '.join(figures)} on {metrics['n']} test chips. Try it: predict --model {name}")
    return OK
