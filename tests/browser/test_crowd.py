"""Ten visitors at once, over real connections: no error, and nobody forgotten."""

from __future__ import annotations

import asyncio

from tools.app_in_browser import serve
from tools.visitors import crowd


def test_ten_visitors_are_served_alike_and_without_an_error(tmp_path):
    with serve(tmp_path) as server:
        met = asyncio.run(crowd(server, 10, 30))
    assert met["errors"] == []
    assert met["photos_a_visitor"]["least"] >= 1
    assert met["answered"] >= 10
