"""Reading and marking domain definitions: what is taken, what is refused and in which words, what stays as it was."""

import re
from dataclasses import replace
from xml.etree.ElementTree import canonicalize

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vmha.model.domain_xml import (
    MAX_BYTES,
    NAMESPACE,
    TagFacts,
    default_uuid,
    parse_domain,
    read_tag,
    read_tag_element,
    tag_element,
    tagged,
)
from vmha.model.errors import Rejected
from vmha.model.ids import Epoch, VmName

UUID = "6f9619ff-8b86-4011-b42d-00c04fc964ff"


def definition(body: str = "", *, name: str = "<name>web</name>", memory: str = "<memory>1048576</memory>") -> str:
    return f"<domain type='kvm'>{name}{memory}{body}</domain>"


def mark(xml: str, *, epoch: int = 7, uuid: str = UUID, cluster: str = "prod", vm: str = "web") -> str:
    return tagged(xml, cluster=cluster, vm=vm, epoch=epoch, uuid=uuid)


# --- reading


def test_facts_of_a_definition() -> None:
    facts = parse_domain(definition(f"<uuid>{UUID.upper()}</uuid><vcpu placement='static'>4</vcpu>"))
    assert (facts.name, facts.uuid, facts.memory_mib, facts.vcpus, facts.kind) == ("web", UUID, 1024, 4, "kvm")


def test_what_may_be_absent_has_libvirts_default() -> None:
    facts = parse_domain(definition("<uuid/>"))
    assert facts.uuid is None
    assert facts.vcpus == 1


@pytest.mark.parametrize(
    ("memory", "mib"),
    [
        ("<memory>2048</memory>", 2),
        ("<memory>2049</memory>", 3),
        ("<memory unit='KiB'>2048</memory>", 2),
        ("<memory unit=''>2048</memory>", 2),
        ("<memory unit='k'>2048</memory>", 2),
        ("<memory unit='b'>2097152</memory>", 2),
        ("<memory unit='bytes'>1</memory>", 1),
        ("<memory unit='KB'>2097</memory>", 2),
        ("<memory unit='MiB'>16</memory>", 16),
        ("<memory unit='M'>16</memory>", 16),
        ("<memory unit='mib'>16</memory>", 16),
        ("<memory unit='MB'>16</memory>", 16),
        ("<memory unit='GiB'>3</memory>", 3072),
        ("<memory unit='G'> 3 </memory>", 3072),
        ("<memory unit='GB'>1</memory>", 954),
        ("<memory unit='TiB'>1</memory>", 1048576),
    ],
)
def test_memory_in_every_unit_is_rounded_up_to_mib(memory: str, mib: int) -> None:
    assert parse_domain(definition(memory=memory)).memory_mib == mib


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        ("", "line 1"),
        ("<domain>\n<name>web</nome></domain>", "line 2, column 12: mismatched tag"),
        ("<domain><name>web</name>", "line 1"),
        ("<domain>\n<name>a\0b</name></domain>", "line 2"),
        ("<domain xmlns:q='a}b'/>", "or a namespace with a '}' in it"),
        ("<network/>", "root element is <network>"),
        ("<domain/>", "no <name>"),
        (definition(name="<name></name>"), "<name> is empty"),
        (definition(name="<name>  </name>"), "<name> is empty"),
        (definition(name="<name> web</name>"), "' web'"),
        (definition(name="<name>web\n</name>"), r"'web\\n'"),
        (definition(name="<name>a/b</name>"), "'a/b'"),
        (definition(name="<name>a\tb</name>"), r"'a\\tb'"),
        (definition("<uuid>42</uuid>"), "<uuid> is '42'"),
        (definition(f"<uuid>{{{UUID}}}</uuid>"), "<uuid> is"),
        (definition(memory=""), "no <memory>"),
        (definition(memory="<memory unit='furlong'>1</memory>"), "unit 'furlong'"),
        (definition(memory="<memory>much</memory>"), "<memory> is 'much'"),
        (definition(memory="<memory>0</memory>"), "<memory> is '0'"),
        (definition(memory="<memory>-1</memory>"), "<memory> is '-1'"),
        (definition("<vcpu>0</vcpu>"), "<vcpu> is '0'"),
        (definition("<vcpu>two</vcpu>"), "<vcpu> is 'two'"),
        (definition(name="<name>web<x>2</x></name>"), "<name> has an element in it"),
        (definition(f"<uuid><x/>{UUID}</uuid>"), "<uuid> has an element in it"),
        (definition(memory="<memory>1024<x>0</x></memory>"), "<memory> has an element in it"),
        (definition("<vcpu>1<x>6</x></vcpu>"), "<vcpu> has an element in it"),
        ("<!DOCTYPE d [<!ENTITY a 'b'>]>" + definition(name="<name>&a;</name>"), "document type"),
        ("<!DOCTYPE domain SYSTEM 'file:///etc/passwd'>" + definition(), "document type"),
        (definition("<x>" + "y" * MAX_BYTES + "</x>"), "bytes"),
        (definition("<x>\ud800</x>"), "not text"),
    ],
)
def test_definition_that_vmha_cannot_work_with_is_refused_in_words(xml: str, words: str) -> None:
    with pytest.raises(Rejected, match=words):
        parse_domain(xml)


@pytest.mark.parametrize("xml", ["", "<domain>", "<network/>", "<!DOCTYPE domain []>" + definition()])
def test_marking_refuses_only_what_is_no_definition(xml: str) -> None:
    for touch in (read_tag, mark):
        with pytest.raises(Rejected):
            touch(xml)
    mark("<domain/>")


def test_encoding_named_by_the_text_is_ignored_since_the_text_is_decoded_already() -> None:
    xml = '<?xml version="1.0" encoding="latin-1"?>\n' + definition(name="<name>wéb</name>")
    assert parse_domain(xml).name == "wéb"
    assert "<?xml" not in mark(xml)


# --- the tag


def test_tag_written_is_the_tag_read() -> None:
    assert read_tag(definition()) is None
    assert read_tag(mark(definition(), epoch=7)) == ("prod", "web", 7)


def test_tag_written_again_takes_the_place_of_the_first() -> None:
    twice = mark(mark(definition(), epoch=7), epoch=8)
    assert read_tag(twice) == ("prod", "web", 8)
    assert twice.count(NAMESPACE) == 1
    assert twice == mark(definition(), epoch=8)


def test_uuid_is_added_only_where_there_is_none() -> None:
    other = "11111111-2222-4333-8444-555555555555"
    assert parse_domain(mark(definition())).uuid == UUID
    assert parse_domain(mark(definition("<uuid/>"))).uuid == UUID
    assert parse_domain(mark(definition("<uuid> </uuid>"))).uuid == UUID
    assert parse_domain(mark(definition(f"<uuid>{other}</uuid>"))).uuid == other


@pytest.mark.parametrize(
    "metadata",
    ["", "<metadata/>", "<metadata></metadata>", "<metadata >\n</metadata>", '<metadata a=">"/>'],
)
def test_tag_finds_its_place_in_any_metadata(metadata: str) -> None:
    marked = mark(definition(metadata))
    assert read_tag(marked) == ("prod", "web", 7)
    assert marked.count("<metadata") == 1


def test_everything_else_stays_byte_for_byte() -> None:
    before = "<!-- über > alles -->\n<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' id=\"a>b\">"
    between = "<name>web</name><uuid>" + UUID + "</uuid>\n<memory>1024</memory>\n <metadata>"
    others = "<o:app xmlns:o=\"urn:other\"><o:x a='1'/></o:app>"
    old = f"<v:vm xmlns:v='{NAMESPACE}' cluster='old' name='web' epoch='1'><v:more/></v:vm >"
    after = "</metadata><qemu:commandline><qemu:arg value='-s'/></qemu:commandline><![CDATA[<metadata>]]></domain>\n"
    new = tag_element(TagFacts("prod", VmName("web"), Epoch(7)))
    marked = mark(before + between + others + old + after)
    assert marked == before + between + new + others + after


def test_devices_that_look_like_metadata_are_let_alone() -> None:
    body = f"<devices><metadata><vm xmlns='{NAMESPACE}' name='x' epoch='1'/></metadata><uuid>no</uuid></devices>"
    marked = mark(definition(body))
    assert body in marked
    assert read_tag(marked) == ("prod", "web", 7)


def test_tag_that_cannot_be_read_is_no_tag() -> None:
    for attributes in (
        "name='web'",
        "name='web' epoch='x'",
        "epoch='1'",
        "name='web' epoch='-1'",
        f"name='web' epoch='{'9' * 80}'",
    ):
        assert read_tag(definition(f"<metadata><vm xmlns='{NAMESPACE}' {attributes}/></metadata>")) is None
    assert read_tag_element("<vm") is None
    assert read_tag_element("<vm name='\ud800' epoch='1'/>") is None
    assert read_tag_element("<!DOCTYPE vm []><vm name='web' epoch='1'/>") is None


def test_element_alone_is_read_as_libvirt_hands_it_out() -> None:
    tag = TagFacts('pr"od', VmName("web & co"), Epoch(3), "standing")
    assert read_tag_element(tag_element(tag, qualified=False)) == tag
    assert NAMESPACE not in tag_element(tag, qualified=False)


@settings(deadline=None)  # what it takes is not what this is about
@given(
    cluster=st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), max_size=20),
    vm=st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=20),
    epoch=st.integers(min_value=0, max_value=2**63),
    metadata=st.sampled_from(["", "<metadata/>", "<metadata><a xmlns='u'/></metadata>"]),
)
def test_any_tag_survives_and_marking_again_changes_nothing(cluster: str, vm: str, epoch: int, metadata: str) -> None:
    xml = definition(metadata)
    marked = tagged(xml, cluster=cluster, vm=vm, epoch=epoch, uuid=UUID)
    assert read_tag(marked) == (cluster, vm, epoch)
    assert tagged(marked, cluster=cluster, vm=vm, epoch=epoch, uuid=UUID) == marked
    untagged = re.sub(r"<vmha:vm [^>]*/>", "", marked) if ">" not in cluster + vm else None
    if untagged is not None and metadata:
        assert canonicalize(untagged.replace(f"<uuid>{UUID}</uuid>", "")) == canonicalize(xml)


def test_default_uuid_is_the_vms_own_and_always_the_same() -> None:
    assert default_uuid("prod", "web") == default_uuid("prod", "web")
    assert len({default_uuid("prod", "web"), default_uuid("prod", "db"), default_uuid("test", "web")}) == 3
    assert parse_domain(definition(f"<uuid>{default_uuid('prod', 'web')}</uuid>")).uuid == default_uuid("prod", "web")


@pytest.mark.parametrize("place", ["{deep}", "<metadata>{deep}</metadata>", "<devices>{deep}</devices>"])
def test_elements_a_hundred_thousand_deep_are_read_and_marked_in_one_pass(place: str) -> None:
    """What took minutes on the event loop of an agent would end its session, and its guests."""
    deep = "<a>" * 100_000 + "</a>" * 100_000
    text = f"<domain type='kvm'><name>web</name><memory>1024</memory>{place.format(deep=deep)}</domain>"
    assert parse_domain(text).name == "web"
    assert deep in tagged(text, cluster="c", vm="web", epoch=1, uuid="11111111-2222-3333-4444-555555555555")


@pytest.mark.parametrize("field", ["memory", "vcpu"])
def test_number_of_thousands_of_digits_is_refused_in_words(field: str) -> None:
    text = f"<domain type='kvm'><name>web</name><{field}>{'9' * 5000}</{field}><memory>1024</memory></domain>"
    with pytest.raises(Rejected, match="a whole number above 0") as refused:
        parse_domain(text)
    assert len(str(refused.value)) < 300


WHOLE = (
    f"<?xml version='1.0' encoding='utf-8'?>\n<domain type='kvm' id='3'><name>web</name><uuid>{UUID}</uuid>"
    f"<metadata><v:vm xmlns:v='{NAMESPACE}' cluster='c' name='web' epoch='3'/><o:a xmlns:o='urn:o'>x</o:a></metadata>"
    "<memory unit='KiB'>1048576</memory><vcpu placement='static'>4</vcpu><devices><disk/></devices></domain>"
)
PIECES = (
    *("<", ">", "/>", "&", '"', "'", "=", "&#0;", "&#x41;", "&#10;", "]]>", "<![CDATA[>]]>", "<?x >?>", "<!-- > -->"),
    *(" xmlns:q='a b'", " xmlns='a\tb'", " xmlns:q='a}b'", " xmlns:q='&#9;'", " xmlns:v='u'", " xmlns='u'", ' a=">"'),
    *("<metadata/>", "<metadata>", "</metadata>", "<uuid/>", "<uuid>", "</uuid>", "<name/>", "<memory>1</memory>"),
    *("<x/>", "<x>y</x>", " ", "\ufeff", "\u2003", "\x1f", "\0", "\ud800", "é", "🌐", "0", "-1", "²", "9" * 40),
    *("<!DOCTYPE a [<!ENTITY b 'c'>]>", "<?xml version='1.0' encoding='utf-16'?>", f"<vm xmlns='{NAMESPACE}'/>"),
)
PLACES = [at for at, sign in enumerate(WHOLE) if sign in "<>/="] + [
    at + 1 for at, sign in enumerate(WHOLE) if sign == ">"
]


@settings(max_examples=600, deadline=None, database=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(PLACES) | st.integers(0, len(WHOLE)),
            st.sampled_from([0, 0, 0, 1, 2, 7, 30]),
            st.sampled_from(PIECES) | st.text(max_size=2),
        ),
        max_size=3,
    )
)
@example([(WHOLE.index(">", 40), 0, " xmlns:q='a b'")])
@example([(WHOLE.index(UUID), len(UUID), "<x/>" + UUID)])
def test_what_is_read_can_be_marked_and_is_the_same_guest_with_the_mark(edits: list[tuple[int, int, str]]) -> None:
    """A definition that comes in, and that then could not be marked, would be found out by each start of it."""
    xml = WHOLE
    for at, gone, piece in edits:
        xml = xml[:at] + piece + xml[at + gone :]
    try:
        facts = parse_domain(xml)
    except Rejected:
        facts = None
    try:
        marked = mark(xml)
    except Rejected:
        marked = ""
    assert marked or facts is None
    if facts is not None:
        assert parse_domain(marked) == replace(facts, uuid=facts.uuid or UUID)
        assert read_tag(marked) == ("prod", "web", 7)
