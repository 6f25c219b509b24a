"""From prompts to requests, as far as no tokenizer is needed."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure.config.models import ExperimentConfig
from llenergymeasure.core.prompts.tokenise import as_text, in_running_order
from llenergymeasure.domain.inference import ChatMessage, Prompt, Request
from llenergymeasure.domain.load import in_groups


def _ready(index: int, n_tokens: int, output_tokens: int = 1) -> Request:
    return Request(index=index, token_ids=tuple(range(n_tokens)), max_output_tokens=output_tokens)


def test_grouped_runs_the_longest_first_and_of_equals_the_longest_answer_then_the_first() -> None:
    prompts = [_ready(0, 3), _ready(1, 9, 5), _ready(2, 3), _ready(3, 9, 7), _ready(4, 9, 5), _ready(5, 4)]
    assert [p.index for p in in_running_order(prompts, "grouped")] == [3, 1, 4, 5, 0, 2]
    for order in ("shuffled", "as_is"):
        assert in_running_order(prompts, order) == tuple(prompts)


@given(st.integers(1, 8), st.data())
def test_grouping_loses_no_prompt_and_pads_full_groups_no_more(size: int, data: st.DataObject) -> None:
    # Where the last group is smaller, that it holds the longest may by chance be less: 1, 1 | 2 against 2, 1 | 1.
    n_groups = data.draw(st.integers(1, 4))
    n_tokens = data.draw(st.lists(st.integers(1, 50), min_size=size * n_groups, max_size=size * n_groups))
    prompts = [_ready(i, n) for i, n in enumerate(n_tokens)]
    grouped = in_running_order(prompts, "grouped")
    assert sorted(p.index for p in grouped) == list(range(len(prompts)))

    def width(order: Sequence[Request]) -> int:
        return sum(len(g) * max(len(p.token_ids) for p in g) for g in in_groups(order, size))

    assert width(grouped) <= width(prompts)


def test_an_engine_that_tokenises_itself_is_given_messages_or_text_and_each_length() -> None:
    hello = (ChatMessage("user", "hello"),)
    prompts = [
        Prompt(index=0, messages=hello, chat=True),
        Prompt(index=1, messages=(*hello, ChatMessage("user", "you")), output_tokens=3),
    ]
    prepared = as_text(ExperimentConfig(model="m", max_output_tokens=9), prompts)
    chat, plain = prepared.requests
    assert (chat.messages, chat.text, chat.token_ids, chat.max_output_tokens) == (hello, None, (), 9)
    assert (plain.text, plain.token_ids, plain.max_output_tokens) == ("hello\n\nyou", (), 3)
    assert {request.max_input_tokens for request in prepared.requests} == {512}
    assert (prepared.template_use, prepared.n_truncated) == (None, 0)


def test_grouped_it_is_given_the_longest_text_first() -> None:
    prompts = [Prompt(index=i, messages=(ChatMessage("user", "x" * n),)) for i, n in enumerate((3, 9, 3))]
    grouped = ExperimentConfig.model_validate({"model": "m", "dataset": {"name": "mixed", "order": "grouped"}})
    assert [request.index for request in as_text(grouped, prompts).requests] == [1, 0, 2]
    assert [request.index for request in as_text(ExperimentConfig(model="m"), prompts).requests] == [0, 1, 2]


def test_random_token_ids_cannot_be_given_to_it() -> None:
    with pytest.raises(ValueError, match=r"dataset\.random: this engine tokenises itself"):
        as_text(ExperimentConfig(model="m"), [Prompt(index=0, n_random_tokens=4)])
