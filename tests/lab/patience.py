"""Time for agents to begin anew: on a busy machine that takes many seconds, and the lab's profile holds for four."""

from collections.abc import Iterator
from contextlib import contextmanager

import yaml

from tests.lab.cluster import Cluster
from tests.lab.conftest import wait_until

PATIENCE = {"hold_s": 60, "suspect_s": 30, "lease_ttl_s": 40}


@contextmanager
def patient(cluster: Cluster, **timing: float) -> Iterator[None]:
    """Guests live for a minute without a beat. ``timing``: what else is to be otherwise."""
    config = yaml.safe_load(cluster.vmha("export"))["config"]
    now = cluster.file("now.yaml", yaml.safe_dump({"config": config}))
    patience = cluster.file("patient.yaml", yaml.safe_dump({"config": {**config, "timing": PATIENCE | timing}}))
    cluster.vmha("apply", str(patience), "--yes")
    await_patience(cluster)
    try:
        yield
    finally:
        cluster.vmha("apply", str(now), "--yes")


def await_patience(cluster: Cluster) -> None:
    def hold(host: str) -> bool:
        return f'"hold_s":{PATIENCE["hold_s"]}' in cluster.lab.sh(host, "cat /run/vmha/guard.json").replace(" ", "")

    wait_until("guards hold longer", lambda: all(map(hold, ("h1", "h2", "h3"))))
