"""Files that are no cluster.conf, files with hardly anything in them, and files with anything at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.operator.rgmanager.conf import NODES, Files, conf, definitions, findings, imported
from vmha.model.errors import Rejected
from vmha.operator.rgmanager.report import as_lines, as_yaml
from vmha.operator.rgmanager.source import MAX_BYTES, MAX_DEPTH
from vmha.operator.rgmanager.translate import translate

BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE cluster [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<cluster name="&b;"/>"""
OUTSIDE = b'<!DOCTYPE cluster [<!ENTITY x SYSTEM "file:///etc/passwd">]><cluster name="&x;"/>'


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cluster.conf:1: broken XML: no element found"),
        (b"cluster: yes", "cluster.conf:1: broken XML"),
        (b"<cluster>\n<rm>\n</cluster>", "cluster.conf:3: broken XML: mismatched tag"),
        (b"<cluster><vm name='a' name='b'/></cluster>", "duplicate attribute"),
        (b"<domain/>", "cluster.conf:1: the root element is <domain> (accepted: <cluster>)"),
        (BOMB, "cluster.conf:2: a document type declaration"),
        (OUTSIDE, "a document type declaration"),
        (b"<cluster name='&x;'/>", "undefined entity"),
        (b"<?xml version='1.0' encoding='klingon'?><cluster/>", "cluster.conf:1: broken XML"),
        (b"<cluster name='\xff'/>", "broken XML: not well-formed"),
        (b"<cluster>" + b"<a>" * MAX_DEPTH + b"</a>" * MAX_DEPTH + b"</cluster>", "the file is too large"),
        (b"<cluster>" + b"<a/>" * 100_001 + b"</cluster>", "the file is too large"),
        (b"<cluster>" + b" " * MAX_BYTES + b"</cluster>", "bytes (accepted: at most"),
    ],
    ids=str,
)
def test_a_file_that_is_no_cluster_conf_is_refused_by_line(data: bytes, said: str) -> None:
    with pytest.raises(Rejected) as refused:
        translate(data, file="cluster.conf", read=Files())
    assert said in str(refused.value)


@pytest.mark.parametrize("data", [b"<cluster/>", b"<cluster><rm/></cluster>", f"<cluster>{NODES}</cluster>".encode()])
def test_a_file_with_hardly_anything_in_it_is_taken_for_what_it_is(data: bytes) -> None:
    assert imported(data).document["vms"] == []


def test_other_encodings_are_read() -> None:
    text = '<?xml version="1.0" encoding="ISO-8859-1"?><cluster name="büro"/>'
    assert imported(text.encode("latin-1")).cluster == "büro"


def test_no_value_breaks_a_line_of_the_report() -> None:
    result = imported(b'<cluster name="a&#10;b" config_version="&#127;[31m"/>')
    assert all(line.isprintable() for line in as_lines(result))
    assert as_yaml(result).splitlines()[0].startswith(r"# From cluster.conf, cluster a\nb, ")


@pytest.mark.parametrize("attribute", ["max_restarts", "restart_expire_time", "autostart", "exclusive", "use_virsh"])
@pytest.mark.parametrize("value", ["9" * 10_000, "9" * 10_000 + "x", "1s" * 5_000 + "-", " " * 10_000, "-" * 10_000])
def test_numbers_without_end_are_told_like_any_other_nonsense(attribute: str, value: str) -> None:
    result = imported(conf(f'<vm name="web" {attribute}="{value}"/>'))
    assert findings(result, attribute)
    assert max(map(len, as_lines(result))) < 1000


_NAMES = st.sampled_from(["web", "db", "n1", "n2", "d", "", "0", "1", "yes", "é", "a:b", "vm:web", "\n", "-1", "10m"])
_TAGS = st.sampled_from(
    [
        "vm",
        "service",
        "resources",
        "resource-defaults",
        "failoverdomains",
        "failoverdomain",
        "failoverdomainnode",
        "action",
        "events",
        "event",
        "rm",
        "clusternodes",
        "clusternode",
        "fence",
        "method",
        "device",
        "fencedevices",
        "fencedevice",
        "cman",
        "totem",
        "other",
    ]
)
_ATTRIBUTES = st.sampled_from(
    [
        "name",
        "ref",
        "domain",
        "autostart",
        "recovery",
        "max_restarts",
        "migration_mapping",
        "migrate_options",
        "agent",
        "priority",
        "ordered",
        "restricted",
        "timeout",
        "path",
        "xmlfile",
        "action",
        "token",
        "disabled",
        "passwd",
    ]
)


def _element(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def write(tag: str, attributes: dict[str, str], inner: list[str]) -> str:
        told = "".join(f' {key}="{value.replace(chr(10), "&#10;")}"' for key, value in attributes.items())
        return f"<{tag}{told}>{''.join(inner)}</{tag}>"

    return st.builds(write, _TAGS, st.dictionaries(_ATTRIBUTES, _NAMES, max_size=5), st.lists(children, max_size=4))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.recursive(_element(st.nothing() | st.just("")), _element, max_leaves=12), max_size=5), st.booleans())
def test_whatever_a_file_holds_is_told_and_the_document_can_be_read(inner: list[str], in_rm: bool) -> None:
    body = "".join(inner)
    data = f"<cluster>{NODES}{f'<rm>{body}</rm>' if in_rm else body}</cluster>"
    imported(data.encode(), definitions("web", "db", "d", "n1"))
