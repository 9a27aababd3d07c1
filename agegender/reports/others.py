"""Rivals that were measured here, and figures that others published. Imports no TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from agegender.assets import PUBLISHED
from agegender.errors import ModelError
from agegender.files import MALFORMED, read_json
from agegender.models.card import CARD_FILE, folders_with, read_card
from agegender.models.registry import DEFAULT_MODEL
from agegender.reports.set_figures import set_figures

Entry = dict[str, Any]

_BASE: Final = "mobilenet-vggface2"


def read_rivals(path: Path) -> list[Entry]:
    """Reads what ``tools/once/rivals`` measured.

    Args:
        path: The record; where there is none, there are no rivals.

    Returns:
        One entry a rival, ``kind`` "rival", with the keys of `compare_models` and ``split_hash``.

    Raises:
        ModelError: The file is damaged.
    """
    if not path.is_file():
        return []
    try:
        record = read_json(path)
        return [_rival(rival, record.get("split_hash")) for rival in record["rivals"]]
    except (OSError, *MALFORMED) as error:
        raise ModelError(f"{path} is no record of rivals, see tools/once/rivals: {error!r}") from error


def _rival(rival: dict[str, Any], split_hash: str | None) -> Entry:
    age, gender = rival.get("age") or {}, rival.get("gender") or {}
    # On chips as they are and with a detector of its own, a rival is two.
    alone = rival.get("detector") in (None, "none")
    return {
        "kind": "rival",
        "name": rival["name"] if alone else f"{rival['name']} (own detector)",
        **{key: rival.get(key) for key in ("version", "detector", "n", "no_face")},
        "split_hash": split_hash,
        **{key: age.get(key) for key in ("mae", "cs5", "bias")},
        "gender_accuracy": gender.get("accuracy"),
        "by_band": _bands(age.get("by_band") or {}, gender.get("by_band") or {}),
        "sets": {source: set_figures(measured) for source, measured in (rival.get("sets") or {}).items()},
        **{key: rival.get(key) for key in ("ms_per_face", "megabytes", "url", "licence")},
        "against": DEFAULT_MODEL,
    }


def _bands(ages: dict[str, Any], genders: dict[str, Any]) -> dict[str, Entry]:
    return {
        band: {
            "n": (ages.get(band) or genders[band]).get("n"),
            "mae": ages.get(band, {}).get("mae"),
            "gender_accuracy": genders.get(band, {}).get("accuracy"),
        }
        for band in ages or genders
    }


def zero_shot(weights_dir: Path | None = None) -> list[Entry]:
    """The network that the default base comes from, measured here with its own heads, untrained by us.

    Args:
        weights_dir: Where the base's card is.

    Returns:
        An entry as those of `read_rivals`, or none where there is no such card or no such figure.

    Raises:
        ModelError: The card is damaged.
    """
    card = read_card(_BASE, weights_dir) if _BASE in folders_with(CARD_FILE, weights_dir) else {}
    found = card.get("zero_shot")
    if not found:
        return []
    provenance = card.get("provenance", {})
    return [
        {
            "kind": "rival",
            "name": str(provenance.get("model", _BASE)),
            "version": provenance.get("version"),
            "detector": "none",
            "n": found.get("n"),
            "no_face": 0,
            "split_hash": found.get("split_hash"),
            "mae": found.get("age_mae"),
            "cs5": found.get("age_cs5"),
            "bias": None,
            "gender_accuracy": found.get("gender_accuracy"),
            "by_band": {},
            "sets": {},
            **dict.fromkeys(("ms_per_face", "megabytes", "url")),
            "licence": card.get("licence", {}).get("package"),
            "against": DEFAULT_MODEL,
        }
    ]


def published_figures() -> list[Entry]:
    """Figures in the words of those who published them, on splits of their own; none was measured here."""
    keys = ("mae", "gender_accuracy", "gender_accuracy_words", "score", "source", "split", "url")
    figures = json.loads(PUBLISHED.read_text(encoding="utf-8"))["figures"]
    return [
        {"kind": "published", "name": figure["name"], "against": figure["against"]}
        | {key: figure.get(key) for key in keys}
        | {"adults": bool(figure.get("adults"))}
        for figure in figures
    ]
