"""Measurements: how long what an operator waits for takes, on this machine, as ratios within one run.

``python -m bench`` builds labs of real hosts, breaks and moves witness guests in them, fills an etcd with a large
cluster, and plans on it. Each measure is the median of several samples and is printed as one JSON line as soon as it
is known; a table follows at the end. Wall times differ between machines and between hours, so what can be compared is
compared with a plain counterpart that was measured in the same run (bare libvirt, bare ``virsh migrate``).

Nothing is asserted: a target that is missed is shown as missed, and the exit code is 0.

    measure.py    one measure and its median; the run that collects and prints them
    labs.py       a lab with agents, as the measures drive it: shells in its hosts, its cluster as one snapshot
    ticks.py      the witness guest's disk, looked at every few milliseconds
    recovery.py   bare create, power cut, killed QEMU
    moving.py     live migration beside bare virsh
    twenty.py     twenty vms lost with their host and brought home again (only when asked for)
    world.py      a large cluster as records
    status.py     ``vmha status`` of a small and a large cluster
    planner.py    one plan for a large cluster

Apart from them, ``python -m bench.scale`` (``make scale``): many agents on one etcd.

    scale.py          its phases and its table
    scale_cluster.py  the cluster as the measure drives it
    scale_hosts.py    one process of simulated hosts
    scale_watch.py    the cluster as its store tells of it
"""
