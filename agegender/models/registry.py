"""The systems and models there are. Imports no TensorFlow, so that listing them is instant.

A *system* is a family with its own file in `agegender.models.systems`; a *model* is a system with options and
a name, whose weights live in ``weights/<name>/``. Models that people train and publish under names of their
own are found by their cards.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from agegender.errors import ConfigError, ModelError, UnknownModelError
from agegender.files import MALFORMED
from agegender.labels import TASKS, Task
from agegender.models.card import CARD_FILE, find_model, folders_with, read_card, runtime_of, trained_models
from agegender.models.system import System
from agegender.models.systems import (
    age_range,
    resnet18_finetuned,
    resnet18_multitask,
    scratch_cnn,
    vgg16_multitask,
    vggface,
)

DEFAULT_MODEL: Final = "vggface"


@dataclass(frozen=True)
class ModelSpec:
    """A model of the registry, trained or not.

    Attributes:
        name: Its name, and its folder's under ``weights/``.
        title: For people.
        system: Name of the system that builds it.
        tasks: What it predicts.
        options: All of the system's options.
        input_size: (height, width) in pixels.
        margin: Pixels that its chips show beyond UTKFace's on each side, where those are 200 wide.
        parameters: Of all its networks together.
    """

    name: str
    title: str
    system: str
    tasks: tuple[Task, ...]
    options: Mapping[str, Any]
    input_size: tuple[int, int]
    parameters: int
    margin: int = 0


_REGISTERED: Final[tuple[tuple[str, System, dict[str, Any], int, str], ...]] = (
    # Name, system, options where they are not the system's defaults, parameters, title.
    (
        "vggface",
        vggface.SYSTEM,
        {"margin": 12},
        7_785_334,
        "Sequential pair on MobileNet, face recognition on VGGFace2",
    ),
    (
        "vggface-open",
        vggface.SYSTEM,
        {"margin": 12},
        7_785_334,
        "Sequential pair on MobileNet, trained on FairFace alone",
    ),
    (
        "vggface-vgg16",
        vggface.SYSTEM,
        {"backbone": "vgg16", "input_size": (96, 96)},
        30_298_358,
        "Sequential pair on VGGFace's VGG16",
    ),
    (
        "vgg16-multitask",
        vgg16_multitask.SYSTEM,
        {},
        15_322_050,
        "One VGG16 for both tasks, flattened into a dense layer with batch normalisation",
    ),
    (
        "resnet18-multitask",
        resnet18_multitask.SYSTEM,
        {},
        11_449_282,
        "ResNet18 for both tasks, its upper half fine-tuned",
    ),
    (
        "age-range",
        age_range.SYSTEM,
        {},
        4_569_291,
        "Three nets: gender, nine age ranges, and age from the range's embedding",
    ),
    (
        "scratch-cnn",
        scratch_cnn.SYSTEM,
        {},
        1_264_883,
        "Three convolutional blocks, trained from scratch",
    ),
    (
        "resnet18-finetuned",
        resnet18_finetuned.SYSTEM,
        {},
        11_187_138,
        "ResNet18 with two linear heads, fine-tuned in two stages",
    ),
)

SYSTEMS: Final[Mapping[str, System]] = MappingProxyType({row[1].name: row[1] for row in _REGISTERED})


def _spec(name: str, system: System, changes: dict[str, Any], parameters: int, title: str) -> ModelSpec:
    options = asdict(system.options(**changes))
    return ModelSpec(
        name,
        title,
        system.name,
        TASKS,
        MappingProxyType(options),
        options["input_size"],
        parameters,
        options.get("margin", 0),
    )


MODELS: Final[Mapping[str, ModelSpec]] = MappingProxyType({row[0]: _spec(*row) for row in _REGISTERED})


def get_system(name: str) -> System:
    """Looks a system up.

    Raises:
        ConfigError: There is none of that name.
    """
    if name not in SYSTEMS:
        raise ConfigError(f"unknown system {name!r}; there are {', '.join(SYSTEMS)}")
    return SYSTEMS[name]


def model_spec(name: str, weights_dir: Path | None = None) -> ModelSpec:
    """Looks a model up, in the registry or by its card.

    Raises:
        UnknownModelError: There is neither.
        ModelError: Its card is damaged, or lacks what a model needs.
    """
    card = read_card(name, weights_dir) if name in folders_with(CARD_FILE, weights_dir) else {}
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
            int(card["options"].get("margin", 0)),
        )
    except MALFORMED as error:
        raise ModelError(f"the card of {name!r} is not one of a model: {error!r}") from error


def default_first(name: str) -> tuple[bool, str]:
    """Sorts names of models as they are listed everywhere: the default first, then by name."""
    return name != DEFAULT_MODEL, name


def list_models(weights_dir: Path | None = None) -> list[dict[str, Any]]:
    """All models as ``models --json`` lists them: the default first, then by name.

    Args:
        weights_dir: Where the models are; ``None`` looks in the places that `agegender.places` lists.

    Returns:
        For each model a dictionary with ``name``, ``title``, ``default``, ``tasks``, ``parameters``,
        ``megabytes`` of its weight files (1e6 bytes), ``input`` (height, width), ``trained``, ``engine``
        ("LiteRT" or "Keras", ``None`` where untrained) and ``metrics`` (the card's test figures, empty where
        untrained).
    """
    trained = trained_models(weights_dir)
    rows = []
    for name in sorted({*MODELS, *trained}, key=default_first):
        spec = model_spec(name, weights_dir)
        card = read_card(name, weights_dir) if name in trained else None
        files = find_model(name, weights_dir).glob("*.weights.h5") if card else ()
        rows.append(
            {
                "name": name,
                "title": spec.title,
                "default": name == DEFAULT_MODEL,
                "tasks": list(spec.tasks),
                "parameters": spec.parameters,
                "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 1),
                "input": list(spec.input_size),
                "trained": card is not None,
                "engine": runtime_of(card) if card else None,
                "metrics": card.get("metrics", {}) if card else {},
            }
        )
    return rows
