"""YAML with line numbers: what a document holds and where each of its values stands, so that errors can name lines.

Stricter than YAML: a key given twice is an error, not the last one's win. Documents that swell (aliases of aliases) or
bite their own tail are refused, and so is what is too long, too deep (the parser's own recursion would end the process)
or a number of thousands of digits.
"""

from dataclasses import dataclass, field
from typing import Any

import yaml

from vmha.model.document import MOST_BITS, short
from vmha.model.errors import Rejected

Path = tuple[str | int, ...]

_MOST_VALUES = 1_000_000
_DEEPEST = 32
_LONGEST = 64 << 20
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """One thing that is wrong: where, and what, with what would be accepted."""

    path: Path
    text: str


@dataclass(slots=True, kw_only=True)
class YamlSource:
    """``data`` as plain Python; ``lines`` has the line of each path (1 is the first)."""

    file: str
    data: Any = None
    lines: dict[Path, int] = field(default_factory=dict)
    twice: list[Complaint] = field(default_factory=list)

    def line_of(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it that is written down."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def say(self, complaint: Complaint) -> str:
        """One line: file, line, field, and the complaint's words."""
        place = self._named(complaint.path)
        return f"{self.file}:{self.line_of(complaint.path)}: {place + ': ' if place else ''}{complaint.text}"

    def _named(self, path: Path) -> str:
        """``vms[web].priority``: list items by their name, when they have one."""
        text, here = "", self.data
        for part in path:
            inside = here[part] if isinstance(here, list) and isinstance(part, int) and part < len(here) else None
            if isinstance(part, int):
                name = inside.get("name") if isinstance(inside, dict) else None
                text += f"[{name if isinstance(name, str) else part}]"
            else:
                text += f".{part}" if text else part
                inside = here.get(part) if isinstance(here, dict) else None
            here = inside
        return text


def parse_yaml(text: str, *, file: str) -> YamlSource:
    """Raises: Rejected naming the line of the first thing that is no YAML."""
    source = YamlSource(file=file)
    if len(text) > _LONGEST:
        raise Rejected(f"{file}: the document has {len(text)} characters", accepted=f"at most {_LONGEST}")
    try:
        _refuse_depths(text, file)
        loader = _Loader(text)
    except (yaml.YAMLError, ValueError) as error:
        raise _no_yaml(error, file) from error
    try:
        node = loader.get_single_node()
        if node is not None:
            source.data = _Builder(loader, source).build(node, (), 0)
    except (yaml.YAMLError, ValueError) as error:
        raise _no_yaml(error, file) from error
    finally:
        loader.dispose()
    return source


def _no_yaml(error: Exception, file: str) -> Rejected:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        return Rejected(f"{file}{line}: {error.problem or error.context}", accepted="YAML")
    return Rejected(f"{file}: {' '.join(str(error).split())[:200]}", accepted="YAML")


def _refuse_depths(text: str, file: str) -> None:
    """Event by event, before nodes are made of it: those are made by recursion in C, which has an end."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST + 1:
                raise _too_large(file)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _too_large(file: str) -> Rejected:
    limit = f"at most {_MOST_VALUES} values, nested {_DEEPEST} deep"
    return Rejected(f"{file}: the document is too large", accepted=limit)


class _Builder:
    def __init__(self, loader: Any, source: YamlSource) -> None:
        self._loader = loader
        self._source = source
        self._count = 0

    def build(self, node: yaml.Node, path: Path, depth: int) -> Any:
        self._count += 1
        if self._count > _MOST_VALUES or depth > _DEEPEST:
            raise _too_large(self._source.file)
        self._source.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*path, index), depth + 1) for index, item in enumerate(node.value)]
        return self._scalar(node)

    def _scalar(self, node: yaml.Node) -> Any:
        """Raises: Rejected for what does not fit its tag (``!!bool``, ``!!timestamp``), which PyYAML does not tell."""
        line = f"{self._source.file}:{node.start_mark.line + 1}"
        try:
            value = self._loader.construct_object(node)
        except (LookupError, AttributeError, TypeError) as error:
            raise Rejected(
                f"{line}: {short(node.value)} is no {node.tag.rpartition(':')[2]}", accepted="YAML"
            ) from error
        if isinstance(value, int) and value.bit_length() > MOST_BITS:
            raise Rejected(f"{line}: a number of {value.bit_length()} bits", accepted=f"at most {MOST_BITS} bits")
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path, depth: int) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in seen and key != "<<":
                text = f"the key is given twice, in line {seen[key]} too (accepted: once)"
                self._source.twice.append(Complaint(path=(*path, key), text=text))
            seen.setdefault(key, line)
            self._source.lines[(*path, key)] = line
        self._loader.flatten_mapping(node)
        return {str(key.value): self.build(value, (*path, str(key.value)), depth + 1) for key, value in node.value}
