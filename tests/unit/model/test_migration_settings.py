"""The settings of a vm's migrations check each other."""

from typing import Any

import pytest
from pydantic import ValidationError

from vmha.model.vm import Migration


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"auto_converge_initial": 30}, "auto_converge_initial: 30: goes with auto_converge: true only"),
        ({"compress": True, "parallel_connections": 4}, "compress: true: does not go with parallel_connections"),
        ({"parallel_connections": 1}, "greater than or equal to 2"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Migration(**fields)
