"""Which runs were on one card, and which may be compared."""

import pytest

from llenergymeasure.results.cards.where import Machine, Where, cards, machines, strata

ON_N1, ON_N2 = Machine("n1", "boot-1"), Machine("n2", "boot-2")


def gpu(*uuids: str, machine: Machine = ON_N1) -> Where:
    return Where(uuids, uuids, ("nvml (counter)",), machine)


def cpu(machine: Machine) -> Where:
    return Where((), ("package-0 of a CPU",), ("rapl (counter)",), machine)


@pytest.mark.parametrize(
    ("one", "other", "are_two"),
    [
        (ON_N1, ON_N2, True),
        (ON_N1, ON_N1, False),
        # A container has a new name on the same boot, and a machine a new boot under the same name.
        (ON_N1, Machine("f00d", "boot-1"), False),
        (ON_N1, Machine("n1", "boot-9"), False),
        (ON_N1, Machine(), False),
        (Machine("n1"), Machine("n2"), True),
    ],
)
def test_two_machines_are_told_apart_by_name_and_boot_together(one: Machine, other: Machine, are_two: bool) -> None:
    assert one.is_another_than(other) is other.is_another_than(one) is are_two


def test_processors_of_two_machines_are_apart_and_a_card_stays_itself_in_another() -> None:
    assert cpu(ON_N1).is_apart_from(cpu(ON_N2))
    assert not cpu(ON_N1).is_apart_from(cpu(Machine("n1", "boot-9")))
    assert not gpu("GPU-a").is_apart_from(gpu("GPU-a", machine=ON_N2))
    # Joules of the machine are of it, whatever card was used.
    of_host = Where(("GPU-a",), ("package-0 of a CPU",), ("rapl (counter)",), ON_N1)
    assert of_host.is_apart_from(of_host._replace(machine=ON_N2))


def test_equal_numbers_of_two_hosts_are_two_cards_by_their_uuids() -> None:
    # Every job of SLURM sees its card as number 0.
    assert cards([gpu("GPU-a"), gpu("GPU-b", machine=ON_N2), gpu("GPU-a")]) == [0, 1, 0]


def test_runs_on_one_of_two_cards_go_with_those_on_both_and_are_not_on_the_same() -> None:
    both = [gpu("GPU-a"), gpu("GPU-a", "GPU-b"), gpu("GPU-c")]
    assert strata(both) == [0, 0, 1]
    assert strata([gpu("GPU-a"), gpu("GPU-b"), gpu("GPU-c"), gpu("GPU-a", "GPU-b")]) == [0, 0, 1, 0]
    assert len(set(cards(both))) == 3


def test_a_processor_goes_with_the_cards_of_its_machine() -> None:
    assert len(set(strata([cpu(ON_N1), gpu("GPU-a")]))) == 1
    assert len(set(strata([cpu(ON_N1), gpu("GPU-a", machine=ON_N2)]))) == 2
    assert machines([cpu(ON_N1), gpu("GPU-a", machine=ON_N2), gpu("GPU-b")]) == [0, 1, 0]
