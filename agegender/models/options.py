"""What the options of all systems have in common: sizes, shares of dropout and a backbone by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from agegender.errors import ConfigError
from agegender.faces.chip import MAX_MARGIN
from agegender.models.backbones import get_backbone


def validate_options(options: Any) -> None:
    """Checks what systems share and turns lists, as JSON and TOML give them, into tuples of whole numbers.

    For ``__post_init__`` of a frozen dataclass of options, before checks of its own.

    Args:
        options: Its ``backbone`` is a name in ``backbones.BACKBONES`` or ``None``, its ``input_size``
            (height, width) or ``None``, its ``dropout``, if any, a share, its ``margin``, if any, at most
            `MAX_MARGIN` pixels, and its sequences are numbers of pixels or units.

    Raises:
        ConfigError: There is no such backbone, ``dropout`` is not in [0, 1), ``margin`` is out of range, or
            ``input_size`` is no pair.
    """
    if options.backbone is not None:
        get_backbone(options.backbone)
    dropout = getattr(options, "dropout", 0.0)
    if not 0 <= dropout < 1:
        raise ConfigError(f"dropout {dropout} is not in [0, 1)")
    margin = getattr(options, "margin", 0)
    if not isinstance(margin, int) or not 0 <= margin <= MAX_MARGIN:
        raise ConfigError(f"margin must be a whole number of 0 to {MAX_MARGIN} pixels, not {margin!r}")
    for field in fields(options):
        value = getattr(options, field.name)
        if isinstance(value, list | tuple):
            object.__setattr__(options, field.name, tuple(int(number) for number in value))
    if options.input_size is not None and len(options.input_size) != 2:
        raise ConfigError(f"input_size is (height, width), not {options.input_size!r}")


def check_blocks(filters: Sequence[int], input_size: tuple[int, int]) -> None:
    """Refuses what `layers.convolutional_blocks` cannot be built of.

    Raises:
        ConfigError: There are not three blocks, or nothing of the input would be left after them.
    """
    if len(filters) != 3 or min(filters) < 1:
        raise ConfigError(f"filters are those of three blocks, not {tuple(filters)}")
    if min(input_size) < 16:
        raise ConfigError(f"three blocks take at least 16x16 pixels, not {input_size[0]}x{input_size[1]}")
