"""The matrix calls the same functions thousands of times: shapes are checked on the healthy case, not on the faults."""

import jaxtyping
import pytest


@pytest.fixture(scope="module", autouse=True)
def without_shape_checks(of_healthy):
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
