from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "biote",
    max_examples=50,
    deadline=None,  # CI shares its cores: a slow example is no failure
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
settings.load_profile("biote")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data; the test skips without it."""
    folder = os.environ.get("BIOTE_DATA")
    if not folder:
        pytest.skip("BIOTE_DATA is not set: this test reads real data")
    return Path(folder)
