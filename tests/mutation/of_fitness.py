"""Mutants of law 4: who is given vms before it can be trusted with one."""

from typing import Any

from vmha.agent.account import Account
from vmha.agent.session_state import Session
from vmha.model.records import ArmedLevel
from vmha.policy import plan
from vmha.policy.members.membership import Condition, Verdict
from vmha.policy.state.snapshot import NodeView

from .mutant import Change, Mutant


def _armed_or_not() -> tuple[Change, ...]:
    true = Session.armed.fget  # type: ignore[attr-defined]

    def armed(self: Any) -> ArmedLevel:
        level: ArmedLevel = true(self)
        return level if level is not ArmedLevel.NONE else ArmedLevel.GUARD

    return ((Session, "armed", property(armed)),)


def _eligible_unseen() -> tuple[Change, ...]:
    return ((Account, "_why_not_eligible", lambda self, session: ""),)


def _any_status_counts() -> tuple[Change, ...]:
    return ((NodeView, "current_status", property(lambda self: self.status.value if self.status else None)),)


def _taken_for_online(*conditions: Condition) -> tuple[Change, ...]:
    original = plan.judge

    def judge(view: Any, snapshot: Any, moment: Any) -> Verdict:
        verdict = original(view, snapshot, moment)
        return Verdict(node=view.name, condition=Condition.ONLINE) if verdict.condition in conditions else verdict

    return ((plan, "judge", judge),)


OF_FITNESS = (
    Mutant(
        name="status-of-a-former-session-counts",
        removed="a node is eligible by what it published in this very session",
        changes=_any_status_counts,
    ),
    Mutant(
        name="eligible-without-an-armed-guard",
        removed="nothing is received without an armed guard",
        changes=_armed_or_not,
    ),
    Mutant(
        name="eligible-before-its-inventory",
        removed="a node says that it may receive vms only when its inventory is published",
        changes=_eligible_unseen,
    ),
    Mutant(
        name="fit-without-saying-so",
        removed="a leader gives vms only to a node that says that it may receive them: here to each that beats",
        changes=lambda: _taken_for_online(Condition.JOINING, Condition.UNFIT),
    ),
    Mutant(
        name="silent-node-taken-for-there",
        removed="a node that is silent is suspected, and lost after dead_after: here it counts as online",
        changes=lambda: _taken_for_online(Condition.SUSPECT, Condition.LOST),
    ),
)
