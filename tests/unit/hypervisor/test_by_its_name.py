"""Whatever is asked about a guest by name is asked by the name that it has here."""

import inspect

from vmha.agent.by_its_name import BY_NAME, OF_ITS_RUN, _ByItsName
from vmha.hypervisor.port import Hypervisor

THE_VMS_OWN = {"find_definition"}  # a persistent definition is looked for as the next start would


def test_every_question_about_a_guest_is_passed_on_by_its_own_name() -> None:
    methods = {name: one for name, one in vars(Hypervisor).items() if inspect.isfunction(one) and name[0] != "_"}
    by_name = {name for name, one in methods.items() if "name" in inspect.signature(one).parameters}
    assert by_name == BY_NAME | OF_ITS_RUN | THE_VMS_OWN | {"destroy", "restore"}
    assert {"start", "destroy", "restore", "migrate"} <= vars(_ByItsName).keys()
