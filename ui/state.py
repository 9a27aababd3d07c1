"""What a visitor chose: it survives a change of page, and the page's address carries it.

Streamlit forgets a widget's value when another page is opened, and its own ways of keeping one do not carry
it from page to page. Here a choice has a *name*, under which all pages share it and which stands in the
address, and each page's widget for it has a *key* of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import streamlit as st

_KEPT: Final = "kept choices"
_SEEN: Final = "choices last seen in the address"
_LAG: Final = 2.0
"""Seconds in which a browser has the address that it was given."""


@dataclass(frozen=True)
class _Seen:
    """What an address last said of a choice, as far as the server knows.

    Attributes:
        text: What it says; ``None`` for nothing, which means the default.
        before: What it said before, where the browser has not shown yet that it knows better.
        written: When it was written, in seconds of a steady clock.
    """

    text: str | None = None
    before: frozenset[str | None] = frozenset()
    written: float = 0.0


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
    usual = ",".join(default)
    kept, asked = _kept_and_asked(name, key, usual)
    if asked is not None:
        st.session_state[key] = asked.split(",")
    elif key not in st.session_state:
        st.session_state[key] = kept.split(",")
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
    kept, asked = _kept_and_asked(name, key, default)
    if asked in options:
        st.session_state[key] = asked
    elif key not in st.session_state:  # this page was just opened
        st.session_state[key] = kept
    if st.session_state[key] not in (*options, True, False):
        st.session_state[key] = default


def keep(name: str, choice: str, default: str) -> None:
    """Keeps a choice for other pages, and puts it into the address unless it is the default."""
    st.session_state[_KEPT][name] = choice
    seen = st.session_state[_SEEN].get(name, _Seen())
    text = None if choice == default else choice
    changed = text != seen.text
    if changed:
        st.session_state[_SEEN][name] = _Seen(text, seen.before | {seen.text}, time.monotonic())
    # A change is told even where the address seems to say so already: another one may be on its way.
    if text is not None:
        if changed or st.query_params.get(name) != text:
            st.query_params[name] = text
    elif name in st.query_params:
        del st.query_params[name]
    elif changed:
        st.query_params.from_dict(st.query_params.to_dict())


def _kept_and_asked(name: str, key: str, default: str) -> tuple[str, str | None]:
    """What was chosen before, and what the address asks for anew, ``None`` for nothing.

    Whoever clicks twice in a row sends the second click with the address from before the first. Such an
    address asks for nothing: it has not caught up yet.
    """
    kept = st.session_state.setdefault(_KEPT, {}).get(name, default)
    all_seen = st.session_state.setdefault(_SEEN, {})
    seen, text = all_seen.get(name, _Seen()), st.query_params.get(name)
    known = text == seen.text
    if not known and text in seen.before and time.monotonic() - seen.written < _LAG:
        return kept, None
    all_seen[name] = _Seen(text)
    if known:
        return kept, None
    if text is None:  # gone back to before the choice; or another page was opened, where the choice stays
        return kept, default if key in st.session_state else None
    return kept, text
