"""Which guests are migrating out of this host: by this process, by a hand, or by the agent before this one.

Of our own it is known; of any other that may be libvirt is asked, at each look. What it does not tell in time is as it
was: a QEMU that is busy with its migration answers late, and a migration that were taken for over by that would be off
the record, and its guest started elsewhere if the host were lost just then. So are two that hang in front of it.
"""

from collections.abc import Iterable, Mapping

from vmha.hypervisor.states import Job


class WaysOut:
    """``ours``: this process's own, under way. ``perhaps``: those to ask about."""

    def __init__(self) -> None:
        self.ours: set[str] = set()
        self.perhaps: set[str] = set()
        self._known: set[str] = set()

    @property
    def all(self) -> set[str]:
        return self.ours | self.perhaps

    def here(self, names: Iterable[str]) -> None:
        """Only these have a QEMU."""
        there = set(names)
        self.perhaps &= there
        self._known &= there

    def ended(self, name: str) -> None:
        self.perhaps.discard(name)
        self._known.discard(name)

    def told(self, asked: Iterable[str], answers: Mapping[str, Job]) -> dict[str, Job]:
        """What is to be held of those that were asked about, given what came."""
        jobs: dict[str, Job] = {}
        for name in asked:
            job = answers.get(name, Job.UNKNOWN)
            match job:
                case Job.UNKNOWN if name in self._known:
                    job = Job.MIGRATING_OUT
                case Job.MIGRATING_OUT:
                    self._known.add(name)
                case Job.NONE | Job.INCOMING:
                    self.ended(name)
            jobs[name] = job
        return jobs
