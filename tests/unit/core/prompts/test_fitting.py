"""Whether requests fit their model, worked out by hand."""

import pytest

from llenergymeasure.core.prompts.fitting import Room, beyond_context, check_fit
from llenergymeasure.domain.inference import Request, RequestOutput
from llenergymeasure.exceptions import ConfigError, PreFlightError


def request(n_tokens: int, n_output: int, highest: int = 0) -> Request:
    return Request(index=0, token_ids=(*range(n_tokens - 1), highest), max_output_tokens=n_output)


def test_what_fits_says_nothing() -> None:
    # The last token of an answer is not read: 10 + 7 - 1.
    requests = [request(10, 7, highest=299), request(3, 4)]
    assert check_fit(requests, Room(n_ids=300, n_positions=16, is_table=True), "m") == ()
    assert check_fit(requests, Room(), "m") == ()


def test_an_id_that_the_model_has_not_is_refused() -> None:
    with pytest.raises(PreFlightError, match=r"token id 300, and the model has ids up to 299 \(vocab_size"):
        check_fit([request(4, 1), request(4, 1, highest=300)], Room(n_ids=300), "m")


def test_one_position_more_than_a_table_has_is_refused_with_what_would_fit() -> None:
    with pytest.raises(
        ConfigError, match="a prompt of 10 tokens with an answer of up to 8 needs 17 positions"
    ) as error:
        check_fit([request(3, 4), request(10, 8)], Room(n_positions=16, is_table=True), "m")
    assert str(error.value).endswith("lower max_input_tokens or max_output_tokens, together to at most 17")


def test_without_a_table_it_is_a_caution() -> None:
    (caution,) = check_fit([request(10, 8)], Room(n_positions=16), "m")
    assert caution.flag == "beyond_context"
    assert "needs 17 positions, and the model was made for 16" in caution.text


def output(n_input: int, *answers: int) -> RequestOutput:
    ids = tuple((1,) * n for n in answers)
    return RequestOutput(
        index=0,
        input_tokens=n_input,
        output_tokens=sum(answers),
        output_ids=ids,
        finish_reason="stop",
        output_digest="",
    )


def test_of_what_was_run_the_answers_count_that_there_were() -> None:
    room = Room(n_positions=16)
    # Several answers to one prompt do not read each other.
    assert beyond_context([output(10, 7), output(10, 5, 5)], room) == ()
    assert beyond_context([output(10, 70)], Room()) == ()
    assert beyond_context([], room) == ()
    (said,) = beyond_context([output(3, 2), output(10, 5, 8)], room)
    assert "a prompt of 10 tokens with an answer of 8 took 17 positions, and the model was made for 16" in said.text


def test_random_prompts_with_lengths_of_their_own_are_looked_at_one_by_one() -> None:
    # The longest prompt has the shortest answer.
    with pytest.raises(ConfigError, match="a prompt of 5 tokens with an answer of up to 20"):
        check_fit([request(12, 2), request(5, 20)], Room(n_positions=16, is_table=True), "m")
