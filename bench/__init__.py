"""Measurements: how long what an operator waits for takes, on this machine, as ratios within one run.

``python -m bench`` builds labs of real hosts, breaks and moves witness guests in them, fills an etcd with a large
cluster, and plans on it. Each measure is the median of several samples and is printed as one JSON line as soon as it
is known; a table follows at the end. Wall times differ between machines and between hours, so what can be compared is
compared with a plain counterpart that was measured in the same run (bare libvirt, bare ``virsh migrate``).

Nothing is asserted: a target that is missed is shown as missed, and the exit code is 0.

    measure.py    one measure and its median; the run that collects and prints them
    computing.py  what some compute with: numpy and scipy, where they are installed
    labs.py       a lab with agents, as the measures drive it: shells in its hosts, its cluster as one snapshot
    ticks.py      the witness guest's disk, looked at every few milliseconds
    recovery.py   bare create, power cut, killed QEMU
    moving.py     live migration beside bare virsh
    twenty.py     twenty vms lost with their host and brought home again (only when asked for)
    world.py      a large cluster as records
    status.py     ``vmha status`` of a small and a large cluster
    planner.py    one plan for a large cluster
    placement.py  how good placements are (small_world.py, instances.py), against the optimum (optimum.py), what
                  moves could reach (reach.py), and other planners (pacemaker.py, ganeti.py, run by child.py)

Apart from them, ``python -m bench.scale`` (``make scale``): a large cluster on one etcd.

    scale.py          what may be asked for, and in which order it is measured
    scale_run.py      its phases, and what each has cost
    scale_result.py   what was found, and its table
    scale_cluster.py  the cluster as the measure drives it; of two kinds:
    scale_played.py   one leader, and agents that are played
    scale_real.py     every agent is the product
    scale_company.py  orders to a process of simulated hosts
    scale_hosts.py    that process
    scale_watch.py    the cluster as its store tells of it
    scale_stalls.py   what stood in the way of the leader's loop
    scale_fill.py     the records of a large cluster, for a leader to find
    scale_reading.py  how a leader begins there (``python -m bench.scale_reading``)
"""
