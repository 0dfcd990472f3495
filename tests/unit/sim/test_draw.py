"""What a seed draws: a kind of fault more changes the steps that are of it, and none else."""

import pytest

from vmha.model.settings import Afterwards
from vmha.sim.drawing.draw import Options, draw


@pytest.mark.parametrize(
    ("common", "variant"),
    [
        ("qemu-dies", "qemu-freezes"),
        ("switch-refuses", "switch-babbles"),
        ("all-leases-vanish", "leases-extended"),
    ],
)
def test_fault_that_comes_in_several_kinds_leaves_all_else_of_a_life_as_it_was(common: str, variant: str) -> None:
    kinds = ("switch-babbles", "switch-missing") if common == "switch-refuses" else (variant,)
    drawn = []
    for seed in range(1, 6):
        with_it = draw(seed, Options(steps=200))
        without = draw(seed, Options(steps=200, faults=",".join(f"-{kind}" for kind in kinds)))
        assert with_it.with_steps(()) == without.with_steps(())
        for one, other in zip(with_it.steps, without.steps, strict=True):
            if one.do in kinds:
                assert other.do == common
                assert (one.at, one.vm, one.node) == (other.at, other.vm, other.node)
                drawn.append(one)
            else:
                assert one == other
    assert variant in {step.do for step in drawn}
    assert all(step.for_s > 0 for step in drawn)


def test_fenced_hosts_are_switched_on_again_in_some_lives_and_stay_off_in_most() -> None:
    drawn = [draw(seed, Options(steps=1)) for seed in range(1, 61)]
    on = [life for life in drawn if life.afterwards is Afterwards.POWER_ON]
    assert 5 <= len(on) <= 25
    assert all(any(node.has_switch for node in life.nodes) for life in on)
