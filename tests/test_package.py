"""The package as a whole: what it exports, what importing it costs, which errors it raises."""

from __future__ import annotations

import inspect
import subprocess
import sys
import types
from pathlib import Path

import agegender
from agegender import errors

ROOT = Path(__file__).parents[1]

LIGHT_MODULES = (
    "agegender.audit.audit",
    "agegender.audit.gallery",
    "agegender.audit.label_table",
    "agegender.charts",
    "agegender.commands.compare",
    "agegender.commands.bulk",
    "agegender.commands.models",
    "agegender.commands.serve",
    "agegender.commands.summary",
    "agegender.data.augment",
    "agegender.evaluation.corruptions",
    "agegender.explain",
    "agegender.models.registry",
    "agegender.predictor",
    "agegender.reports.card",
    "agegender.reports.comparison",
    "agegender.runs.comparison",
    "agegender.runs.how_to_train",
    "agegender.runs.progress",
    "agegender.runs.reading",
    "agegender.runs.records",
    "agegender.training.config",
    "agegender.training.recipes",
    "agegender.training.tracking",
)
"""A page that shows a table, or a list of models, must not wait for TensorFlow, which these import late if at
all. The linter holds those that never do."""


def imported_by(statements: str, *modules: str) -> list[str]:
    """Which of some modules a fresh interpreter has loaded after running statements."""
    code = f"{statements}\nimport sys\nprint(*[name for name in {modules!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_all_names_exactly_what_the_package_offers():
    offered = {
        name
        for name, value in vars(agegender).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType) and name != "annotations"
    }
    assert offered | {"__version__"} == set(agegender.__all__)


def test_all_is_sorted_and_resolves():
    assert list(agegender.__all__) == sorted(agegender.__all__)
    for name in agegender.__all__:
        assert hasattr(agegender, name), name


def test_nothing_heavy_loads_before_there_is_something_to_predict():
    statements = "\n".join(f"import {module}" for module in LIGHT_MODULES) + "\nagegender.Predictor()"
    assert imported_by(statements, "tensorflow", "keras", "streamlit", "mtcnn", "trackio") == []


def error_classes() -> list[type[Exception]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and value.__module__ == errors.__name__
    ]


def test_every_error_can_be_caught_by_the_base_class():
    classes = error_classes()
    assert len(classes) > 5
    assert all(issubclass(kind, errors.AgeGenderError) for kind in classes)
    assert {kind.__name__ for kind in classes} <= set(agegender.__all__)


def test_the_error_tree_in_the_docstring_is_complete():
    for kind in error_classes():
        assert kind.__name__ in (errors.__doc__ or ""), kind.__name__


def test_an_image_error_carries_name_and_reason():
    error = errors.TruncatedImageError("a.jpg", "it ends early")
    assert (error.name, error.reason) == ("a.jpg", "it ends early")
    assert str(error) == "a.jpg: it ends early"
