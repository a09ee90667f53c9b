"""What a test does where a program it needs is not installed."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

#: The variable by which the check before landing says that a missing service is a failure.
REQUIRE_SERVICES = "UXO_TEST_REQUIRE_SERVICES"


def give_up(how_to_get: str) -> NoReturn:
    """Skip the test, saying how the program is got; where every service must be there, fail it."""
    if must_be_there():
        pytest.fail(how_to_get)
    pytest.skip(how_to_get)


def must_be_there() -> bool:
    """Whether a missing service is a failure, as before landing."""
    return os.environ.get(REQUIRE_SERVICES) == "1"  # noqa: TID251 -- it is the test run's setting, not the service's
