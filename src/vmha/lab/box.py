"""The birth of a machine: ``python -m vmha.lab.box PLAN GO_FD SAY_FD [WATCHDOG_FD]``, started by the lab's pid 1.

The process takes fresh namespaces, forks the machine's pid 1 into them, says its pid and leaves; pid 1 of the lab
adopts the child. The child speaks into one pipe, a line per step, and is told to go on through another::

    lab                         box
     |  <---- "pid 42" --------- | (the first process, which then ends)
     |  <---- "mounted" -------- | the root is built; from now on the lab may serve /dev/watchdog
     |  ------- go: cables ----> | (a watchdog that is polled before it is mounted would hang every look at it)
     |  <---- "connected" ------ | addresses are set
     |  ------- go: boot ------> |
     |                           | init: services run
"""

import os
import subprocess
import sys
from pathlib import Path

from vmha.lab import boxinit, boxroot, linux
from vmha.lab.boxplan import BoxPlan


def main() -> int:
    plan = BoxPlan.from_json(Path(sys.argv[1]).read_text())
    go_fd, say_fd = int(sys.argv[2]), int(sys.argv[3])
    watchdog_fd = int(sys.argv[4]) if len(sys.argv) > 4 else None
    linux.unshare(linux.BOX_NAMESPACES)
    pid = os.fork()
    if pid:
        os.write(say_fd, b"pid %d\n" % pid)
        return 0
    _become_machine(plan, go_fd, say_fd, watchdog_fd)
    return 1


def _become_machine(plan: BoxPlan, go_fd: int, say_fd: int, watchdog_fd: int | None) -> None:
    os.setsid()
    boxroot.build(plan, watchdog_fd)
    if watchdog_fd is not None:
        os.close(watchdog_fd)
    os.write(say_fd, b"mounted\n")
    _await_go(go_fd)
    subprocess.run(["ip", "-batch", "-"], input="\n".join(plan.network), text=True, check=True, env=plan.environment)
    os.write(say_fd, b"connected\n")
    _await_go(go_fd)
    os.closerange(3, 1024)  # nothing of the outside may leak in
    boxinit.run(plan)


def _await_go(go_fd: int) -> None:
    if os.read(go_fd, 1) != b"g":
        os._exit(1)  # the lab gave this machine up while it was being built


if __name__ == "__main__":
    sys.exit(main())
