"""`python -m agegender serve`: the HTTP interface for other programs."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Final

import numpy as np
import uvicorn

from agegender.commands import OK, complain, load_predictor
from agegender.errors import ConfigError
from agegender.runtime import return_large_blocks
from agegender.service.application import build_app
from agegender.service.token import token_for

END_SECONDS: Final = 30
"""How long requests that have begun may take once the service is asked to end."""


def run(*, host: str, port: int, token_file: Path | None, model: str | None) -> int:
    """Serves until a signal ends it; requests that have begun are answered.

    Args:
        host: Name or address to listen on.
        port: Port to listen on; 0 takes a free one.
        token_file: A file with the token that requests have to say; needed for all but loopback.
        model: Name of the model; ``None`` takes the default one.

    Returns:
        0.

    Raises:
        ConfigError: There is no usable token and others could reach it, or it cannot listen there.
        ModelError: The model is unknown or not trained.
    """
    token = token_for(host, token_file, "--token-file")

    predictor = load_predictor(model)
    predictor.predict(np.zeros((64, 64, 3), np.uint8))  # loads the detector
    return_large_blocks()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}, port {port}: {error}") from error

    server = uvicorn.Server(
        uvicorn.Config(
            build_app(predictor, token=token),
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=END_SECONDS,
        )
    )
    # uvicorn ends at these signals in its own good time and then raises them once more, for whoever was there
    # before: nobody, so that an end that was asked for is exit code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    shown = f"[{host}]" if ":" in host else host
    with listener:
        complain(f"listening on http://{shown}:{listener.getsockname()[1]} with model {predictor.model}")
        server.run(sockets=[listener])
    complain("ended")
    return OK
