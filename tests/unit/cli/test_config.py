"""``vmha config show``: every setting of the cluster, as it is in force."""

from vmha.cli.config import in_force
from vmha.model.settings import ClusterConfig


def test_every_setting_is_shown() -> None:
    shown = [line.partition(":")[0].partition(".")[0] for line in in_force(ClusterConfig())]
    assert set(shown) == set(ClusterConfig.model_fields) - {"schema_version"}


def test_what_was_changed_is_shown_by_the_name_that_a_document_has_for_it() -> None:
    given = {
        "make_room": "off",
        "capacity": {"vcpu_overcommit": 4},
        "on_host_shutdown": {"vms": "failover"},
        "hooks": [{"name": "pager", "on": ["*"], "exec": "pager"}],
    }
    said = {line.split(":")[0]: line.split()[-1] for line in in_force(ClusterConfig.model_validate(given))}
    assert said["make_room"] == "off"
    assert said["capacity.vcpu_overcommit"] == "4.0"
    assert said["on_host_shutdown.vms"] == "failover"
    assert said["hooks"] == "pager"
    assert said["preempt"] == "false"
