"""Mutants of post-copy: from its switch on the vm is at the target, whatever stands at the source."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from vmha.agent import post_copy
from vmha.agent.inventory import Reading
from vmha.policy.state import transitions

from .mutant import Change, Mutant


def _off_the_record() -> tuple[Change, ...]:
    return ((transitions, "switch", lambda placement: placement),)


def _epoch_not_used_up() -> tuple[Change, ...]:
    return ((transitions, "_last_granted", lambda placement: placement.epoch),)


def _left_standing() -> tuple[Change, ...]:
    original = Reading.local

    def local(self: Any, vm: Any) -> Any:
        found = original(self, vm)
        return replace(found, has_switched=False) if found else None

    return ((Reading, "local", local),)


def _to_anybody() -> tuple[Change, ...]:
    return ((post_copy, "why_no_switch", lambda _placement, _vm, _snapshot: ""),)


def _mutant(name: str, removed: str, changes: Callable[[], tuple[Change, ...]]) -> Mutant:
    return Mutant(name=name, removed=removed, changes=changes)


OF_POST_COPY = (
    _mutant(
        "switch-off-the-record",
        "the switch of a post-copy is on record before libvirt is told to make it",
        _off_the_record,
    ),
    _mutant(
        "epoch-of-the-switch-given-again", "the epoch that a switch gives to the target is used up", _epoch_not_used_up
    ),
    _mutant(
        "switched-taken-for-left-standing",
        "what stands at the source after the switch is never let go on",
        _left_standing,
    ),
    _mutant(
        "switched-to-a-target-that-does-not-show-it",
        "a post-copy switches only to a living target that shows it coming in, and not when it is called off",
        _to_anybody,
    ),
)
