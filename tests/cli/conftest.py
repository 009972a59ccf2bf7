"""A server to talk to."""

from collections.abc import Iterator

import pytest
from tests.cli.runs import Server


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        yield server
