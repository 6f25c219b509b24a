"""How conversations are given to templates that take them otherwise, and that nothing of them is lost."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from llenergymeasure.core.prompts.chat import ChatWriter, without_system
from llenergymeasure.core.prompts.template import TemplateRenderer
from llenergymeasure.domain.inference import ChatMessage, Prompt
from llenergymeasure.exceptions import ConfigError

pytest.importorskip("jinja2")

NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ';' }}{% endfor %}"
)
PARTS = (
    "{% for m in messages %}{{ '<|start|>' + m['role'] + ' ' }}{% for c in m['content'] %}"
    "{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{{ '<|end|>' }}{% endfor %}"
)
PLAIN = "{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}"
BE, HI = ChatMessage("system", "be kind"), ChatMessage("user", "hi")
YO, TWO = ChatMessage("assistant", "yo"), ChatMessage("user", "two")
CALL = {"id": "1", "function": {"name": "weather", "arguments": '{"city": "Ulm"}'}}


@contextmanager
def writing(template: str) -> Iterator[ChatWriter]:
    with TemplateRenderer() as renderer:
        renderer.compile(template, {})
        yield ChatWriter(renderer)


def written(template: str, *messages: ChatMessage) -> tuple[str, list[str]]:
    """What is written of a conversation, and the flags of the warnings."""
    with writing(template) as writer:
        text = writer.text(Prompt(index=0, row=7, messages=messages, chat=True))
        return text, [warning.flag for warning in writer.warnings()]


def refusal(template: str, *messages: ChatMessage) -> str:
    with pytest.raises(ConfigError) as error:
        written(template, *messages)
    return str(error.value)


def test_an_ordinary_template_is_given_what_there_is() -> None:
    assert written(PLAIN, BE, HI, YO, TWO) == ("system: be kind;user: hi;assistant: yo;user: two;", [])


def test_a_template_that_takes_no_system_message_has_it_before_the_first_of_the_user() -> None:
    assert written(NO_SYSTEM, HI) == ("user: hi;", [])
    assert written(NO_SYSTEM, BE, HI, YO, TWO) == (
        "user: be kind\n\nhi;assistant: yo;user: two;",
        ["system_merged"],
    )


def test_so_has_one_that_leaves_it_out_without_a_word() -> None:
    silent = "{% for m in messages if m.role != 'system' %}{{ m.content }};{% endfor %}"
    assert written(silent, BE, HI) == ("be kind\n\nhi;", ["system_merged"])


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([BE], [("user", "be kind")]),
        ([BE, BE, HI], [("user", "be kind\n\nbe kind\n\nhi")]),
        ([BE, YO, HI], [("assistant", "yo"), ("user", "be kind\n\nhi")]),
        ([BE, YO], [("user", "be kind"), ("assistant", "yo")]),
    ],
)
def test_where_the_system_message_goes(messages: Sequence[ChatMessage], expected: list[tuple[str, str]]) -> None:
    assert [(m.role, m.content) for m in without_system(messages)] == expected


def test_a_template_that_wants_parts_is_given_parts_however_short_the_text() -> None:
    # The a would be found in <|start|>.
    assert written(PARTS, ChatMessage("user", "a")) == ("<|start|>user a<|end|>", [])
    assert written(PARTS, BE, HI) == ("<|start|>system be kind<|end|><|start|>user hi<|end|>", [])


def test_one_that_takes_both_is_given_text() -> None:
    both = "{% for m in messages %}{% if m.content is string %}T{{ m.content }}{% else %}P{{ m.content[0].text }}{% endif %}{% endfor %}"  # noqa: E501
    assert written(both, HI) == ("Thi", [])


def test_the_same_prompt_is_the_same_text_whatever_came_before() -> None:
    prompts = [Prompt(index=i, messages=m, chat=True) for i, m in enumerate([(HI,), (BE, HI), (HI, YO, TWO)])]
    with writing(NO_SYSTEM) as writer:
        forward = [writer.text(p) for p in prompts]
    with writing(NO_SYSTEM) as writer:
        assert [writer.text(p) for p in reversed(prompts)] == forward[::-1]


def test_a_row_that_a_template_refuses_is_named_with_its_words_and_what_to_do() -> None:
    alternate = "{% if messages|length > 1 %}{{ raise_exception('roles must alternate') }}{% endif %}" + PLAIN
    said = refusal(alternate, HI, HI)
    assert said.startswith("row 7 of the dataset: the model's chat template cannot write it: roles must alternate; ")
    assert "change or remove the row, or set dataset.chat: false" in said


def test_text_that_a_template_leaves_out_is_an_error() -> None:
    first = "{{ messages[0].content }}"
    assert "it leaves out the text of message 2 (assistant)" in refusal(first, HI, YO)
    assert "it leaves out the text of message 1 (user)" in refusal("nothing of it", HI)
    # It writes everything but long texts.
    cut = "{{ messages[0].content[:12] }}"
    assert written(cut, HI) == ("hi", [])
    assert "leaves out the text of message 1" in refusal(cut, ChatMessage("user", "the quick brown fox"))


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages[0].content | trim }}", ChatMessage("user", "  hi \n")),
        ("{{ messages[0].content | tojson }}", ChatMessage("user", 'say "hi"\n\tagain')),
        ("{{ messages[0].content.split() | join(' ') }}", ChatMessage("user", "a\n b")),
        ("{{ messages[0].content.split('</think>')[-1] }}", ChatMessage("assistant", "<think>oh</think>\n\nyes")),
    ],
)
def test_white_space_quotes_and_thoughts_may_be_written_otherwise(template: str, message: ChatMessage) -> None:
    assert written(template, message)[1] == []


def test_calls_of_tools_are_given_as_objects_and_left_out_only_with_a_word() -> None:
    calling = ChatMessage("assistant", "", (CALL,))
    answer = ChatMessage("tool", "5", (), (("tool_call_id", "1"),))
    template = (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}{{ m.tool_call_id }}"
        "{% for c in m.tool_calls %}{{ c.function.name }}({{ c.function.arguments.city }}){% endfor %};{% endfor %}"
    )
    assert written(template, HI, calling, answer) == ("user: hi;assistant: weather(Ulm);tool: 51;", [])
    assert written(PLAIN, HI, calling, answer) == ("user: hi;assistant: ;tool: 5;", ["tool_calls_left_out"])
    assert written(NO_SYSTEM, HI, ChatMessage("assistant", "", ({"id": "1"},)))[0] == "user: hi;assistant: ;"


def test_a_template_that_asks_for_the_date_is_told_so() -> None:
    text, flags = written("{{ strftime_now('%Y-%m-%d') }} " + PLAIN, HI)
    assert (text, flags) == ("2025-01-01 user: hi;", ["template_date_fixed"])


def test_how_many_prompts_were_changed_is_said() -> None:
    with writing(NO_SYSTEM) as writer:
        for messages in ((HI,), (BE, HI), (BE, TWO)):
            writer.text(Prompt(index=0, messages=messages, chat=True))
        (warning,) = writer.warnings()
    assert "in 2 of 3 prompts it was put before the first message of the user" in str(warning)
