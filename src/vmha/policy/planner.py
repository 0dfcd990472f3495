"""Planning again and again: what the next plan can use of the last one is kept, so that it costs what has changed.

What is kept are the indexes that a plan would make first, the census of the vms and the preferences of the failover
domains, never a decision. The answers are ``plan``'s, whatever was planned before: that is a property test
(tests/unit/policy/test_census.py).
"""

from collections.abc import Mapping

from vmha.model.ids import NodeName, VmName
from vmha.policy.members.membership import Verdict
from vmha.policy.placing.preferences import Preferences
from vmha.policy.plan import judge_all, plan
from vmha.policy.state.census import Census
from vmha.policy.state.snapshot import Moment, Snapshot, VmView
from vmha.policy.state.steps import Plan


class Planner:
    def __init__(self) -> None:
        self._census = Census()
        self._preferences: Preferences | None = None

    def census(self, vms: Mapping[VmName, VmView]) -> Census:
        self._census = made = self._census.after(vms)
        return made

    def plan(self, snapshot: Snapshot, moment: Moment, verdicts: dict[NodeName, Verdict] | None = None) -> Plan:
        verdicts = judge_all(snapshot, moment) if verdicts is None else verdicts
        eligible = frozenset(name for name, verdict in verdicts.items() if verdict.may_receive)
        known = self._preferences or Preferences(eligible=eligible, domains=snapshot.domains)
        self._preferences = preferences = known.still(eligible, snapshot.domains)
        return plan(snapshot, moment, verdicts, self.census(snapshot.vms), preferences)
