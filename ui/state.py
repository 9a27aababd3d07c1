"""What a visitor chose: it survives a change of page, and the page's address carries it.

Streamlit forgets a widget's value when another page is opened, and its own ways of keeping one do not carry
it from page to page. Here a choice has a *name*, under which all pages share it and which stands in the
address, and each page's widget for it has a *key* of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import streamlit as st

_KEPT: Final = "kept choices"
_SEEN: Final = "choices last seen in the address"


def linked(
    widget: Callable[..., Any],
    label: str,
    options: Sequence[str],
    *,
    name: str,
    key: str,
    default: str,
    **arguments: Any,
) -> str:
    """Draws a widget that chooses one of some options, and keeps the choice.

    Args:
        widget: For example ``st.selectbox``.
        label: For people.
        options: What there is to choose, as it stands in the address; at least one.
        name: The choice's name in the address, shared by all pages.
        key: The widget's own key.
        default: The option to begin with; it is left out of the address.
        **arguments: For the widget.

    Returns:
        The choice. An address that asks for something else than the options is not listened to.
    """
    restore(name, key, options, default)
    choice: str = widget(label, options, key=key, **arguments)
    keep(name, choice, default)
    return choice


def linked_many(
    widget: Callable[..., Any],
    label: str,
    options: Sequence[str],
    *,
    name: str,
    key: str,
    default: Sequence[str],
    **arguments: Any,
) -> list[str]:
    """Draws a widget that chooses any number of some options, and keeps the choice as `linked` does.

    Args:
        widget: For example ``st.multiselect``.
        label: For people.
        options: What there is to choose.
        name: The choice's name in the address, where commas stand between the options.
        key: The widget's own key.
        default: What is chosen to begin with.
        **arguments: For the widget.

    Returns:
        The choice. What an address asks for beside the options is left out.
    """
    kept, seen = st.session_state.setdefault(_KEPT, {}), st.session_state.setdefault(_SEEN, {})
    usual, asked = ",".join(default), st.query_params.get(name)
    if asked is not None and asked != seen.get(name):
        st.session_state[key] = asked.split(",")
    elif key not in st.session_state:
        st.session_state[key] = kept.get(name, usual).split(",")
    st.session_state[key] = [option for option in st.session_state[key] if option in options]
    choice: list[str] = widget(label, options, key=key, **arguments)
    keep(name, ",".join(choice), usual)
    return choice


def linked_toggle(label: str, *, name: str, key: str) -> bool:
    """Draws a switch, off to begin with, and keeps whether it is on.

    Args:
        label: For people.
        name: The choice's name in the address, where it says "yes".
        key: The widget's own key.

    Returns:
        Whether it is on.
    """
    restore(name, key, ("yes", "no"), "no")
    st.session_state[key] = st.session_state[key] in ("yes", True)
    is_on = st.toggle(label, key=key)
    keep(name, "yes" if is_on else "no", "no")
    return is_on


def restore(name: str, key: str, options: Sequence[str], default: str) -> None:
    """Gives a widget that is about to be drawn its value: the address's, else what was chosen before."""
    kept, seen = st.session_state.setdefault(_KEPT, {}), st.session_state.setdefault(_SEEN, {})
    asked = st.query_params.get(name)
    if asked in options and asked != seen.get(name):
        st.session_state[key] = asked
    elif key not in st.session_state:  # this page was just opened
        st.session_state[key] = kept.get(name, default)
    if st.session_state[key] not in (*options, True, False):
        st.session_state[key] = default


def keep(name: str, choice: str, default: str) -> None:
    """Keeps a choice for other pages, and puts it into the address unless it is the default."""
    st.session_state[_KEPT][name] = choice
    if choice == default:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != choice:
        st.query_params[name] = choice
    st.session_state[_SEEN][name] = st.query_params.get(name)
