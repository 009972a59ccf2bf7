"""What all tests share: every async test runs on asyncio and on trio, and canaries are looked for in all of them."""

from collections.abc import Iterator

import pytest
from tests import canaries


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--plant", metavar="NAME", help="put a known bug back in: see tests/known_bugs/plants.py")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getoption("--plant")
    if name is not None:  # before anything is collected: tests take what they need from our modules
        from tests.known_bugs.plants import plant

        plant(name)


def pytest_sessionstart() -> None:
    canaries.watch()


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture(autouse=True)
def no_canary_shows() -> Iterator[None]:
    """Fail a test in which a token or personal data shows up where it must not."""
    canaries.found.clear()
    yield
    shown, canaries.found[:] = canaries.found[:], []
    assert not shown, shown
