"""Whether two runs said the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.domain.equivalence import (
    Difference,
    OutputComparison,
    compare_outputs,
    inputs_digest,
    outputs_digest,
)
from llenergymeasure.domain.inference import tokens_digest
from tests.fakes.requests import answered

OUTPUTS = st.dictionaries(st.integers(0, 9), st.lists(st.lists(st.integers(0, 3), max_size=6), min_size=1, max_size=3))


def test_tokens_are_equal_up_to_the_first_difference_of_their_answer() -> None:
    found = compare_outputs(
        {0: [[1, 2, 3, 4]], 1: [[5, 6]], 2: [[7, 8], [9]]}, {0: [[1, 2, 9, 4]], 1: [[5, 6]], 2: [[7], [9]]}
    )
    assert found == OutputComparison(
        n_requests=3,
        n_identical=1,
        n_tokens=4 + 2 + 2 + 1,
        n_equal_tokens=2 + 2 + 1 + 1,
        differences=(
            Difference(index=0, answer=0, position=2, first=3, second=9),
            Difference(index=2, answer=0, position=1, first=8, second=None),
        ),
    )
    assert not found.identical
    assert found.equal_token_share == pytest.approx(6 / 9)


def test_nothing_said_by_either_is_the_same() -> None:
    found = compare_outputs({0: [[]]}, {0: [[]]})
    assert found.identical
    assert found.equal_token_share == 1.0


@given(OUTPUTS)
def test_a_run_is_identical_to_itself(outputs: dict[int, list[list[int]]]) -> None:
    found = compare_outputs(outputs, outputs)
    assert found.identical
    assert found.n_equal_tokens == found.n_tokens == sum(len(ids) for answers in outputs.values() for ids in answers)


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_neither_run_comes_first(ours: list[int], theirs: list[int]) -> None:
    there, back = compare_outputs({0: [ours]}, {0: [theirs]}), compare_outputs({0: [theirs]}, {0: [ours]})
    assert (there.n_tokens, there.n_equal_tokens) == (back.n_tokens, back.n_equal_tokens)
    assert there.identical == (ours == theirs)


def test_runs_of_other_requests_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="request 1 and 1 more is in one of the runs only"):
        compare_outputs({0: [[1]], 1: [[1]]}, {0: [[1]], 2: [[1]]})
    with pytest.raises(ValueError, match="request 0 has 1 answers in one run, 2 in the other"):
        compare_outputs({0: [[1]]}, {0: [[1], [1]]})


def test_the_digest_of_a_run_is_that_of_its_tokens_whatever_their_order() -> None:
    one, two = answered(0, [(1, 2)]), answered(1, [(3,)])
    assert outputs_digest([one, two]) == outputs_digest([two, one])
    others = [answered(1, [(4,)]), answered(2, [(3,)]), answered(1, [(3,), (3,)])]
    digests = {outputs_digest([one, other]) for other in (two, *others)}
    assert len(digests) == 4


def test_the_digest_of_what_was_read_is_that_of_its_tokens_whatever_their_order_and_the_answers() -> None:
    one, two = answered(0, [(1, 2)], given=(7, 8)), answered(1, [(3,)], given=(9,))
    said_more = answered(1, [(3, 4)], given=(9,))
    assert inputs_digest([one, two]) == inputs_digest([two, one]) == inputs_digest([one, said_more])
    others = [answered(1, [(3,)], given=(8,)), answered(2, [(3,)], given=(9,)), answered(1, [(3,)], given=(9, 9))]
    assert len({inputs_digest([one, other]) for other in (two, *others)}) == 4


def test_a_request_whose_input_is_not_told_leaves_none_for_all() -> None:
    assert inputs_digest([answered(0, [(1,)], given=(7,)), answered(1, [(1,)])]) is None


def test_answers_are_told_apart_in_a_digest() -> None:
    assert len({tokens_digest((1, 2), (3,)), tokens_digest((1,), (2, 3)), tokens_digest((1, 2, 3))}) == 3
