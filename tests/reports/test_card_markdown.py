"""Cards as Markdown: everything that matters is said, and what a card does not have is left out."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agegender.evaluation.evaluate import measure
from agegender.evaluation.groups import Baseline, measure_groups
from agegender.labels import ETHNICITIES
from agegender.models.card import read_card
from agegender.places import SHIPPED_WEIGHTS
from agegender.reports.card import card_markdown

SHIPPED = sorted(path.parent.name for path in SHIPPED_WEIGHTS.glob("*/card.json"))


@pytest.fixture(scope="module")
def card() -> dict[str, Any]:
    """A card with everything that publishing writes."""
    rng = np.random.default_rng(1)
    n = 300
    age, female = rng.integers(0, 90, n), rng.uniform(0, 1, n)
    faces = pd.DataFrame(
        {
            "age": age,
            "age_min": age,
            "age_max": age,
            "gender": (rng.uniform(size=n) < female).astype(int),
            "group": np.array(ETHNICITIES)[rng.integers(0, 5, n)],
            "predicted_age": age + rng.normal(0, 4, n),
            "low": age - 7,
            "high": age + 7,
            "female": female,
            "uncertain": np.maximum(female, 1 - female) < 0.75,
        }
    )
    figures = measure(faces)
    ranged = faces.assign(age_min=age // 10 * 10, age_max=age // 10 * 10 + 9)
    groups = measure_groups(ranged, Baseline(30.0, "male", "dev"), resamples=50)
    elsewhere = {"split": "dev", "n": n, "no_face": 4, **measure(ranged), "groups": groups}
    kinds = {
        "age": {"mae": 5.0, "mae_ratio": 1.25},
        "gender": {"accuracy": 0.9, "points_lost": 3.4},
    }
    environment = {"machine": "x86_64, 2 CPU cores, 0 GPUs", "packages": {"keras": "3.15.1"}}
    stages = [{"name": "head", "epochs": 1, "learning_rate": 1e-3}]
    first = {
        "run": "first-half",
        "config": {"task": "both", "stages": stages},
        "validation": {"mae": 4.8},
        "environment": environment,
    }
    record = {
        **first,
        "run": "second-half",
        "config": {"task": "age", "stages": stages, "teacher": "big-one", "teacher_weight": 0.3},
        "start": first,
        "seconds": 5400,
    }
    return {
        "name": "mine",
        "title": "Mine",
        "system": "vggface",
        "published": "2026-01-02",
        "tasks": ["age", "gender"],
        "notes": ["Learned from a big one."],
        "teachers": ["big-one"],
        "options": {"backbone": "mobilenet", "input_size": [160, 128]},
        "parameters": 1234567,
        "files": {"age.weights.h5": "0" * 64},
        "base": "MobileNet",
        "data": {"name": "UTKFace", "files": 3000},
        "split": {
            "hash": "f" * 64,
            "sizes": {"test": 300, "train": 2400, "validation": 300},
            "file": "split.txt",
        },
        "training": {"age": record},
        "licence": {"weights": "non-commercial", "base": "MIT"},
        "intended_use": "Teaching.",
        "limits": ["Not for decisions."],
        "calibration": {
            "age": {"method": "bands", "coverage": 0.9, "n": 299, "split": "calibration"},
            "gender": {"temperature": 0.8, "n": 299, "split": "calibration", "uncertain_below": 0.75},
        },
        "metrics": {"split": "test", "n": n, **figures},
        "groups": measure_groups(faces, Baseline(30.0, "male"), resamples=50),
        "corruptions": {
            "chip_size": 200,
            "by_kind": {"blur": kinds, "brand-new": kinds},
            "mean": {"mae_ratio": 1.25, "gender_points_lost": 3.4},
        },
        "detect": {"split": "test", "n": 290, "no_face": 10, **figures},
        "sets": {"elsewhere": elsewhere},
    }


def section(text: str, title: str) -> str:
    return re.split(r"^#{1,3} ", text.partition(f"# {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


def test_a_whole_card_has_every_section(card):
    titles = re.findall(r"^##+ (.+)$", card_markdown(card), flags=re.MULTILINE)
    assert titles == [
        "How good it is",
        "For whom",
        "By age",
        "By gender",
        "By ethnicity code",
        "By age and gender",
        "By age and ethnicity code",
        "By gender and ethnicity code",
        "On photos of other sources",
        "elsewhere: the weakest groups first",
        "On bad photos",
        "Through detection",
        "Calibration",
        "How it was trained",
        "What it is for",
        "What it is not for, and its limits",
        "Licence and provenance",
    ]


def test_figures_come_with_their_intervals_and_the_baseline(card):
    text = section(card_markdown(card), "How good it is")
    mae = card["groups"]["overall"]["age"]["mae"]
    fixed = card["groups"]["overall"]["age"]["baseline_mae"]
    assert f"| {mae['value']:.2f} ({mae['low']:.2f} to {mae['high']:.2f}) | {fixed:.2f} |" in text
    assert "always saying 30 years and male" in text
    assert "95 % confidence intervals" in text
    share = card["groups"]["overall"]["gender"]["uncertain_share"]["value"]
    assert f"| {share:.1%}".replace("%", " %") in text


def test_on_other_sources_ranges_are_told_and_the_weakest_group_first(card):
    text = section(card_markdown(card), "On photos of other sources")
    found = card["sets"]["elsewhere"]
    share = f"{found['groups']['overall']['age']['in_range']['value']:.1%}".replace("%", " %")
    assert f"| age: in the labelled range | {share} (" in text
    assert "mean absolute error" not in text  # of a range nobody knows it
    assert "| no face found | 4 |" in text
    ages = {
        name: figures["gender"]["accuracy"]["value"] for name, figures in found["groups"]["by_age"].items()
    }
    weakest = section(card_markdown(card), "elsewhere: the weakest groups first")
    assert weakest.split("\n| ")[3].startswith(min(ages, key=ages.get).replace("-", "–"))


def test_every_group_has_a_row_and_small_ones_no_figures(card):
    text = card_markdown(card)
    for name, figures in card["groups"]["by_age_and_ethnicity"].items():
        [row] = re.findall(rf"^\| {re.escape(name.replace('-', '–'))} \|.*$", text, flags=re.MULTILINE)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[1] == str(figures["n"])
        assert (set(cells[2:]) == {"–"}) == (figures["n"] < card["groups"]["least_faces"])


def test_tables_have_one_width(card):
    """A row with a cell too many or too few breaks the page that shows it."""
    for block in re.findall(r"(?:^\|.*\n)+", card_markdown(card), flags=re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_corruptions_have_names_for_people_and_unknown_ones_their_own(card):
    text = section(card_markdown(card), "On bad photos")
    assert "Gaussian blur" in text
    assert "brand-new" in text
    assert "| **mean** |  | × 1.25 |  | 3.4 |" in text


def test_training_says_where_it_began_how_long_it_took_and_who_taught(card):
    text = section(card_markdown(card), "How it was trained")
    assert "2,400 train, 300 validation, 300 test" in text
    assert "f" * 64 in text
    assert text.index("`second-half`") < text.index(
        "Went on from a network for age and gender, run `first-half`"
    )
    assert "1 h 30 min" in text
    assert "2 CPU cores" in text
    assert "Teacher: `big-one`, 30 % of the labels" in text
    assert "- Teachers: big-one" in card_markdown(card)


@pytest.mark.parametrize(
    "key",
    ["corruptions", "detect", "calibration", "training", "metrics", "notes", "licence", "files"],
)
def test_what_a_card_does_not_have_is_left_out(card, key):
    text = card_markdown({name: value for name, value in card.items() if name != key})
    assert text.startswith("# mine: Mine\n")
    assert "None" not in text


def test_a_model_of_one_task_speaks_of_one(card):
    faces = card["groups"]
    only = {
        "name": "a",
        "tasks": ["age"],
        "metrics": {k: v for k, v in card["metrics"].items() if k != "gender"},
        "groups": faces | {"overall": {k: v for k, v in faces["overall"].items() if k != "gender"}},
    }
    text = card_markdown(only)
    assert "always saying 30 years |" in text
    assert "gender: accuracy" not in text
    assert "gender accuracy" not in text


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_cards_render(name):
    card = read_card(name)
    text = card_markdown(card)
    assert text.startswith(f"# {name}: {card['title']}\n")
    assert "## Licence" in text
    assert all(limit in text for limit in card.get("limits", ()))
    assert "None" not in text.replace("None: training began", "")
