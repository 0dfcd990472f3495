"""What happened to a guest on the node that holds it, beside the cluster: told, whatever ``on_pause`` makes of it."""

from vmha.model.records import Observation, Phase, Placement, SeenState

_PAUSED = {
    "user": "somebody paused it on {node}; it stands there (virsh resume {vm})",
    "ioerror": "its disk failed on {node}, and QEMU let it stand",
    "watchdog": "its watchdog let it stand on {node}",
    "pmsuspended": "it suspended itself on {node}; it is left as it is (virsh dompmwakeup {vm})",
    "api_error": "libvirt could not let it go on at {node} after what was done there (virsh resume {vm})",
}
"""By libvirt's reason. What stands for a save, a snapshot or a migration is on its way to something else."""


def sighting(before: Observation, now: Observation, placement: Placement | None) -> tuple[str, str] | None:
    """Kind and text of what the journal is to say; nothing about a copy that its holder does not run: that is told of
    elsewhere."""
    if placement is None or placement.node != now.node:
        return None
    if before.silent != now.silent and before.state is now.state is SeenState.RUNNING:
        if now.silent:
            return "guest-hung", f"its QEMU answers nothing on {now.node}: it was stopped, or is stuck"
        return "guest-answers", f"its QEMU answers again on {now.node}"
    match before.state, now.state:
        case SeenState.RUNNING, SeenState.PAUSED if now.reason in _PAUSED:
            return "guest-paused", _PAUSED[now.reason].format(node=now.node, vm=now.vm)
        case SeenState.PAUSED, SeenState.RUNNING if before.reason in _PAUSED:
            return "guest-resumed", f"it goes on at {now.node}"
        case _:
            return None


def began(now: Observation, placement: Placement | None) -> tuple[str, str] | None:
    """As ``sighting``, of a guest that is seen for the first time: the start that its holder claimed has come true."""
    if placement is None or now.state is not SeenState.RUNNING or placement.arrival:
        return None
    is_its_start = (placement.phase, placement.node, placement.epoch) == (Phase.HELD, now.node, now.epoch)
    return ("runs", f"its guest runs on {now.node}") if is_its_start else None
