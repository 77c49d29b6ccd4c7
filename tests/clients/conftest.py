"""What stands in front of gateways."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import pytest

from tests.clients.front import Front, caddy, nginx

#: Starts the proxy in front of these addresses.
Proxy = Callable[[Sequence[str]], AbstractAsyncContextManager[Front]]


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, nginx_program: Path, caddy_program: Path, tmp_path: Path) -> Proxy:
    """Each proxy in turn, as ``deploy/`` sets it up."""
    start, program = {"nginx": (nginx, nginx_program), "caddy": (caddy, caddy_program)}[request.param]
    return partial(start, program, tmp_path / request.param)
