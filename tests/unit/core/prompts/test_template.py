"""Chat templates in a process of their own: what they write, and what they are kept from."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psutil
import pytest

from llenergymeasure.core.prompts import template as template_module
from llenergymeasure.core.prompts.template import TEMPLATE_DATE, TemplateFailedError, TemplateRenderer
from llenergymeasure.core.prompts.template_process import Clock, compiled

pytest.importorskip("jinja2")

HI = [{"role": "user", "content": "hi"}]
SYSTEM = [{"role": "system", "content": "hi"}]
NESTED = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
# One call that does not come back: no step of Python in between.
ONE_CALL = "{{ range(99999)|sum(start=0) and '%0999999999d' % 1 }}" * 50


@pytest.fixture
def renderer() -> Iterator[TemplateRenderer]:
    with TemplateRenderer(limit_s=5) as renderer:
        yield renderer


def failure(renderer: TemplateRenderer, template: str) -> TemplateFailedError:
    """Why a template writes nothing for a user; for anybody else it still writes an x."""
    renderer.compile(f"{{% if messages[0].role == 'user' %}}{template}{{% endif %}}x", {})
    with pytest.raises(TemplateFailedError) as error:
        renderer.render(HI)
    return error.value


def test_a_template_has_messages_variables_and_the_beginning_of_the_answer(renderer: TemplateRenderer) -> None:
    renderer.compile("{{ bos }}{% for m in messages %}{{ m.role }}: {{ m.content }};{% endfor %}"
                     "{% if add_generation_prompt and tools is none %}a:{% endif %}", {"bos": "<s>"})  # fmt: skip
    assert renderer.render(HI).text == "<s>user: hi;a:"
    assert renderer.render([*HI, {"role": "x", "content": "é\ud800\n"}]).text == "<s>user: hi;x: é\ud800\n;a:"


def test_it_is_told_the_same_date_in_every_run_and_that_it_asked_is_known(renderer: TemplateRenderer) -> None:
    renderer.compile("{% if messages[0].role == 'user' %}{{ strftime_now('%d %b %Y %H:%M') }}{% endif %}", {})
    found = renderer.render(HI)
    assert (found.text, found.read_clock) == ("01 Jan 2025 12:00", True)
    assert not renderer.render([{"role": "system", "content": "x"}]).read_clock


@pytest.mark.parametrize("template", [NESTED, ONE_CALL])
def test_one_that_does_not_end_is_ended(template: str) -> None:
    begin = time.monotonic()
    with TemplateRenderer(limit_s=0.3) as renderer:
        assert str(failure(renderer, template)) in (
            "it did not end within 0.3 s of processor time",
            "it takes too much memory",
        )
        with pytest.raises(TemplateFailedError):
            renderer.render(HI)
    assert time.monotonic() - begin < 10


@pytest.fixture(params=["ignored", "blocked"])
def _no_signal(request: pytest.FixtureRequest) -> Iterator[None]:
    """SIGPROF as a program that starts this one may have left it: a child has it so too."""
    handler = signal.signal(signal.SIGPROF, signal.SIG_IGN if request.param == "ignored" else signal.SIG_DFL)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPROF} if request.param == "blocked" else set())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    signal.signal(signal.SIGPROF, handler)


@pytest.mark.usefixtures("_no_signal")
def test_it_is_ended_although_the_signal_was_ignored_or_blocked_where_it_was_started() -> None:
    with TemplateRenderer(limit_s=0.3) as renderer:
        assert str(failure(renderer, NESTED)) == "it did not end within 0.3 s of processor time"
        assert renderer._process.returncode == -signal.SIGPROF


@pytest.mark.parametrize("n_characters", [1, 2**20])
def test_a_process_that_no_signal_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, n_characters: int) -> None:
    monkeypatch.setattr(template_module, "_PATIENCE_S", 0.2)
    with TemplateRenderer(limit_s=0.1) as renderer:
        renderer._process.send_signal(signal.SIGSTOP)
        # What is longer than a pipe is stuck in writing already.
        with pytest.raises(TemplateFailedError, match=r"^it gave no answer within 0\.3 s"):
            renderer.compile("x" * n_characters, {})


@pytest.mark.parametrize(("does", "code"), [("time.sleep(0.4)", 0), ("sum(range(10**12))", -signal.SIGPROF)])
def test_the_limit_is_of_processor_time(does: str, code: int) -> None:
    body = f"with _limited(0.2): {does}"
    program = f"import time; from llenergymeasure.core.prompts.template_process import _limited\n{body}"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == code


# A program that starts a renderer, says its pid, and waits for a template or for nothing.
PARENT = f"""
import sys, time
from llenergymeasure.core.prompts.template import TemplateRenderer
with TemplateRenderer(limit_s=60) as renderer:
    renderer.compile({NESTED!r}, {{}})
    print(renderer._process.pid, flush=True)
    renderer.render([]) if sys.argv[1] == "renders" else time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only there the kernel ends it while it renders")
@pytest.mark.parametrize("does", ["renders", "waits"])
def test_it_does_not_outlive_who_started_it(does: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, does], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.2 if does == "renders" else 0)
        os.kill(parent.pid, signal.SIGKILL)
    psutil.wait_procs([child], timeout=5)
    assert not child.is_running()


def test_each_conversation_has_the_whole_time() -> None:
    with TemplateRenderer(limit_s=1) as renderer:
        renderer.compile("{% for i in range(300) %}{% for j in range(300) %}{% endfor %}{% endfor %}x", {})
        begin = time.monotonic()
        while time.monotonic() < begin + 1.2:
            assert renderer.render(HI).text == "x"


def test_one_that_takes_too_much_memory_is_ended(renderer: TemplateRenderer) -> None:
    assert str(failure(renderer, "{{ 'a'.ljust(999999999) }}")) == "it takes too much memory"
    assert renderer.render(SYSTEM).text == "x"


def test_one_that_makes_too_much_of_a_prompt_is_refused(renderer: TemplateRenderer) -> None:
    long = "{{ 'a'.ljust(20000000) }}"
    assert "makes 20,000,001 characters of them, and at most 16,777,216 are read" in str(failure(renderer, long))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ raise_exception('no system here') }}", "no system here"),
        ("{{ messages[0].content + 1 }}", "TypeError: "),
        ("{{ nothing.at.all }}", "UndefinedError: 'nothing' is undefined"),
        ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError: "),
        ("{{ namespace(a=1)._x }}{{ dict.__call__.__globals__ }}", "SecurityError: "),
        ("{% include '/etc/passwd' %}", "TypeError: no loader for this environment"),
        ("{{ messages.append(1) }}", "SecurityError: "),
    ],
)
def test_what_it_fails_with_is_told_and_ends_nothing(renderer: TemplateRenderer, template: str, said: str) -> None:
    error = failure(renderer, template)
    assert said in str(error)
    assert error.own_words == ("raise_exception" in template)
    assert renderer.render(SYSTEM).text == "x"


def test_what_is_no_template_is_told(renderer: TemplateRenderer) -> None:
    with pytest.raises(TemplateFailedError, match="TemplateSyntaxError: "):
        renderer.compile("{% for %}", {})


def test_a_process_that_is_gone_is_an_error_and_stopping_it_is_none() -> None:
    with TemplateRenderer() as renderer:
        renderer._process.kill()
        with pytest.raises(TemplateFailedError, match="it ended the process"):
            renderer.compile("x", {})


TEMPLATES = [
    "{% for m in messages %}\n  {% if loop.first %}\nA\n  {% else %}\nB {% endif %}\n{% endfor %}\nend",
    "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}",
    "{{ messages | tojson }}{{ messages | tojson(indent=2) }}{{ {'b': '<é>', 'a': 1} | tojson(sort_keys=true) }}",
    "{% set n = namespace(a=1) %}{% set n.a = n.a + 1 %}{{ n.a }}{{ dict(a=1) }}{{ dict.fromkeys([1], 2) }}",
    "{%- for m in messages if m.role != 'x' -%}{% continue %}{%- endfor %}{{ messages[-1]['content'][::-1] }}",
]


@pytest.mark.pytorch
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_writes_what_it_writes_in_transformers(renderer: TemplateRenderer, template: str) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    expected: Any = render_jinja_template([HI * 2], chat_template=template, add_generation_prompt=True)[0]
    renderer.compile(template, {})
    assert [renderer.render(HI * 2).text] == expected


@pytest.mark.pytorch
def test_a_template_has_the_environment_that_it_has_in_transformers() -> None:
    from transformers.utils.chat_template_utils import _compile_jinja_template

    def facts(template: Any) -> dict[str, Any]:
        environment = template.environment
        tags = {tag for extension in environment.extensions.values() for tag in extension.tags}
        names = {what: set(getattr(environment, what)) for what in ("filters", "globals", "tests")}
        return names | {
            "tags": tags,
            "kind": type(environment),
            "blocks": (environment.trim_blocks, environment.lstrip_blocks, environment.keep_trailing_newline),
            "autoescape": environment.autoescape,
        }

    assert facts(compiled("x", Clock(TEMPLATE_DATE))) == facts(_compile_jinja_template("x"))


def test_the_date_is_the_one_that_is_written_down() -> None:
    assert datetime(2025, 1, 1, 12) == TEMPLATE_DATE
