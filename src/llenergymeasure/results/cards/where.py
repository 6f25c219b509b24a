"""On which card a run was: a GPU by its UUID, several of them, or the machine where no GPU was used."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Machine(NamedTuple):
    """A machine by its name and the number of its boot; what is not known is empty."""

    name: str = ""
    boot_id: str = ""

    def is_another_than(self, other: "Machine") -> bool:
        """Whether two are known to be two: a container has new names on one boot, a boot new numbers under one name."""
        known = [(mine, theirs) for mine, theirs in zip(self, other, strict=True) if mine and theirs]
        return bool(known) and all(mine != theirs for mine, theirs in known)


NO_MACHINE = Machine()


class Where(NamedTuple):
    """On which cards a run was.

    ``gpu_uuids`` are the GPUs that it used, ``devices`` those behind its energy, with what read them in ``sensors``.
    """

    gpu_uuids: tuple[str, ...]
    devices: tuple[str, ...]
    sensors: tuple[str, ...]
    machine: Machine = NO_MACHINE

    @property
    def is_of_machine(self) -> bool:
        """Whether the figures are those of the machine too, and not of GPUs alone."""
        return not self.gpu_uuids or not set(self.devices) <= set(self.gpu_uuids)

    def is_apart_from(self, other: "Where") -> bool:
        """Whether the two were on different cards, so that what these differ by is in a ratio of the two.

        One GPU and two of which it is one are not apart, nor are a processor and a GPU of one machine: configurations
        may be of that. Devices that different sensors read are different ones anyway.
        """
        are_read_alike = self.sensors == other.sensors
        return (
            _have_nothing_of_each_other(self.gpu_uuids, other.gpu_uuids)
            or (are_read_alike and _have_nothing_of_each_other(self.devices, other.devices))
            or ((self.is_of_machine or other.is_of_machine) and self.machine.is_another_than(other.machine))
        )

    def is_alike(self, other: "Where") -> bool:
        """Whether the two were on the same card, or on the same ones."""
        same_machine = not self.machine.is_another_than(other.machine)
        of_machine = (self.is_of_machine, other.is_of_machine)
        return (
            self.gpu_uuids == other.gpu_uuids and of_machine[0] == of_machine[1] and (not of_machine[0] or same_machine)
        )

    @property
    def label(self) -> str:
        """What the card, or the machine, is called."""
        return ", ".join(self.gpu_uuids) or self.machine.name or "the machine"


def _have_nothing_of_each_other(some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether neither has all of the other; of nothing this is never so."""
    return not (set(some) <= set(others) or set(others) <= set(some))


def strata(places: Sequence[Where]) -> list[int]:
    """[n] numbers, alike for runs that may be compared: on one card, or on cards of which one has all of the other.

    Args:
        places: of [n] runs of the two configurations that are compared.
    """
    return _numbered(places, lambda some, other: not some.is_apart_from(other))


def cards(places: Sequence[Where]) -> list[int]:
    """[n] numbers, alike for runs on the same card."""
    return _numbered(places, Where.is_alike)


def machines(places: Sequence[Where]) -> list[int]:
    """[n] numbers, alike for runs on one machine, whose times are of one clock."""
    return _numbered(places, lambda some, other: not some.machine.is_another_than(other.machine))


def _numbered(places: Sequence[Where], goes_with: Callable[[Where, Where], bool]) -> list[int]:
    """Numbers of groups in which each goes with another one, in the order in which they came."""
    groups: list[list[Where]] = []
    for place in dict.fromkeys(places):
        first, *others = [group for group in groups if any(goes_with(place, other) for other in group)] or [[]]
        if not first:
            groups.append(first)
        first.extend([*(each for group in others for each in group), place])
        groups = [group for group in groups if not any(group is other for other in others)]
    number = {place: n for n, group in enumerate(groups) for place in group}
    return [number[place] for place in places]
