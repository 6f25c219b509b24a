"""What leaves a process has no home directory, no secret and no control character in it."""

import logging
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llenergymeasure._paths import expanded, shortened, shortened_within, unnameable
from llenergymeasure._secrets import (
    MissingVariablesError,
    credentials_in,
    hidden,
    looks_secret,
    names_an_address,
    put_in_place,
    token_in,
)
from llenergymeasure._telling import TellingFormatter, in_a_line, told, told_values, visible
from llenergymeasure.domain.inference import RequestOutput
from llenergymeasure.domain.warnings import MeasurementWarning
from llenergymeasure.exceptions import ExperimentError, first_line


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> str:
    """A home directory that no test uses."""
    monkeypatch.setenv("HOME", "/home/me")
    return "/home/me"


# The home directory.


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/home/me/models/a", "~/models/a"),
        ("/home/me", "~/"),
        ("/home/me.old/a", "/home/me.old/a"),
        ("/home/menagerie", "/home/menagerie"),
        ("/mnt/home/me/a", "/mnt/home/me/a"),
        ("org/model", "org/model"),
    ],
)
def test_a_path_under_home_begins_with_a_tilde(home: str, text: str, short: str) -> None:
    assert shortened(text) == short


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("cannot read '/home/me/a.json': no such file", "cannot read '~/a.json': no such file"),
        ("in /home/me, /home/me/b and /home/me.", "in ~, ~/b and ~."),
        ("file:///home/me/a", "file://~/a"),
        ("/mnt/home/me/a and /home/me-too/b and /home/me.d/c", "/mnt/home/me/a and /home/me-too/b and /home/me.d/c"),
    ],
)
def test_in_a_text_every_path_under_home_does(home: str, text: str, short: str) -> None:
    assert shortened_within(text) == short


def test_a_home_that_is_a_link_is_known_by_both_its_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    assert [shortened(f"{tmp_path}/{name}/a") for name in ("link", "disk")] == ["~/a", "~/a"]


def test_the_root_is_nobodys_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    assert shortened_within("/etc/hosts of /") == "/etc/hosts of /"


def test_a_path_comes_back_from_its_short_name(home: str) -> None:
    assert [expanded(path) for path in ("~/a", Path("~"), "/data/a", "~no-such-user-here/a")] == [
        Path("/home/me/a"),
        Path("/home/me"),
        Path("/data/a"),
        Path("~no-such-user-here/a"),
    ]


@pytest.mark.parametrize("text", ["a\0b", "a\udcffb", "x" * 256, "é" * 128, "x/" * 2049])
def test_what_no_file_can_be_called_is_known(text: str) -> None:
    assert unnameable(text)
    assert unnameable("x" * 255 + "/" + "é" * 127) is None


# Secrets.


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "api_key",
        "apikey",
        "apiKey",
        "password",
        "db_password",
        "secret",
        "client_secret",
        "credential",
        "credentials",
        "authorization",
        "Authorization",
        "Proxy-Authorization",
        "X-Api-Key",
        "hf_token",
        "HF_TOKEN",
        "OPENAI_API_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "accessToken",
        "private_key",
        "hub_token",
        "cookie",
    ],
)
def test_these_keys_look_secret(key: str) -> None:
    assert looks_secret(key)


@pytest.mark.parametrize(
    "key",
    [
        "max_tokens",
        "max_new_tokens",
        "pad_token",
        "tokenizer",
        "eos_token_id",
        "bos_token",
        "unk_token",
        "token_ids",
        "pad_token_id",
        "image_token",
        "decoder_start_token_id",
        "tokens",
        "key",
        "keys",
        "cache_key",
        "num_key_value_heads",
        "author",
        "secret_name",
        "password_file",
        "TOKENIZERS_PARALLELISM",
        "token_healing",
        "stop_token",
    ],
)
def test_these_do_not(key: str) -> None:
    assert not looks_secret(key)


@pytest.mark.parametrize(
    "text",
    [
        "http://me:pw@proxy:3128",
        "http://me:${PW}x@proxy/?token=abc",
        "https://abcdef@github.com/a",
        "https://host/x?token=abc",
        "https://host/x?a=1&api_key=abc",
        "postgres://me:pw@db/x",
        "http://me:p@ss/w@host",
        "http://me:1234@host",
        "http://me:12-34@host",
        "http://me:12,34@host",
        "https://to@ken@host/x",
        "https://cdn/x?Expires=1&Signature=ab~c_",
        "https://cdn/x?Key-Pair-Id=K3RPWS",
        "https://bucket/x?AWSAccessKeyId=ASIAX",
        "https://bucket/x?X-Amz-Signature=0a1b",
        "https://bucket/x?X-Amz-Security-Token=IQo",
        "Max retries exceeded with url: /x?sig=a%2Fb",
        "Authorization: Bearer abc",
        "{'Authorization': 'Basic bWU6cHc='}",
        "authorization=0123456789abcdef",
        "sent Bearer eyJhbGci.eyJzdWIi.c2ln",
    ],
)
def test_these_texts_carry_credentials(text: str) -> None:
    assert credentials_in(text)
    # What is refused in a configuration is hidden in messages too, with its last character.
    assert "***" in hidden(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://me:${PW}@proxy:3128",
        "http://proxy:3128",
        "ssh://git@host/a",
        "https://host/x?token=${TOKEN}",
        "https://host/x?max_tokens=3&pad_token=x",
        "org/model@main",
        "a:b",
        "me:pw@proxy:3128",
        "kernels-community/flash-attn@v1:forward",
        "http://localhost:8000/v1/model@main",
        "http://localhost:8000?of=me@host",
        '{"url":"http://localhost:8000","by":"me@host"}',
        "http://[::1]:8000/v1@main",
        "https://host/x?signature_version=4&keys=3",
        "Bearer authentication failed",
        "Authorization: Bearer ${TOKEN}",
        "authorization: required",
    ],
)
def test_these_carry_none(text: str) -> None:
    assert not credentials_in(text)
    assert hidden(text) == text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "403 Forbidden for url: https://cdn-lfs.hf.co/a?Expires=17&Signature=Qm~9_&Key-Pair-Id=K3RPWS",
            "403 Forbidden for url: https://cdn-lfs.hf.co/a?Expires=17&Signature=***&Key-Pair-Id=***",
        ),
        (
            "https://s3/b?X-Amz-Credential=AK%2F1&X-Amz-Date=2&X-Amz-Security-Token=IQo%2F&X-Amz-Signature=0a1b",
            "https://s3/b?X-Amz-Credential=***&X-Amz-Date=2&X-Amz-Security-Token=***&X-Amz-Signature=***",
        ),
        ("Max retries exceeded with url: /a?sig=b (tried 3)", "Max retries exceeded with url: /a?sig=*** (tried 3)"),
        ("{'Authorization': 'Bearer abc.def', 'a': 1}", "{'Authorization': 'Bearer ***', 'a': 1}"),
        ("http://user:p@ss/w@host and me@home", "http://user:***@host and me@home"),
        ("http://a:b@c,http://d:e/f@g", "http://a:***@c,http://d:***@g"),
    ],
)
def test_what_opens_something_is_hidden_and_the_rest_stays(said: str, shown: str) -> None:
    assert hidden(said) == shown


def test_a_variable_becomes_its_value_and_its_value_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMED_HERE", "s3cret-enough")
    assert put_in_place("http://me:${NAMED_HERE}@proxy") == "http://me:s3cret-enough@proxy"
    assert hidden("401 for 's3cret-enough' at x") == "401 for '${NAMED_HERE}' at x"


def test_variables_that_are_not_set_are_named_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingVariablesError) as caught:
        put_in_place("${NOT_SET_A}/${EMPTY_B}/${SET_C}", {"EMPTY_B": "", "SET_C": "c"})
    assert caught.value.names == ["NOT_SET_A", "EMPTY_B"]


def test_a_secret_of_the_environment_is_hidden_although_nobody_named_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    monkeypatch.setenv("PWD", "/data/work")
    assert hidden("key 0123456789abcdef in /data/work") == "key ${SOME_API_KEY} in /data/work"


def test_what_is_a_secret_wherever_it_stands_is_hidden() -> None:
    said = "GET https://me:pw@host/x?token=abc with hf_abcdefghijklmnopqrstuvwx"
    assert hidden(said) == "GET https://me:***@host/x?token=*** with ***"
    assert token_in("hf_abcdefghijklmnopqrstuvwx")
    assert not token_in("hf_hub and sk-learn and sk-a-model-of-a-rather-long-name")


def test_without_a_scheme_a_password_is_one_in_an_address_only() -> None:
    assert credentials_in("me:pw@proxy:3128", is_address=True)
    assert not credentials_in("me:${PW}@proxy:3128", is_address=True)
    assert names_an_address("proxies")
    assert not names_an_address("name")


LONG = (
    "a://b:c" * 30_000,
    "a://b:" + "c@d/" * 50_000,
    "http://a@" * 30_000,
    "authorization:" * 20_000,
    "bearer " * 40_000,
    "bearer " + "a" * 300_000,
    "/?" + "a-" * 100_000 + "=b",
)


def test_long_texts_are_looked_through_in_no_time() -> None:
    for text in ("a." * 100_000, "a://" * 50_000, "?a" * 100_000, "a:b@" * 50_000, "hf_" * 80_000, *LONG):
        start_s = time.process_time()
        credentials_in(text, is_address=True)
        hidden(f"{text} ://")
        assert time.process_time() - start_s < 2


# Where it is done.


def test_errors_warnings_and_failed_requests_are_told_so(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "0123456789abcdef")
    said, wanted = "/home/me/a: 0123456789abcdef, \udcff", "~/a: ${SOME_API_KEY}, \\udcff"
    failed = RequestOutput(
        index=0, input_tokens=1, output_tokens=0, finish_reason="error", output_digest="", error=said
    )
    assert str(ExperimentError(said)) == wanted
    warning = MeasurementWarning("flag", said, said, where=said)
    assert (warning.text, warning.advice, warning.where) == (wanted, wanted, wanted)
    assert failed.error == wanted
    assert first_line(ValueError(said)) == wanted


def test_values_are_told_with_their_keys_and_numbers_stay(home: str) -> None:
    given = {"a": ["/home/me/x", 1, None, {"b": "/home/me/y"}], "/home/me/z": 0.5}
    assert told_values(given) == {"a": ["~/x", 1, None, {"b": "~/y"}], "~/z": 0.5}


def test_control_characters_are_shown_as_python_writes_them() -> None:
    assert visible("a\x1b[31m\x9b\x7f\u202eb\u2066\u2028\tc\r\nd") == (
        "a\\x1b[31m\\x9b\\x7f\\u202eb\\u2066\\u2028\\tc\\r\nd"
    )
    assert in_a_line("a\nb") == "a\\nb"


@given(st.text(st.characters(codec=None)))
def test_nothing_that_is_shown_moves_a_terminals_cursor(text: str) -> None:
    shown = visible(told(text))
    moving = {"Cc", "Cs", "Zl", "Zp", "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    of_it = {f(c) for c in shown.replace("\n", "") for f in (unicodedata.category, unicodedata.bidirectional)}
    assert not moving & of_it
    shown.encode("utf-8")
    assert "\n" not in in_a_line(told(text))


def test_a_logged_name_cannot_begin_a_line_of_its_own(home: str) -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "run %s in %s", ("a\x1b[2J\nllem: done", "/home/me/r"), None)
    assert TellingFormatter("llem: %(message)s").format(record) == ("llem: run a\\x1b[2J\n    llem: done in ~/r")
