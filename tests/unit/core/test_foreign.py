"""A seam and no more, with its base class's defaults."""

from typing import Any

from llenergymeasure.core.foreign import with_defaults


class Base:
    greeting = "hello"

    def name_of(self, number: int) -> str:
        return f"default {number}"

    def twice(self, number: int) -> str:
        return self.name_of(number) * 2


class Bare:
    def __init__(self) -> None:
        self.asked: list[int] = []

    def name_of(self, number: int) -> str:
        self.asked.append(number)
        return f"own {number}"


def test_what_is_there_is_asked_and_the_rest_is_the_bases() -> None:
    bare: Any = Bare()
    made = with_defaults(bare, Base)
    assert made.name_of(1) == "own 1"
    assert made.greeting == "hello"
    assert made.twice(2) == "own 2own 2"
    assert bare.asked == [1, 2]


def test_one_that_derives_from_the_base_is_itself() -> None:
    thing = Base()
    assert with_defaults(thing, Base) is thing
