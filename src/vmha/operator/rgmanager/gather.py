"""Which vms a ``cluster.conf`` has, and which attributes count for each: inline, by reference, or inside a service.

An inline vm has the attributes of ``resource-defaults`` below its own. A ``<vm ref="x">`` stands for the ``<vm
name="x">`` in ``<resources>``, whose attributes alone count (RGManager read ``resources`` before the defaults). A vm
inside a service followed the service's policy: its failover domain, recovery and autostart.
"""

from dataclasses import dataclass, field

from vmha.operator.rgmanager.findings import Findings
from vmha.operator.rgmanager.source import Attribute, Element

FROM_SERVICE = ("domain", "autostart", "exclusive", "recovery", "max_restarts", "restart_expire_time", "depend")
"""What a vm inside a service took from it."""

_RM_CHILDREN = ("failoverdomains", "resources", "resource-defaults", "events", "vm", "service")


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSource:
    """One vm as the file has it. ``attributes`` by name, each where it is written; ``actions`` in order.

    ``service``: what it is in.
    """

    element: Element
    name: Attribute
    attributes: dict[str, Attribute] = field(default_factory=dict)
    actions: tuple[Element, ...] = ()
    service: Element | None = None


def gather_vms(rm: Element, found: Findings) -> list[VmSource]:
    """The vms that could be taken; what can be said of the others is in ``found``."""
    return _Gatherer(rm, found).gather()


class _Gatherer:
    def __init__(self, rm: Element, found: Findings) -> None:
        self._rm = rm
        self._found = found
        self._resources: dict[str, Element] = {}
        self._referred: set[str] = set()
        self._vms: dict[str, VmSource] = {}
        self._defaults: dict[str, Attribute] = {}

    def gather(self) -> list[VmSource]:
        self._read_defaults()
        self._read_resources()
        for child in self._rm.children:
            if child.tag == "vm":
                self._vm(child, service=None)
            elif child.tag == "service":
                self._service(child)
            elif child.tag not in _RM_CHILDREN:
                text = "is no resource that RGManager knew under <rm>, and it was silent about it"
                self._found.left_whole(child, text)
        for name, element in self._resources.items():
            if name not in self._referred:
                self._found.left_whole(element, f'nothing refers to it (<vm ref="{name}"/>): RGManager did not run it')
        return list(self._vms.values())

    def _read_defaults(self) -> None:
        for element in (child for group in self._rm.named("resource-defaults") for child in group.children):
            if element.tag != "vm":
                self._found.left_whole(element, "is no vm")
                continue
            for attribute in element.all_attributes():
                if attribute.name in ("name", "ref"):
                    self._found.left(attribute, "defaults need no name")
                else:
                    self._defaults.setdefault(attribute.name, attribute)
            for child in element.children:
                self._found.left_whole(child, "RGManager took attributes from the defaults, and no elements")

    def _read_resources(self) -> None:
        for element in (child for group in self._rm.named("resources") for child in group.children):
            name = element.attributes.get("name")
            if element.tag != "vm":
                self._found.left_whole(element, "is no vm")
            elif not name:
                self._found.left_whole(element, "a vm without a name")
            elif name in self._resources:
                self._found.left_whole(element, f"there is a vm {name} already; the first one counts")
            else:
                self._resources[name] = element

    def _service(self, service: Element) -> None:
        inside = [element for element in service.walk() if element.tag == "vm"]
        kept = {id(element) for vm in inside for element in vm.walk()}
        outer = set(map(id, inside)) - {id(e) for vm in inside for child in vm.children for e in child.walk()}
        for element in service.walk():
            if id(element) in kept:
                continue
            if element is service and inside:
                others = element.all_attributes(but=(*FROM_SERVICE, "name"))
                self._found.left_all(others, "is nothing that a service of vms has")
                if (name := element.find_attribute("name")) is not None:
                    self._found.taken(name, "the name of a service, if its vms are taken")
            else:
                self._found.left(element, "is no vm")
                self._found.left_all(element.all_attributes(), "is no vm")
        for vm in inside:
            if id(vm) in outer:
                self._vm(vm, service=service)

    def _vm(self, element: Element, *, service: Element | None) -> None:
        definition, name = element, element.find_attribute("name")
        ref = element.find_attribute("ref")
        if ref is not None:
            resolved = self._resolve(element, ref)
            if resolved is None:
                return
            definition, name = resolved
        if name is None:
            self._found.left_whole(element, "a vm without a name")
            return
        if name.value in self._vms:
            where = self._vms[name.value].element
            text = f"there is a vm {name.value} already, in line {where.line}; the first one counts"
            self._found.left_whole(element, text)
            return
        children = [child for e in {id(e): e for e in (definition, element)}.values() for child in e.children]
        others = [child for child in children if child.tag != "action"]
        if others:
            text = (
                f"has other resources below it ({', '.join(f'<{child.tag}>' for child in others)}): RGManager did not "
                "migrate such a vm, and what it needs of them is not known here"
            )
            self._found.left_whole(element, text)
            return
        if service is not None:
            text = (
                f"was part of service {service.attributes.get('name', '')}: RGManager neither migrated nor tracked it"
            )
            self._found.changed(element, f"{text}; both is done now")
        defaults = {} if ref is not None else self._defaults
        own = {a.name: a for a in definition.all_attributes(but=("name", "ref"))}
        inherited = {key: a for key in FROM_SERVICE if service and (a := service.find_attribute(key))}
        for key in own.keys() & inherited.keys():
            self._found.left(own[key], "the service's own counts, for a vm inside a service")
        extra = {a.name: a for a in element.all_attributes() if a.name.startswith("__")}
        self._vms[name.value] = VmSource(
            element=element,
            name=name,
            attributes={**defaults, **own, **inherited, **extra},
            actions=tuple(child for child in children if child.tag == "action"),
            service=service,
        )

    def _resolve(self, element: Element, ref: Attribute) -> tuple[Element, Attribute] | None:
        definition = self._resources.get(ref.value)
        if definition is None:
            known = ", ".join(sorted(self._resources)) or "a <vm> of that name in <resources>, and there is none"
            self._found.left(ref, "there is no such vm among the resources", accepted=known)
            return None
        if ref.value in self._referred:
            self._found.left(ref, "it is referred to already; a vm runs once")
            return None
        self._referred.add(ref.value)
        self._found.taken(ref, f"the vm of line {definition.line}")
        for attribute in element.all_attributes(but=("ref",)):
            if not attribute.name.startswith("__"):
                self._found.left(attribute, "beside a ref RGManager did not read it: the resource's own counts")
        return definition, definition.find_attribute("name")  # type: ignore[return-value]  # resources have names
