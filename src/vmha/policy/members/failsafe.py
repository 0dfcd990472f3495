"""Failsafe: while etcd is down, nodes that all still see each other promise to take nothing over, and no guest ends.

A promise is a beat by other means. A node whose beats do not commit asks **all** its promisers, and only if every one
of them says yes may it count its hold from the instant at which it *sent* that question. Who says yes begins to count
that node's silence anew, so that it waits after a promise exactly as long as after a beat.

    node    committed beat, naming its promisers ... no beat commits ... asks all --s--> all said yes: hold from s
    each    ... its own beats do not commit either, the asker's session is the one it knows --> counts from now > s

Why that is safe (docs/explanation/safety.md has the whole argument): silence alone evicts a session only in the hands
of an observer that the session's last committed beat names (or when that beat names nobody), because exactly those were
asked. Everybody else, a node that joined meanwhile say, must wait ``failsafe_s`` longer: no node lives on promises for
longer than that. A node that still has etcd promises nothing, so whoever is cut off alone ends its guests (law 3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmha.model.ids import NodeName, SessionId
from vmha.model.records import BeatRecord
from vmha.model.settings import ClusterConfig
from vmha.policy.state.snapshot import Moment, Snapshot

LATE_BEATS = 1.5
"""A beat counts as late when the one before it was sent this many ``beat_s`` ago."""
DRIFT_OF_LONG_WAITS = 0.01
"""How much faster one clock may run than another over a day: far more than crystals differ by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one beat says of failsafe. No promisers: the node ends its guests when it can not commit."""

    promisers: tuple[NodeName, ...] = ()
    at_most_s: float = 0.0
    why_none: str = ""


def terms_of(
    config: ClusterConfig, addresses: Mapping[NodeName, str], me: NodeName, *, has_channel: bool, is_one_unread: bool
) -> Terms:
    """What the next beat of ``me`` says: everybody who may lead, or become leader without a new session, is named.

    One that can not be asked (no channel, or a beat that can not be read) leaves nobody to name: a promise of some is
    none.

    Args:
        addresses: of all nodes that beat, where each says that its agent answers; '' where it has no channel.
    """
    if not config.failsafe:
        return Terms(why_none="failsafe is switched off in the cluster's settings")
    if not has_channel:
        return Terms(why_none="this node has no channel to its peers (peers_secret_file)")
    others = sorted(name for name in addresses if name != me)
    if not others:
        return Terms(why_none="no other node is there")
    if is_one_unread:
        return Terms(why_none="a node's beat can not be read")
    deaf = [name for name in others if not addresses[name]]
    if deaf:
        return Terms(why_none=f"{', '.join(deaf)} has no channel to its peers")
    return Terms(promisers=tuple(others), at_most_s=config.failsafe_at_most_s)


def whom_to_ask(said: Sequence[Terms]) -> tuple[NodeName, ...]:
    """Given what the last committed beat said and all that were sent since: any of those may be the committed one.

    Empty: nobody, because one of them may be on record that names nobody.
    """
    if not said or any(not terms.promisers for terms in said):
        return ()
    return tuple(sorted({name for terms in said for name in terms.promisers}))


def longest_s(said: Sequence[Terms]) -> float:
    """For how long promises may stand in for commits, counted from the send time of the last committed beat."""
    return min((terms.at_most_s for terms in said), default=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Promiser:
    """What the one who is asked knows of itself."""

    node: NodeName
    has_session: bool  # alive, by its own count
    store_answers: bool  # its own beats commit
    has_read: bool  # its mirror was read in this life of the process
    fencing: frozenset[SessionId] = frozenset()  # whose power it is cutting right now


def refuse_promise(asker: NodeName, session: SessionId, snapshot: Snapshot, me: Promiser) -> str:
    """Why ``me`` does not promise; '' when it does, and then it must begin to count the asker's silence anew."""
    if not me.has_session:
        return f"{me.node} has no session"
    if me.store_answers:
        return f"the store answers {me.node}: whoever can not reach it is cut off alone"
    if not me.has_read:
        return f"{me.node} began without the store and does not know the cluster"
    view = snapshot.nodes.get(asker)
    if view is None or view.session_id != session:
        return f"{me.node} does not know this session of {asker}"
    if session in snapshot.fenced:
        return f"the session is fenced: {snapshot.fenced[session].how}"
    if session in me.fencing:
        return f"{me.node} is having {asker} powered off"
    return ""


def elapsed_after_s(beat: BeatRecord, observer: NodeName | None) -> float:
    """How long a silence, as ``observer`` counts it, shows that the guests of this session have ended."""
    if not beat.promisers or observer in beat.promisers:
        return beat.dead_after_s
    return beat.dead_after_s + beat.failsafe_s * (1 + DRIFT_OF_LONG_WAITS)


def who_should_lead(snapshot: Snapshot, moment: Moment) -> NodeName | None:
    """A node that may conclude what this observer may not, and that is there to do so; None: the observer itself.

    The observer is a stranger to a silent node's last beat: it joined after that. One of those the beat names can evict
    it a day earlier.
    """
    for name, view in sorted(snapshot.nodes.items()):
        if view.beat is None or name == moment.observer:
            continue
        beat, silence = view.beat.value, moment.silence_s.get(name, 0.0)
        if not beat.dead_after_s <= silence < elapsed_after_s(beat, moment.observer):
            continue
        for promiser in beat.promisers:
            other = snapshot.nodes.get(promiser)
            if other and other.beat and moment.silence_s.get(promiser, 0.0) < snapshot.config.clockwork.suspect_s:
                return promiser
    return None
