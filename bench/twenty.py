"""Twenty vms at once: their host is cut off, and later comes back. Only when asked for: it needs room for 40 guests.

Lost: from the cut of the host's network until all twenty tick elsewhere; the fence program takes the host's power. The
baseline is twenty bare creates on the two hosts that remain. Home: from the moment the host may receive vms again until
all twenty are held and seen running there, by live migration.
"""

from concurrent.futures import ThreadPoolExecutor

from bench.labs import HOSTS, Bench, holder
from bench.measure import Run, progress
from bench.ticks import now_s

VMS = [f"t{number:02d}" for number in range(1, 21)]
LOST, HOME, CREATE = "twenty.lost", "twenty.home", "twenty.create"
DOMAIN = "home"
SAMPLES = 3
"""At most: each takes a minute."""


def twenty(run: Run, bench: Bench) -> None:
    times = min(run.samples, SAMPLES)
    run.add(CREATE, "20 bare creates on two hosts to the last one's first tick", _creates(bench, times))
    leader = bench.leader()
    home, *rest = sorted(HOSTS, key=lambda host: host == leader)  # the leader stays: its loss is another measure
    members = [f"--member={home}:1", *(f"--member={host}:2" for host in rest)]
    bench.vmha("domain", "add", DOMAIN, *members, "--ordered")
    for vm in VMS:
        bench.add_vm(vm, failover_domain=DOMAIN)
    _await_all_on(bench, home)
    lost, back = [], []
    for _ in range(times):
        lost.append(_lose(bench, home))
        back.append(_bring_home(bench, home))
        progress(f"20 vms: lost for {lost[-1]:.1f} s, home in {back[-1]:.1f} s")
    run.add(LOST, "host of 20 vms cut off until all tick elsewhere, fence program", lost, baseline=CREATE)
    run.add(HOME, "its return until all 20 are home by live migration", back, baseline=CREATE)


def _creates(bench: Bench, times: int) -> list[float]:
    names = [f"bare{number:02d}" for number in range(1, 21)]
    of_host = {"h2": names[:10], "h3": names[10:]}
    for host, here in of_host.items():
        for name in here:
            bench.make_witness(name, host)

    def at_each(verb: str) -> None:
        def work(host: str) -> None:
            bench.shell(host).run("; ".join(f"virsh -q {verb.format(name)}" for name in of_host[host]))

        with ThreadPoolExecutor(max_workers=len(of_host)) as pool:
            list(pool.map(work, of_host))

    took: list[float] = []
    for _ in range(times):
        boots = {name: bench.ticks(name).boots() for name in names}
        began_s = now_s()
        at_each("create /tmp/{0}.xml")  # one after the other on each host, both hosts at once
        took.append(max(bench.ticks(name).await_boot(boots[name] + 1) for name in names) - began_s)
        at_each("destroy {0}")
    return took


def _lose(bench: Bench, home: str) -> float:
    boots = {vm: bench.ticks(vm).boots() for vm in VMS}
    began_s = now_s()
    bench.ask("cut", node=home, link="lan")
    took_s = max(bench.ticks(vm).await_boot(boots[vm] + 1) for vm in VMS) - began_s
    bench.await_snapshot("all run elsewhere", lambda seen: all(holder(seen, vm) not in (None, home) for vm in VMS))
    return took_s


def _bring_home(bench: Bench, home: str) -> float:
    bench.ask("heal", node=home, link="lan")
    if next(node for node in bench.ask("status")["nodes"] if node["name"] == home)["power"] == "off":
        bench.ask("start", node=home)
    bench.await_whole()
    began_s = now_s()
    _await_all_on(bench, home)
    return now_s() - began_s


def _await_all_on(bench: Bench, home: str) -> None:
    bench.await_snapshot(
        f"all run on {home}", lambda seen: all(holder(seen, vm) == home for vm in VMS), timeout_s=180.0
    )
