"""The definition that a vm is started from, wherever it is kept.

From a file, or from the host's own libvirt, it comes as it is; in etcd it was looked at when it came in, but a hand may
have put another there. So it is read anew at each start, and has to be the vm's that it is started as: its name, and
its uuid, by which the start gate, the guard and the other nodes know the guest. With another uuid it is another machine
to all of them.
"""

from dataclasses import dataclass

from vmha.agent.ports import AgentPorts
from vmha.hypervisor.port import StartFailed
from vmha.model.digest import digest
from vmha.model.domain_xml import DomainFacts, parse_domain
from vmha.model.errors import Rejected, VmhaError
from vmha.model.source import DefinitionSource
from vmha.model.vm import VmSpec
from vmha.policy.state.transitions import Learned


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``learned.definition`` is the same for what is the same definition; its size is there where the spec does not
    have it.
    """

    xml: str
    learned: Learned


@dataclass(frozen=True, slots=True)
class Definitions:
    ports: AgentPorts

    async def find(self, spec: VmSpec) -> Found:
        """
        Raises:
            StartFailed: there is none, or it is not this vm's; says where it was looked for, and what is accepted.
            HypervisorUnavailable: the host's libvirt does not answer.
        """
        if spec.definition is None:
            _checked(spec.xml, "its definition", spec)
            return Found(xml=spec.xml, learned=Learned(definition=digest(spec.xml)))
        xml, where = await self._read(spec, spec.definition)
        facts = _checked(xml, where, spec)
        learned = Learned(definition=digest(xml), memory_mib=facts.memory_mib, vcpus=facts.vcpus)
        return Found(xml=xml, learned=learned)

    async def _read(self, spec: VmSpec, source: DefinitionSource) -> tuple[str, str]:
        if source.persistent:
            xml = await self.ports.hypervisor.find_definition(spec.name)
            if xml is None:
                raise StartFailed(f"this node's libvirt has no persistent definition of {spec.name} (virsh define)")
            return xml, "the persistent definition"
        places = source.places(spec.name)
        for place in places:
            try:
                text = await self.ports.files.read_definition(place)
            except VmhaError as error:
                raise StartFailed(f"its definition can not be read: {error}") from error
            if text is not None:
                return text, place
        raise StartFailed(f"its definition was not found: looked for {', '.join(places)}")


def _checked(xml: str, where: str, spec: VmSpec) -> DomainFacts:
    try:
        facts = parse_domain(xml)
    except Rejected as error:
        raise StartFailed(f"{where}: {error}") from error
    if facts.name != spec.name:
        raise StartFailed(f"{where}: its <name> is {str(facts.name)!r} (accepted: {spec.name!r}, the vm's name)")
    if facts.uuid is not None and facts.uuid != spec.uuid.lower():
        raise StartFailed(
            f"{where}: its <uuid> is {facts.uuid}, the cluster knows {spec.name} as {spec.uuid} (accepted: that one or "
            f"none; or tell the cluster: uuid: {facts.uuid})"
        )
    return facts
