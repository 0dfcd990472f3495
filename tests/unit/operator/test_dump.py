"""What is handed to somebody who helps."""

import json

from tests.unit.operator.cluster import Cluster, xml_of
from vmha.model.ids import NodeName
from vmha.model.vm import FenceDeviceSpec, NodeSpec
from vmha.operator import vms
from vmha.operator.dump import REDACTED, dump

SECRET = "s3cr3t-of-the-bmc"


async def test_everything_is_in_it_but_the_secrets(cluster: Cluster) -> None:
    cluster.elect()
    cluster.join("h1")
    device = FenceDeviceSpec(
        agent="fence_ipmilan", options={"ip": "10.0.0.9", "password": SECRET, "password_script": f"/x {SECRET}"}
    )
    cluster.put(cluster.keys.node_spec(NodeName("h1")), NodeSpec(name="h1", fence=(device,)))
    xml = xml_of("web").replace("</domain>", f"<devices><graphics type='vnc' passwd=\"{SECRET}\"/></devices></domain>")
    await vms.add_vm(cluster.client, "web", xml)
    cluster.tell("e1", "web was added", vm="web")
    cluster.put_raw(f"{cluster.keys.prefix}junk", f"password: {SECRET}".encode())
    cluster.put_raw(f"{cluster.keys.prefix}deep", b"[" * 100_000)

    told = await dump(cluster.client)

    text = json.dumps(told)
    assert SECRET not in text
    keys = told["keys"]
    assert {f"/vmha/test/{name}" for name in keys} == set(cluster.contents())
    assert keys["nodes/h1/spec"]["value"]["fence"][0]["options"] == {
        "ip": "10.0.0.9",
        "password": REDACTED,
        "password_script": REDACTED,
    }
    assert f"passwd='{REDACTED}'" in keys["vms/web/spec"]["value"]["xml"]
    assert keys["journal/e1"]["value"]["text"] == "web was added"
    assert keys["deep"]["value"] == {"unreadable_bytes": 100_000}
    assert keys["junk"]["value"] == {"unreadable_bytes": len(f"password: {SECRET}")}
    assert keys["vms/web/spec"]["modified"] > 0
