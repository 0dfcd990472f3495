"""Hosts that are nearly full: what runs is moved for what fits nowhere, and nothing ever runs twice for it."""

from vmha.sim.chaos import live
from vmha.sim.drawing.draw import Options, draw
from vmha.sim.drawing.draw_room import is_tight
from vmha.sim.quiet import silence_logs

SEEDS = (20, 176)


def test_random_lives_make_room_and_keep_the_invariants() -> None:
    silence_logs()
    options = Options(nodes=(3, 3), vms=(7, 7), steps=20)
    assert all(is_tight(draw(seed, options)) for seed in SEEDS)
    lives = [live(seed, options) for seed in SEEDS]
    assert [life.what_is_wrong() for life in lives if not life.is_good] == []
    texts = [line.text for life in lives for line in life.journal]
    assert any("to make room for" in text for text in texts)
    assert any(text.endswith(" made room for it") for text in texts)
