"""What ``vmha leave`` says when it is done."""

from vmha.cli.leave import what_is_next, why_not


def test_who_has_left_is_told_how_it_comes_back_and_how_it_goes_for_good() -> None:
    said = "\n".join(what_is_next("h1"))
    assert said.startswith("h1 has left the cluster")
    assert "systemctl restart vmha-agent" in said
    assert "vmha node remove h1" in said


def test_who_has_not_left_is_told_whether_it_takes_vms_again() -> None:
    assert "takes vms again" in why_not("h1", goes_off=False)
    assert "takes vms again" not in why_not("h1", goes_off=True)
