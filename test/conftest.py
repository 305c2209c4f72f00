from pathlib import Path

import pytest

from helpers import write_slow_weights, write_weights


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the weights of a small network."""
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def slow_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights that give a test time to interfere."""
    return write_slow_weights(tmp_path_factory.mktemp("slow"))
