"""Pid 1 of a machine: reaps orphans, keeps the services running, and switches the machine off when asked.

Services restart as under systemd's ``Restart=always``: 0.2 s after they end, a little later when they end at once
again and again, for ever. Reaping is prompt: libvirt waits for its daemonised QEMU to vanish and looks every 0.2 s, so
a slow init adds its own delay to every stop and every migration.

    SIGTERM   poweroff: services end in reverse order, then everything else, then reboot(2)
    SIGINT    the same, then restart
"""

import os
import signal
from dataclasses import dataclass

from vmha.lab import linux
from vmha.lab.boxplan import HOME, BoxPlan, Service
from vmha.model.clock import SystemClock

_LOGS = "/var/log/vmha"
_RUN = "/run/vmha-lab"
_RESTART_DELAYS_S = (0.2, 0.5, 1.0)
_SHORT_RUN_S = 2.0
_LAST_WORDS_S = 2.0
_SIGNALS = frozenset({signal.SIGCHLD, signal.SIGTERM, signal.SIGINT})


@dataclass(slots=True, kw_only=True)
class _Run:
    """One service as it stands now."""

    service: Service
    pid: int | None = None
    started_s: float = 0.0
    due_s: float = 0.0
    short_runs: int = 0


class Init:
    """The loop of pid 1. Plain and synchronous: it must not need anything that can fail."""

    def __init__(self, plan: BoxPlan) -> None:
        self._plan = plan
        self._clock = SystemClock()
        self._is_ending = False
        self._runs = [_Run(service=service) for service in plan.services]

    def run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        while True:
            self._start_what_is_due()
            match self._wait(self._next_due_s()):
                case signal.SIGTERM:
                    self._switch_off(linux.POWER_OFF)
                case signal.SIGINT:
                    self._switch_off(linux.RESTART)

    def _start_what_is_due(self) -> None:
        for run in self._runs:
            if run.pid is None and self._clock.now() >= run.due_s:
                run.started_s = self._clock.now()
                try:
                    run.pid = self._spawn(run.service)
                except OSError as error:
                    self._ended(run, f"{run.service.argv[0]}: {error.strerror}")

    def _next_due_s(self) -> float:
        waiting = [run.due_s - self._clock.now() for run in self._runs if run.pid is None]
        return max(0.01, min(waiting, default=3600.0))

    def _wait(self, timeout_s: float) -> int | None:
        """Wait for a signal, reap what has ended. Returns the signal that asks for the machine's end, if any."""
        info = signal.sigtimedwait(_SIGNALS, timeout_s)
        self._reap()
        return info.si_signo if info is not None and info.si_signo != signal.SIGCHLD else None

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for run in self._runs:
                if run.pid == pid:
                    self._ended(run, f"exit code {os.waitstatus_to_exitcode(status)}")

    def _ended(self, run: _Run, how: str) -> None:
        lived_s = self._clock.now() - run.started_s
        run.short_runs = run.short_runs + 1 if lived_s < _SHORT_RUN_S else 0
        delay_s = _RESTART_DELAYS_S[min(max(run.short_runs - 1, 0), len(_RESTART_DELAYS_S) - 1)]
        run.pid, run.due_s = None, self._clock.now() + delay_s
        if not self._is_ending:
            print(f"{run.service.name} ended after {lived_s:.1f} s ({how}), starts again in {delay_s} s", flush=True)

    def _spawn(self, service: Service) -> int:
        log = os.open(f"{_LOGS}/{service.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            pid = os.posix_spawnp(
                service.argv[0],
                service.argv,
                self._plan.environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)],
                setsid=True,
                setsigmask=[],
            )
        finally:
            os.close(log)
        with open(f"{_RUN}/{service.name}.pid", "w") as file:
            file.write(f"{pid}\n")
        return pid

    def _switch_off(self, command: int) -> None:
        self._is_ending = True
        for run in reversed(self._runs):
            if run.pid is not None:
                os.kill(run.pid, signal.SIGTERM)
                self._await(run, run.service.stop_s)
        # Guests and strays: asked first, as any init does, so that QEMU flushes its disks.
        for number, patience_s in ((signal.SIGTERM, _LAST_WORDS_S), (signal.SIGKILL, _LAST_WORDS_S)):
            try:
                os.kill(-1, number)
            except ProcessLookupError:
                break
            self._await_everybody(patience_s)
        linux.reboot(command)

    def _await(self, run: _Run, patience_s: float) -> None:
        deadline_s = self._clock.now() + patience_s
        while run.pid is not None and self._clock.now() < deadline_s:
            self._wait(deadline_s - self._clock.now())

    def _await_everybody(self, patience_s: float) -> None:
        deadline_s = self._clock.now() + patience_s
        while self._clock.now() < deadline_s:
            try:
                os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            signal.sigtimedwait({signal.SIGCHLD}, 0.05)


def run(plan: BoxPlan) -> None:
    """Become the machine's init; does not return."""
    os.environ.clear()
    os.environ.update(plan.environment)
    os.chdir(HOME)
    Init(plan).run()
