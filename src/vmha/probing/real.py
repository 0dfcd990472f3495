"""The probes of a real node: each by its kind."""

from vmha.model.health import ProbeKind
from vmha.policy.at_node.health import Answer
from vmha.probing.command import ask_command
from vmha.probing.network import ask_http, ask_tcp
from vmha.probing.port import Question, Reply


class NodeProbes:
    async def ask(self, question: Question) -> Reply:
        match question.probe.kind:
            case ProbeKind.COMMAND:
                return await ask_command(question)
            case ProbeKind.TCP:
                return await ask_tcp(question.probe)
            case ProbeKind.HTTP:
                return await ask_http(question.probe)
            case ProbeKind.AGENT:
                return Reply(Answer.NONE, "the guest agent is asked through the hypervisor")
