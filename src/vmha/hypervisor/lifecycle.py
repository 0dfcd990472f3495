"""How a domain ended, concluded from the order of libvirt's lifecycle events. Pure: numbers in, conclusions out.

One event alone misleads. ``STOPPED/SHUTDOWN`` is a guest that powered itself off *or* a host that is going down: only
the ``SHUTDOWN`` before it says which. ``STOPPED/FAILED`` is a QEMU that died, *or* a guest on its way in that never ran
here, *or* a watchdog's power-off. ``STARTED/MIGRATED`` comes when the target begins to receive: the guest runs only
from ``RESUMED`` on, or stands complete from ``SUSPENDED/PAUSED`` on::

    create        RESUMED UNPAUSED, STARTED BOOTED          (in this order)
    arrive        STARTED MIGRATED ... RESUMED MIGRATED     (SUSPENDED PAUSED when left standing)
    in, failed    STARTED MIGRATED ... STOPPED FAILED       (or SHUTDOWN HOST, STOPPED DESTROYED)
    power off     SHUTDOWN GUEST, STOPPED SHUTDOWN
    host down     SHUTDOWN HOST,  STOPPED SHUTDOWN          (SIGTERM to the QEMU)
    destroy       SHUTDOWN HOST,  STOPPED DESTROYED
    QEMU killed   STOPPED FAILED
    panic         CRASHED PANICKED, STOPPED CRASHED       (on_crash=preserve: SHUTDOWN HOST, STOPPED DESTROYED)
    watchdog      WATCHDOG poweroff, STOPPED FAILED
    leave         SUSPENDED MIGRATED, STOPPED MIGRATED
    by post-copy  SUSPENDED POSTCOPY, STOPPED MIGRATED    (FAILED, DESTROYED: it had left all the same)
    save          SUSPENDED PAUSED, STOPPED SAVED

Nothing is replayed for the time without a connection: a domain that went missing then ended nobody knows how.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from vmha.hypervisor.port import Ending
from vmha.model.migration import Arrival


class Lifecycle(IntEnum):
    """libvirt's VIR_DOMAIN_EVENT_*."""

    DEFINED = 0
    UNDEFINED = 1
    STARTED = 2
    SUSPENDED = 3
    RESUMED = 4
    STOPPED = 5
    SHUTDOWN = 6
    PMSUSPENDED = 7
    CRASHED = 8

    @property
    def word(self) -> str:
        """libvirt's word, for the journal."""
        return self.name.lower()


class Started(IntEnum):
    """libvirt's VIR_DOMAIN_EVENT_STARTED_*, those with a meaning here."""

    BOOTED = 0
    MIGRATED = 1
    RESTORED = 2


class Suspended(IntEnum):
    """libvirt's VIR_DOMAIN_EVENT_SUSPENDED_*, those with a meaning here."""

    PAUSED = 0
    MIGRATED = 1
    IOERROR = 2
    WATCHDOG = 3
    POSTCOPY = 7
    POSTCOPY_FAILED = 8


class Stopped(IntEnum):
    """libvirt's VIR_DOMAIN_EVENT_STOPPED_*."""

    SHUTDOWN = 0
    DESTROYED = 1
    CRASHED = 2
    MIGRATED = 3
    SAVED = 4
    FAILED = 5
    FROM_SNAPSHOT = 6


class Shutdown(IntEnum):
    """libvirt's VIR_DOMAIN_EVENT_SHUTDOWN_*: who asked for it."""

    FINISHED = 0
    GUEST = 1
    HOST = 2


WATCHDOG_POWEROFF = 3
"""libvirt's VIR_DOMAIN_EVENT_WATCHDOG_POWEROFF."""


@dataclass(slots=True)
class _Life:
    """One run of a domain, as far as seen."""

    is_incoming: bool = False
    shutdown_by: Shutdown | None = None
    watchdog_fired: bool = False
    panicked: bool = False
    has_switched: bool = False  # by post-copy: it goes on at its target, whatever becomes of what is here


class Endings:
    """Follows every domain of one host by name and remembers how its last run ended."""

    def __init__(self) -> None:
        self._lives: dict[str, _Life] = {}
        self._endings: dict[str, Ending] = {}
        self._touched: set[str] = set()
        self._departures: dict[str, Arrival] = {}

    def find(self, name: str) -> Ending | None:
        """How the last run of ``name`` ended; None when it runs, or was never seen."""
        return self._endings.get(name)

    def note(self, name: str, event: int, detail: int) -> Ending | None:
        """Take one lifecycle event; returns the conclusion when it was the domain's end."""
        self._touched.add(name)
        match event:
            case Lifecycle.STARTED if detail == Started.MIGRATED:
                self._begin(name).is_incoming = True
            case Lifecycle.STARTED:
                self._life(name).is_incoming = False
            case Lifecycle.RESUMED:
                life = self._life(name)
                life.is_incoming = life.panicked = False  # on_crash=restart: it lives on in the same QEMU
            case Lifecycle.SUSPENDED if detail in (Suspended.POSTCOPY, Suspended.POSTCOPY_FAILED):
                self._life(name).has_switched = True
            case Lifecycle.SUSPENDED if detail == Suspended.PAUSED:
                self._life(name).is_incoming = False
            case Lifecycle.SHUTDOWN:
                self._life(name).shutdown_by = Shutdown(detail) if detail in tuple(Shutdown) else None
            case Lifecycle.CRASHED:
                self._life(name).panicked = True
            case Lifecycle.STOPPED:
                return self._end(name, detail)
        return None

    def note_watchdog(self, name: str, action: int) -> None:
        """Take one watchdog event: its power-off looks like a dead QEMU otherwise."""
        if action == WATCHDOG_POWEROFF:
            self._life(name).watchdog_fired = True

    def note_departure(self, name: str, took: Arrival) -> None:
        """A migration has taken ``name`` away from here. It may be told before or after the end of its QEMU."""
        self._departures[name] = took

    def find_departure(self, name: str) -> Arrival | None:
        return self._departures.get(name)

    def is_incoming(self, name: str) -> bool:
        """Whether ``name`` was last seen beginning to arrive, and not yet complete."""
        return name in self._lives and self._lives[name].is_incoming

    def begin_resync(self) -> None:
        """Call before reading the list that ``resync`` takes: events from here on are newer than that list."""
        self._touched.clear()

    def resync(
        self,
        *,
        present: Iterable[str],
        incoming: Iterable[str],
        panicked: Iterable[str] = (),
        switched: Iterable[str] = (),
    ) -> tuple[str, ...]:
        """Take the domains that have a QEMU, after a time without events.

        Returns:
            The names that ended unseen, sorted; their ending is UNKNOWN.
        """
        alive, arriving = set(present) - self._touched, set(incoming)
        given_up, gone_on = set(panicked), set(switched)
        missed = sorted(self._lives.keys() - alive - self._touched)
        for name in missed:
            del self._lives[name]
            self._endings[name] = Ending.UNKNOWN
        for name in sorted(alive):
            self._endings.pop(name, None)
            self._departures.pop(name, None)
            life = self._lives.setdefault(name, _Life())
            life.is_incoming, life.panicked, life.has_switched = name in arriving, name in given_up, name in gone_on
        return tuple(missed)

    def _begin(self, name: str) -> _Life:
        self._endings.pop(name, None)
        self._departures.pop(name, None)
        self._lives[name] = _Life()
        return self._lives[name]

    def _life(self, name: str) -> _Life:
        """The present run of ``name``. A first sign of life after an ending is a new run."""
        return self._lives.get(name) or self._begin(name)

    def _end(self, name: str, detail: int) -> Ending:
        life = self._lives.pop(name, None) or _Life()
        ending = _conclude(life, detail)
        self._endings[name] = ending
        return ending


def _conclude(life: _Life, detail: int) -> Ending:
    if life.has_switched:
        return Ending.MIGRATED
    match detail:
        case Stopped.MIGRATED:
            return Ending.MIGRATED
        case Stopped.SAVED:
            return Ending.SAVED
        case Stopped.CRASHED:
            return Ending.PANICKED
        case Stopped.DESTROYED if life.panicked:
            return Ending.PANICKED  # kept by on_crash=preserve: who clears it away ends no guest
        case Stopped.DESTROYED:
            return Ending.INCOMING_FAILED if life.is_incoming else Ending.DESTROYED
        case Stopped.FAILED if life.is_incoming:
            return Ending.INCOMING_FAILED
        case Stopped.FAILED if life.watchdog_fired or life.panicked:
            return Ending.PANICKED  # the guest gave up, its QEMU did as told
        case Stopped.FAILED:
            return Ending.CRASHED
        case Stopped.SHUTDOWN if life.shutdown_by is Shutdown.GUEST:
            return Ending.GUEST_SHUTDOWN
        case Stopped.SHUTDOWN if life.shutdown_by is Shutdown.HOST:
            return Ending.HOST_SHUTDOWN
    return Ending.UNKNOWN
