"""Writes a placement as its holder: conditional on our session and on the record being the one that was read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from vmha.agent.ports import AgentPorts
from vmha.model.errors import Refused, Retryable
from vmha.model.ids import CauseId, NodeName, Revision, VmName
from vmha.model.keys import decode, encode
from vmha.model.records import Placement, Reason, Stored
from vmha.model.vm import VmSpec
from vmha.policy.state.causes import of_state
from vmha.policy.state.hands_off import hands_off
from vmha.policy.state.snapshot import Snapshot
from vmha.store.port import Ambiguous, Compare, Created, Delete, LeaseGone, Modified, Op, Put
from vmha.tracing.operation import cause_now, operation

log = structlog.get_logger(__name__)


class Lost(Refused):
    """The record changed, or the session is over: read again, decide again."""


def readable(spec: VmSpec | None) -> VmSpec:
    """Raises: Retryable: there is none, for now or for good."""
    if spec is None:
        raise Retryable("its definition is gone or can not be read")
    return spec


@dataclass(slots=True)
class Claims:
    """Law 1 and law 2 as transactions."""

    ports: AgentPorts
    forget: Callable[[VmName], None] = lambda _: None  # an observation was taken away

    async def read(self, vm: VmName) -> Stored[Placement] | None:
        """Through the store's quorum: what has been agreed on by now, however late our watch is."""
        kv = await self.ports.store.get(self.ports.keys.placement(vm))
        if kv is None:
            return None
        return Stored(decode(Placement, kv.value, where=kv.key), kv.create_revision, kv.mod_revision, kv.lease)

    async def tell(self, kind: str, text: str, vm: VmName | None = None) -> None:
        """Into the journal, as this node's word, before something is done about it; with the cause of what is done.

        Raises:
            Lost: this node has no session, so that it has no word.
        """
        session = self.ports.keeper.current
        if session is None or session.over.is_set():
            raise Lost("this node has no session")
        await self.ports.journal.refresh()
        entry = self.ports.journal.entry(kind, text, vm=vm, node=self.ports.node, cause=CauseId(cause_now()))
        try:
            beat = Created(self.ports.keys.beat(self.ports.node), session.beat_created)
            result = await self.ports.store.txn([beat], [entry])
        except LeaseGone:
            self.ports.journal.forget_lease()
            raise
        if not result.succeeded:
            raise Lost("this node's session is over")

    def nothing_holds_it(self, vm: VmName, snapshot: Snapshot) -> list[Compare]:
        """For a start: what was read of holds is still so. None begins once one is on record.

        Raises:
            Lost: one is.
        """
        view = snapshot.vms.get(vm)
        if view is not None and (off := hands_off(view, snapshot)):
            raise Lost(off.text)
        pause = snapshot.pause.modified if snapshot.pause else Revision(0)
        return [Created(self.ports.keys.freeze(vm), Revision(0)), Modified(self.ports.keys.pause, pause)]

    async def write(
        self,
        read: Stored[Placement],
        new: Placement,
        *,
        kind: str,
        text: str,
        gone_here: bool = False,
        also_living: tuple[NodeName, Revision] | None = None,
        also: Sequence[Compare] = (),
    ) -> Stored[Placement]:
        """Returns the record as it is now. ``gone_here`` takes our observation away in the same transaction, so that
        nobody reads the vm as given up and still running here.

        Raises:
            Lost: nothing was written.
            Ambiguous, Unavailable: from the store; the next reading tells.
        """
        session = self.ports.keeper.current
        if session is None or session.over.is_set():
            raise Lost("this node has no session")
        await self.ports.journal.refresh()
        key = self.ports.keys.placement(new.vm)
        compares: list[Compare] = [
            Created(self.ports.keys.beat(self.ports.node), session.beat_created),
            Modified(key, read.modified),
        ]
        if also_living:
            compares.append(Created(self.ports.keys.beat(also_living[0]), also_living[1]))
        compares += also
        cause = of_state(new)
        reason = Reason(rule=kind, text=text, cause=cause)
        entry = self.ports.journal.entry(kind, text, vm=new.vm, node=new.node, cause=cause, reason=reason)
        ops: list[Op] = [Put(key, encode(new)), entry]
        if gone_here:
            ops.append(Delete(self.ports.keys.observation(self.ports.node, new.vm)))
        with operation(kind, cause, vm=new.vm, node=new.node):
            try:
                result = await self.ports.store.txn(compares, ops)
            except LeaseGone:
                self.ports.journal.forget_lease()
                raise
            except Ambiguous:
                now = await self.read(new.vm)
                if now is not None and now.value == new:
                    return now  # it had been committed
                raise
            if not result.succeeded:
                raise Lost(f"the placement of {new.vm} changed meanwhile")
            log.info("written", kind=kind, vm=new.vm, epoch=new.epoch, text=text)
        if gone_here:
            self.forget(new.vm)
        return Stored(new, read.created, result.revision)
