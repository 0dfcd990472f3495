"""Is this node who it says it is? Asked before a session is begun or taken up under its name.

Two machines may go by one name and seem to be one: a disk that was cloned takes its machine id with it, and boards are
sold that all have the same firmware uuid. Then the beat that is found is no session of before this boot, but of a
machine that lives. A beat that goes on tells: our own of before can not. And one machine may go by two names, one after
the other: the host's name, where its settings give none. What its guard counts is then held under the name of before,
and others judge it by that name.
"""

from collections.abc import Callable

from vmha.model.clock import Clock
from vmha.model.errors import VmhaError
from vmha.model.ids import NodeName, Revision, SessionId
from vmha.model.records import BeatRecord
from vmha.policy.members.failsafe import LATE_BEATS
from vmha.store.port import KeyValue


class NotYetError(VmhaError):
    """A session can not begin yet; try again shortly."""


class Namesakes:
    """``find_node``: under which node's name a session beats."""

    def __init__(
        self,
        *,
        clock: Clock,
        boot_id: str,
        host: str,
        read_beat_s: Callable[[], float],
        find_node: Callable[[SessionId], NodeName | None],
    ) -> None:
        self._clock, self._boot_id, self._host = clock, boot_id, host
        self._read_beat_s, self._find_node = read_beat_s, find_node
        self._watched = (Revision(0), 0.0)

    def refuse_the_living(self, known: KeyValue, beat: BeatRecord) -> None:
        """Before a session of before this boot is held to be over: it is watched until a beat of it would be late.

        Raises:
            NotYetError: for as long as that takes, and whenever it beats.
        """
        if beat.host != self._host or beat.boot_id in ("", self._boot_id):
            return
        revision, since = self._watched
        if revision != known.mod_revision:
            self._watched = (known.mod_revision, self._clock.now())
            if revision:
                raise NotYetError(
                    "another machine goes by this node's name, with the same machine id, and beats: give this one a "
                    "name of its own (node = ... in its settings), and a machine id (systemd-machine-id-setup)"
                )
            since = self._watched[1]
        if self._clock.now() - since < LATE_BEATS * self._read_beat_s():
            raise NotYetError(f"session {beat.session} is of before this boot, if no other machine keeps it: watching")

    def refuse_another_name(self, node: NodeName, session: SessionId) -> None:
        """Before a session that the guard counts is taken up under the name of ``node``.

        Raises:
            NotYetError: it is held under another. The guard ends it in time, and then one can begin under this name.
        """
        held_by = self._find_node(session)
        if held_by not in (None, node):
            raise NotYetError(
                f"the guests here run under a session of {held_by}, and this node is called {node} now: give it back "
                f'that name (node = "{held_by}" in its settings), or they end and start elsewhere'
            )
