"""The choice of a model, shared by all pages that use one."""

from __future__ import annotations

from typing import Any

import streamlit as st

from agegender.models import registry
from agegender.wording import say_probability
from ui.state import linked


def choose_model(key: str) -> str | None:
    """Puts the choice of a trained model into the sidebar, with its measured error.

    Args:
        key: The widget's key, one a page.

    Returns:
        The model's name, or ``None`` where no model is trained; the page has then said so.
    """
    models = {row["name"]: row for row in registry.describe_models() if row["trained"]}
    if not models:
        st.error(
            "No model has its weights here, so nothing can be predicted. Put the repository's `weights` "
            "folder back, or train a model: `python train.py --help` says how.",
            icon=":material/model_training:",
        )
        return None
    default = next((name for name, row in models.items() if row["default"]), next(iter(models)))
    with st.sidebar:
        model = linked(
            st.selectbox,
            "Model",
            list(models),
            name="model",
            key=key,
            default=default,
            help="Which of the trained models answers. *About* says what each is.",
        )
        st.caption(say_error(models[model]["metrics"]))
    return model


def say_error(metrics: dict[str, Any]) -> str:
    """Puts a model's measured error into one sentence.

    Args:
        metrics: The test figures of the model's card; empty where it was never measured.

    Returns:
        For example "On 2,134 test faces it never saw: age off by 4.6 years on average, perceived gender right
        in 94 %."
    """
    parts = []
    if "age" in metrics:
        parts.append(f"age off by {metrics['age']['mae']:.1f} years on average")
    if "gender" in metrics:
        parts.append(f"perceived gender right in {say_probability(metrics['gender']['accuracy'])}")
    if not parts:
        return "Its error has not been measured."
    return f"On {metrics['n']:,} test faces it never saw: {', '.join(parts)}."
