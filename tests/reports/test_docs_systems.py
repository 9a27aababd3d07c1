"""The report on systems says what the comparison says, whichever of them are trained."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agegender.assets import COMPARISON
from agegender.models.registry import MODELS
from agegender.reports.comparison import compare_models
from agegender.reports.systems import IDEAS, report


@pytest.fixture
def comparison() -> Any:
    return json.loads(COMPARISON.read_text(encoding="utf-8"))


def entry_of(comparison: Any, name: str) -> dict[str, Any]:
    return next(entry for entry in comparison["models"] if entry["name"] == name)


def trained(comparison: Any, name: str, mae: float, interval: list[float] | None) -> dict[str, Any]:
    """Gives a model figures of its own, as if it were trained."""
    entry = entry_of(comparison, name)
    ours = comparison["models"][0]
    entry |= {key: ours[key] for key in ("cs5", "gender_accuracy", "gender_accuracy_interval", "training")}
    entry |= {"trained": True, "mae": mae, "mae_interval": interval, "same_split": True}
    return entry


def flat(text: str) -> str:
    return " ".join(text.split())


def test_what_is_told_is_of_a_model_and_held_against_something(comparison):
    assert set(IDEAS) <= set(MODELS)
    known = {entry["name"] for entry in (*comparison["models"], *comparison["rivals"])} | {"baseline"}
    assert {idea.reference for idea in IDEAS.values()} <= known


def bought(comparison: Any, name: str) -> list[str]:
    """Cells of a model's row in the table of what each idea bought, the first of the report."""
    row = next(line for line in report(comparison).splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_gain_is_told_from_the_figures(comparison):
    trained(comparison, "resnet18-finetuned", 5.0, [4.8, 5.2])
    scratch = trained(comparison, "scratch-cnn", 6.5, [6.2, 6.8])
    scratch["parameters"] = entry_of(comparison, "resnet18-finetuned")["parameters"] // 4
    _, against, years, points, differs = bought(comparison, "resnet18-finetuned")
    assert (against, years, points) == ("`scratch-cnn`", "−1.50", "(+0.0)")
    assert differs.endswith("; 4.0 times the parameters")
    assert "| `scratch-cnn` | 6.50 (6.20 to 6.80) |" in report(comparison)


def test_a_loss_is_told_as_one_and_what_may_be_chance_stands_in_brackets(comparison):
    trained(comparison, "resnet18-finetuned", 7.0, [6.7, 7.3])
    trained(comparison, "scratch-cnn", 6.5, [6.2, 6.8])
    assert bought(comparison, "resnet18-finetuned")[2] == "(+0.50)"
    trained(comparison, "scratch-cnn", 6.5, [6.2, 6.6])
    assert bought(comparison, "resnet18-finetuned")[2] == "+0.50"


def test_what_is_not_trained_says_how(comparison):
    entry_of(comparison, "scratch-cnn")["trained"] = False
    assert not any(line.startswith("| `scratch-cnn` |") for line in report(comparison).splitlines())
    assert "**`scratch-cnn`.**" in report(
        comparison
    ) and "Not trained yet: `python train.py --recipe scratch-cnn`" in flat(report(comparison))


def test_teachers_are_named(comparison):
    trained(comparison, "age-range", 6.0, None)["teachers"] = ["vggface"]
    trained(comparison, "scratch-cnn", 6.5, None)["teachers"] = []
    assert "; taught by `vggface` too" in bought(comparison, "age-range")[-1]
    entry_of(comparison, "scratch-cnn")["teachers"] = ["vggface"]
    assert "taught" not in bought(comparison, "age-range")[-1]
    assert "It also learnt from the answers of `vggface`." in flat(report(comparison))


def test_without_any_model_there_is_still_a_report(tmp_path):
    (tmp_path / "weights").mkdir()
    text = report(compare_models(tmp_path / "weights", rivals_file=tmp_path / "rivals.json"))
    assert "Nothing is trained and measured yet." in text
    assert "MiVOLO" in text


def test_lines_are_short_enough_to_read_in_a_terminal(comparison):
    lines = report(comparison).splitlines()
    assert max(len(line) for line in lines if not line.startswith("|")) <= 110
    assert len(lines) <= 90  # one screen, or little more
