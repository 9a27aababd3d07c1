"""The systems and models there are. Imports no TensorFlow, so that listing them is instant.

A *system* is a family with its own file; a *model* is a system with options and a name, whose weights
live in ``weights/<name>/``. Models that people train and publish under names of their own are found by
their cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from agegender.errors import ModelError, UnknownModelError
from agegender.labels import TASKS, Task
from agegender.models.card import CARD_FILE, WEIGHTS_DIR, read_card, trained_models

DEFAULT_MODEL: Final = "vggface"


@dataclass(frozen=True)
class ModelSpec:
    """A model of the registry, trained or not.

    Attributes:
        name: Its name, and its folder's under ``weights/``.
        title: For people.
        system: Name of the module in `agegender.models` that builds it.
        tasks: What it predicts.
        options: The system's options where they are not its defaults; a card keeps all of them.
        input_size: (height, width) in pixels.
        parameters: Of all its networks together.
    """

    name: str
    title: str
    system: str
    tasks: tuple[Task, ...]
    options: Mapping[str, Any]
    input_size: tuple[int, int]
    parameters: int


MODELS: Final[Mapping[str, ModelSpec]] = MappingProxyType(
    {
        "vggface": ModelSpec(
            "vggface",
            "Sequential pair on MobileNet, face recognition on VGGFace2",
            "vggface",
            TASKS,
            MappingProxyType({"backbone": "mobilenet"}),
            (160, 160),
            7_785_334,
        ),
        "vggface-vgg16": ModelSpec(
            "vggface-vgg16",
            "Sequential pair on VGGFace's VGG16",
            "vggface",
            TASKS,
            MappingProxyType({"backbone": "vgg16", "input_size": (96, 96)}),
            (96, 96),
            30_298_358,
        ),
        "vgg16-multitask": ModelSpec(
            "vgg16-multitask",
            "One VGG16 for both tasks, flattened into a dense layer with batch normalisation",
            "vgg16-multitask",
            TASKS,
            MappingProxyType({}),
            (96, 96),
            15_322_050,
        ),
        "resnet18-multitask": ModelSpec(
            "resnet18-multitask",
            "ResNet18 for both tasks, its upper half fine-tuned",
            "resnet18-multitask",
            TASKS,
            MappingProxyType({}),
            (96, 96),
            11_449_282,
        ),
        "age-range": ModelSpec(
            "age-range",
            "Three nets: gender, nine age ranges, and age from the range's embedding",
            "age-range",
            TASKS,
            MappingProxyType({}),
            (96, 96),
            4_569_291,
        ),
        "scratch-cnn": ModelSpec(
            "scratch-cnn",
            "Three convolutional blocks, trained from scratch",
            "scratch-cnn",
            TASKS,
            MappingProxyType({}),
            (96, 96),
            1_264_883,
        ),
        "resnet18-finetuned": ModelSpec(
            "resnet18-finetuned",
            "ResNet18 with two linear heads, fine-tuned in two stages",
            "resnet18-finetuned",
            TASKS,
            MappingProxyType({}),
            (96, 96),
            11_187_138,
        ),
    }
)


def model_spec(name: str, weights_dir: Path = WEIGHTS_DIR) -> ModelSpec:
    """Looks a model up, in the registry or by its card.

    Raises:
        UnknownModelError: There is neither.
        ModelError: Its card is damaged, or lacks what a model needs.
    """
    card = read_card(name, weights_dir) if (weights_dir / name / CARD_FILE).is_file() else {}
    if card.get("tasks"):
        return _from_card(name, card)
    if name in MODELS:
        return MODELS[name]
    known = sorted({*MODELS, *trained_models(weights_dir)})
    raise UnknownModelError(f"unknown model {name!r}; there are {', '.join(known)}")


def _from_card(name: str, card: Mapping[str, Any]) -> ModelSpec:
    try:
        return ModelSpec(
            name,
            card["title"],
            card["system"],
            tuple(card["tasks"]),
            MappingProxyType(card["options"]),
            tuple(card["options"]["input_size"]),
            int(card["parameters"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the card of {name!r} is not one of a model: {error!r}") from error


def default_first(name: str) -> tuple[bool, str]:
    """Sorts names of models as they are listed everywhere: the default first, then by name."""
    return name != DEFAULT_MODEL, name


def describe_models(weights_dir: Path = WEIGHTS_DIR) -> list[dict[str, Any]]:
    """All models as ``models --json`` lists them: the default first, then by name.

    Returns:
        One dictionary a model: ``name``, ``title``, ``default``, ``tasks``, ``parameters``,
        ``megabytes`` of its weight files (1e6 bytes), ``input`` (height, width), ``trained`` and
        ``metrics`` (the card's test figures, empty where untrained).
    """
    trained = trained_models(weights_dir)
    rows = []
    for name in sorted({*MODELS, *trained}, key=default_first):
        spec = model_spec(name, weights_dir)
        files = (weights_dir / name).glob("*.weights.h5") if name in trained else ()
        rows.append(
            {
                "name": name,
                "title": spec.title,
                "default": name == DEFAULT_MODEL,
                "tasks": list(spec.tasks),
                "parameters": spec.parameters,
                "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 1),
                "input": list(spec.input_size),
                "trained": name in trained,
                "metrics": read_card(name, weights_dir).get("metrics", {}) if name in trained else {},
            }
        )
    return rows
