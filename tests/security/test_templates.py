"""A chat template is a program of a stranger: it ends, within its time and memory, or it is a finding about the file."""

from __future__ import annotations

import resource
import time
from pathlib import Path

import pytest

from rosetta_ref import limits, sandbox
from rosetta_ref.errors import RosettaError
from rosetta_ref.inference.text import TemplateError, TemplateLimitError, Text, rendered
from rosetta_ref.verify import UnreadableSourceError, verify
from tests.support import asking

LOOPS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
DOUBLED = "{% set s = namespace(x='aaaaaaaa') %}{% for i in range(40) %}{% set s.x = s.x ~ s.x %}{% endfor %}{{ s.x }}"
#: Beyond memory, depth or length: each ends at once.
GREEDY = {
    "repetition": "{{ 'a' * 3000000000 }}",
    "a format": "{{ '%1000000000d' % 1 }}",
    "a format method": "{{ '{:1000000000}'.format(1) }}",
    "center": "{{ 'a' | center(10 ** 9) }}",
    "indent": "{{ ('a\n' * 100000) | indent(100000) }}",
    "doubling": DOUBLED,
    "join": "{{ ('b' * 900000) | list | join('a' * 1000) }}",
    "a list": "{{ [0] * 10 ** 9 }}",
    "a macro that calls itself": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "parentheses": "{{ " + "(" * 10_000 + "1" + ")" * 10_000 + " }}",
    "brackets": "{{ " + "[" * 10_000 + "]" * 10_000 + " }}",
    "signs": "{{ " + "-" * 10_000 + "1 }}",
    "blocks": "{% if 1 %}" * 10_000 + "{% endif %}" * 10_000,
    "a long answer": "{{ 'a' * 5000000 }}",
    "JSON of much": "{{ ('a' * 20000000) | tojson }}",
    "a template of 20 MB": "a" * 20_000_000,
}
#: Beyond its time.
ENDLESS = {"loops": LOOPS, "a power": "{{ 7 ** (7 ** 9) }}", "words": "{{ lipsum(100000) }}"}
#: What the sandbox or Jinja refuses, and what is raised on purpose.
REFUSED = {
    "a long range": "{% for i in range(10**12) %}{% endfor %}",
    "a listed range": "{{ range(10**9) | list }}",
    "a class": "{{ ''.__class__.__mro__ }}",
    "a class by a filter": "{{ (messages | attr('__class__')).mro() }}",
    "globals": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "a changed message": "{{ messages.append(1) }}",
    "what it raises": "{{ raise_exception('no') }}",
    "division": "{{ 1 / 0 }}",
    "no syntax": "{% if %}",
    "half a surrogate pair": r"{{ '\ud800' }}",
    "digits": "{{ 10 ** 5000 }}",
    "a file": "{% include '/etc/passwd' %}",
    "an import": "{% import 'os' as os %}",
    "a function for JSON": "{{ cycler | tojson(default=lipsum) }}",
    "a class for JSON": "{{ 1 | tojson(cls=cycler) }}",
}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@pytest.mark.parametrize("name", GREEDY)
def test_a_template_that_takes_too_much(name: str) -> None:
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.thread_time()
    with pytest.raises(TemplateLimitError, match="the chat template: ") as caught:
        rendered(GREEDY[name], "hello", {}, Path("m.gguf"))
    assert caught.value.file == Path("m.gguf")
    assert len(str(caught.value)) < 1000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB, in this process
    assert time.thread_time() - began < 1


@pytest.mark.parametrize("name", ["loops", *(pytest.param(name, marks=pytest.mark.slow) for name in list(ENDLESS)[1:])])
def test_a_template_that_does_not_end(name: str) -> None:
    before = _children()
    with limits.raised({"template-seconds": 0.5}), pytest.raises(TemplateLimitError, match="s of CPU time"):
        rendered(ENDLESS[name], "hello", {})
    assert _children() - before < 2


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_is_refused(name: str) -> None:
    with pytest.raises(TemplateError, match="the chat template: ") as caught:
        rendered(REFUSED[name], "hello", {}, Path("m.gguf"))
    assert not isinstance(caught.value, TemplateLimitError)
    assert caught.value.file == Path("m.gguf")


def test_the_time_is_for_all_that_is_rendered() -> None:
    with limits.raised({"template-seconds": 1}):
        template = sandbox.Template("{% for i in range(99999) %}{{ i * i }}{% endfor %}")
        template.render("once", {})  # it is not one answer that takes too long
        with pytest.raises(sandbox.OverLimitError, match="CPU time"):
            [template.render(str(question), {}) for question in range(500)]


def test_what_a_format_may_not_reach_is_empty() -> None:
    assert rendered("{{ '{0.__class__}'.format(1) }}{{ cycler('a').next.__globals__ }}", "hello", {}) == ""


def test_a_template_may_use_what_templates_use() -> None:
    template = (
        "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}"
        "<|{{ m.role }}|>{{ m | tojson }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    expected = '<|user|>{"role": "user", "content": "é?"}</s>>'
    assert rendered(template, "é?", {"eos_token": "</s>"}) == expected


def test_the_process_sees_neither_this_ones_environment_nor_its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    process = sandbox.process.Process()
    try:
        environment = Path(f"/proc/{process._process.pid}/environ")
        if environment.exists():
            assert b"SECRET" not in environment.read_bytes()
        assert {"-I", "-S"} <= set(process._process.args)  # type: ignore[arg-type]
    finally:
        process.close()


@pytest.mark.parametrize("template", [GREEDY["repetition"], REFUSED["a class"], REFUSED["half a surrogate pair"]])
def test_verify_finds_it_in_the_converted_model(template: str, tmp_path: Path) -> None:
    source = asking.gguf(tmp_path / "source.gguf")
    target = asking.gguf(tmp_path / "target.gguf", template=template)
    (failure,) = verify(source, target).failures
    assert failure.kind == "load"
    assert str(target) in failure.detail
    assert "the chat template" in failure.detail


@pytest.mark.parametrize("template", [GREEDY["doubling"], REFUSED["what it raises"]])
def test_verify_has_no_measure_in_such_a_source(template: str, tmp_path: Path) -> None:
    source = asking.gguf(tmp_path / "source.gguf", template=template)
    with pytest.raises(UnreadableSourceError, match=r"source\.gguf.*the chat template"):
        verify(source, asking.gguf(tmp_path / "target.gguf", seed=1))


@pytest.mark.parametrize(
    "stated", ["5", "{}", '[{"name": "default"}]', "[5]", '[{"name": [], "template": "x"}]', '{"default": 5}', "true"]
)
def test_a_template_that_is_no_text(stated: str) -> None:
    files = {"tokenizer.json": asking.tokenizer(), "tokenizer_config.json": f'{{"chat_template": {stated}}}'.encode()}
    with pytest.raises(RosettaError, match="chat") as caught:
        Text(files, Path("folder")).chat("hello")
    assert caught.value.file == Path("folder")


def test_templates_by_name_may_be_an_object() -> None:
    """As transformers keeps them once they are read (tokenization_utils_base.py)."""
    files = {"tokenizer.json": asking.tokenizer(), "tokenizer_config.json": b'{"chat_template": {"default": "aa"}}'}
    alone = {"tokenizer.json": asking.tokenizer(), "chat_template.jinja": b"aa"}
    found = Text(files, Path("folder")).chat("hello")
    assert found
    assert found == Text(alone, Path("folder")).chat("hello")


def test_a_prompt_is_not_made_of_nothing() -> None:
    files = {"tokenizer.json": asking.tokenizer(), "chat_template.jinja": b"{{ 'b' * 100000 }}"}
    with pytest.raises(limits.LimitExceededError, match="prompt-tokens"):
        Text(files, Path("folder")).chat("hello")
