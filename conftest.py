"""Hypothesis profiles, and what every test may ask for."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings
from hypothesis.database import DirectoryBasedExampleDatabase

_SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, suppress_health_check=_SLOW_IS_FINE, max_examples=50)
# The same examples on every run, so that a red build is red for everybody.
settings.register_profile(
    "ci", parent=settings.get_profile("default"), derandomize=True, max_examples=30, database=None
)
settings.register_profile(
    "nightly",
    parent=settings.get_profile("default"),
    max_examples=2000,
    print_blob=True,
    database=DirectoryBasedExampleDatabase(os.environ.get("ROSETTA_EXAMPLES", ".hypothesis/examples")),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default"))
