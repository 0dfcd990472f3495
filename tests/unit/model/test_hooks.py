"""Hooks as settings: what is wrong is named with what would be accepted, before anything is told to anybody."""

from typing import Any

import pytest
from pydantic import ValidationError

from vmha.model.hooks import Hook
from vmha.model.settings import ClusterConfig

GOOD: dict[str, Any] = {"name": "pager", "on": ["vm-recovered"], "webhook": "https://pager.example/vmha"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"on": ["vm-recoverd"]}, "did you mean vm-recovered"),
        ({"on": []}, "at least 1"),
        ({"webhook": None}, "exactly one of the two is needed"),
        ({"exec": "tell"}, "exactly one of the two is needed"),
        ({"webhook": None, "exec": "/bin/sh"}, "in the nodes' hooks_dir"),
        ({"webhook": None, "exec": ".."}, "in the nodes' hooks_dir"),
        ({"webhook": "ftp://x/y"}, "accepted: http://HOST"),
        ({"webhook": "http://"}, "accepted: http://HOST"),
        ({"webhook": "http://x:99999/"}, "accepted: http://HOST"),
        ({"webhook": "http://x/\r\nHost: y"}, "accepted: http://HOST"),
        ({"webhook": "http://me:pass@x/"}, "accepted: secret_file"),
        ({"secret_file": "secret"}, "an absolute path"),
        ({"webhook": None, "exec": "tell", "secret_file": "/s"}, "only together with webhook"),
        ({"arguments": ["x"]}, "only together with exec"),
        ({"timeout_s": 0}, "greater than or equal to 0.1"),
        ({"colour": "red"}, "Extra inputs"),
    ],
)
def test_wrong_hook_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Hook.model_validate({key: value for key, value in {**GOOD, **fields}.items() if value is not None})
    assert said in str(refused.value)
    assert "pass@" not in str([error["msg"] for error in refused.value.errors()])


def test_two_hooks_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="pager: named twice"):
        ClusterConfig.model_validate({"hooks": [GOOD, GOOD]})


def test_hook_wants_by_event_by_star_and_never_what_is_about_hooks() -> None:
    hook, every = Hook.model_validate(GOOD), Hook.model_validate({**GOOD, "name": "all", "on": ["*"]})
    assert hook.wants("recover")
    assert not hook.wants("fenced")
    assert every.wants("kind-of-a-later-version")
    assert not every.wants("hook-trouble")
    assert every.wants("hook-test", "all")
    assert not every.wants("hook-test", "pager")
