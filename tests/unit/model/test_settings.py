"""Timing that would break a law is refused, in words that name the field, the value and what would do."""

import pytest
from pydantic import ValidationError

from vmha.model.document import in_words
from vmha.model.settings import DRIFT_S, PROFILES, ClusterConfig, Profile, Timing


def _refusal(**timing: float) -> str:
    with pytest.raises(ValidationError) as caught:
        ClusterConfig.model_validate({"timing": timing})
    return str(in_words(caught.value, where="cluster.yaml"))


@pytest.mark.parametrize("profile", list(Profile))
def test_shipped_profiles_keep_their_own_rules(profile: Profile):
    timing = PROFILES[profile]
    assert timing == Timing.model_validate(timing.model_dump())
    assert timing.dead_after_s == timing.hold_s + timing.margin_s
    frozen_host_is_reset_s = timing.hold_s - timing.kill_lead_s + timing.watchdog_s
    assert frozen_host_is_reset_s + DRIFT_S <= timing.dead_after_s


def test_watchdog_longer_than_the_fence_delay_is_refused():
    said = _refusal(watchdog_s=30)
    assert "watchdog_s: 30" in said
    assert "frozen host" in said
    assert "accepted: at most 5.5" in said


@pytest.mark.parametrize(
    ("timing", "field", "accepted"),
    [
        ({"kill_lead_s": 6.0, "margin_s": 10.0}, "kill_lead_s: 6", "at most 5"),
        ({"beat_s": 4.0, "suspect_s": 9.0}, "beat_s: 4", "at most 3"),
        ({"lease_ttl_s": 10}, "lease_ttl_s: 10", "below 10"),
        ({"suspect_s": 3.0}, "suspect_s: 3", "at least 4"),
        ({"margin_s": 0.1, "watchdog_s": 1}, "margin_s: 0.1", "at least 0.5"),
        ({"hold_s": 0}, "hold_s", "greater than 0"),
        ({"lease_ttl_s": 0}, "lease_ttl_s", "greater than or equal to 1"),
        ({"heartbeat": 1}, "heartbeat", "unknown key"),
    ],
)
def test_impossible_timing_is_refused_by_field_and_value(timing: dict[str, float], field: str, accepted: str):
    said = _refusal(**timing)
    assert field in said, said
    assert accepted in said, said
    assert said.startswith("cluster.yaml: timing")


def test_an_operators_word_can_not_be_ruled_out():
    with pytest.raises(ValidationError) as caught:
        ClusterConfig.model_validate({"fencing": {"accept": ["guard_elapsed"]}})
    assert "operator_confirmed" in str(in_words(caught.value, where="x"))


def test_own_timing_replaces_the_profile():
    config = ClusterConfig.model_validate({"profile": "tuned", "timing": {"hold_s": 9}})
    assert config.clockwork.hold_s == 9
    assert ClusterConfig(profile=Profile.TUNED).clockwork is PROFILES[Profile.TUNED]
