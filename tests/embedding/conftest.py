import pytest

from tests.support.embedded import IndexUnreachableError, packages

collect_ignore = ["project"]  # its tests run in its own environment


@pytest.fixture(scope="session")
def others():
    """What the wheel needs."""
    try:
        return packages()
    except IndexUnreachableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def distribution(others, tmp_path_factory):
    """Wheel and sdist of this repository."""
    return others.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def python(others, distribution, tmp_path_factory):
    """The Python of a new venv with the wheel in it."""
    return others.install(distribution.wheel, tmp_path_factory.mktemp("venv"))
