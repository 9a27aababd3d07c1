"""Fields of a frozen dataclass that say all there is to say of a setting: type, default, range and words.

`check_settings` holds an instance to them, `add_options` makes options of the command line of them.
Imports no TensorFlow.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from agegender.errors import ConfigError

_KEY: Final = "agegender.setting"


def setting(group: str, default: Any = dataclasses.MISSING, words: str = "", within: str = "") -> Any:
    """A field of a dataclass: an ``int``, ``float``, ``str``, ``Literal`` or a union of these and ``None``.

    Args:
        group: Heading that it stands under in ``--help``.
        default: Its default; without one it must be given.
        words: What it is.
        within: What a number must be in, as an interval: ``"[0, 1)"`` holds 0 and not 1. Numbers need one.

    Returns:
        What `dataclasses.field` does.
    """
    return dataclasses.field(default=default, metadata={_KEY: (group, words, within)})


def _settings(owner: type) -> Iterator[tuple[str, tuple[Any, ...], tuple[str, str, str]]]:
    """Name, kinds of value, and group, words and interval of each setting of a dataclass."""
    hints = get_type_hints(owner)
    for field in dataclasses.fields(owner):
        if _KEY in field.metadata:
            hint = hints[field.name]
            one = get_origin(hint) is Literal or not get_args(hint)
            yield field.name, (hint,) if one else get_args(hint), field.metadata[_KEY]


def check_settings(instance: Any) -> None:
    """Holds the settings of a dataclass to their types and ranges.

    Raises:
        ConfigError: One does not fit. It is named.
    """
    for name, kinds, (_, _, within) in _settings(type(instance)):
        value = getattr(instance, name)
        if not any(_fits(value, kind, within) for kind in kinds):
            wanted = " or ".join(_describe(kind, within) for kind in kinds)
            raise ConfigError(f"{name} must be {wanted}, not {value!r}")


def _fits(value: Any, kind: Any, within: str) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind in (str, NoneType):
        return isinstance(value, kind)
    if isinstance(value, bool) or not isinstance(value, int if kind is int else (int, float)):
        return False
    # Python's whole numbers have no end, and what is beyond a float's cannot be reckoned with.
    low, high = (min(float(end), sys.float_info.max) for end in within[1:-1].split(","))
    above = low <= value if within[0] == "[" else low < value  # which NaN is not
    return above and (value <= high if within[-1] == "]" else value < high)


def _describe(kind: Any, within: str) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    words = {str: "text", NoneType: "none", int: "a whole number", float: "a number"}[kind]
    return f"{words} in {within}" if within and kind in (int, float) else words


def add_options(
    group: Callable[[str], Any],
    owner: Any,
    *,
    only: Collection[str] | None = None,
    prefix: str = "",
    of: str = "",
) -> None:
    """Adds an option for each setting of a dataclass, whose help names the default.

    Args:
        group: Gives the group of arguments under a heading, such as `functools.cache` of a parser's
            ``add_argument_group``.
        owner: The dataclass, or an instance whose values are called the defaults.
        only: Names of the settings to add; all where not given.
        prefix: Of the options' names: "head-" makes ``--head-epochs`` of ``epochs``.
        of: What follows the words: "of the last stage".
    """
    for name, kinds, (title, words, _) in _settings(owner if isinstance(owner, type) else type(owner)):
        if only is not None and name not in only:
            continue
        choices = get_args(kinds[0]) if get_origin(kinds[0]) is Literal else None
        default = getattr(owner, name, None)
        group(title).add_argument(
            f"--{prefix}{name.replace('_', '-')}",
            type=partial(_parse, kinds),
            choices=choices,
            metavar=None if choices else {int: "N", float: "X"}.get(kinds[0], "NAME"),
            help=f"{words} {of}".rstrip() + ("" if default is None else f"; default {default}"),
        )


def _parse(kinds: tuple[Any, ...], text: str) -> Any:
    """What an option's text stands for; "none" for ``None`` where that is a choice."""
    kind = kinds[0]
    if NoneType in kinds and text == "none":
        return None
    if kind not in (int, float) or any(text in get_args(other) for other in kinds[1:]):
        return text
    try:
        return kind(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected {_describe(kind, '')}, received {text!r}") from error
