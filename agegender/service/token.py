"""Who may ask: this machine itself, or whoever knows a token."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Final

from agegender.errors import ConfigError

MIN_TOKEN: Final = 16
"""Characters that a token has at least; `openssl rand -hex 24` gives 48."""


def token_for(host: str, file: Path | None, option: str) -> str | None:
    """The token that requests have to say to a service at this address.

    Args:
        host: Name or address that it listens on; "" for all that the machine has.
        file: The file with the token, if there is one.
        option: How such a file is named.

    Returns:
        The token; ``None`` where none is asked for, because only this machine can ask.

    Raises:
        ConfigError: There is no usable token and others could reach the service.
    """
    if file is not None:
        return _read_token(file)
    if is_loopback(host):
        return None
    raise ConfigError(
        f"others may reach {host or 'this machine'}: name a file with a token that they have to say, with "
        f"{option} (openssl rand -hex 24 makes one), or listen on 127.0.0.1"
    )


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine, reached by nobody else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read_token(file: Path) -> str:
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"the token cannot be read from {file}: {error}") from error
    if len(token) < MIN_TOKEN or not token.isprintable() or " " in token:
        raise ConfigError(f"the token in {file} needs at least {MIN_TOKEN} characters, none of them a space")
    return token
