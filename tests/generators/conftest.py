"""What tests of models in pieces share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.hub_server import HubServer
from tests.helpers.pieced_colours import installed
from tests.helpers.warm import FEW_LIBRARIES, Warm


@pytest.fixture(scope="session")
def commands(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Commands where a package is installed that brings a family."""
    home = tmp_path_factory.mktemp("home")
    environment = server.environment(home, server.WRITE_TOKEN)
    environment["PYTHONPATH"] = installed(tmp_path_factory.mktemp("packages"))
    with Warm(FEW_LIBRARIES, environment) as started:
        yield started
