#!/usr/bin/env python3
"""Writes tests/data/chat: what transformers makes of chats with the templates there.

    python3 -m venv venv && venv/bin/pip install transformers==5.24.0 jinja2==3.1.6
    venv/bin/python tools/make_chat_goldens.py

prompts.jsonl: every chat of chat_golden_cases.py with every template, through apply_chat_template.
constructs.jsonl: small templates of single constructs, compiled as transformers compiles templates.
The first line of each names the versions.
The clock stands at 2026-02-03 04:05:06. Where something fails, "error" holds the exception's text;
the tests compare it where the template itself raised it.
"""

import datetime
import json
import pathlib

import jinja2
import tokenizers
import transformers
from transformers.utils import chat_template_utils

import chat_golden_cases

OUT = pathlib.Path(__file__).resolve().parent.parent / "tests/data/chat"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


class StoppedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 2, 3, 4, 5, 6)


def outcome(render):
    try:
        return {"output": render()}
    except Exception as error:  # pylint: disable=broad-except: any failure is a golden
        kind = "raised" if type(error) is jinja2.exceptions.TemplateError else "error"
        return {kind: str(error)[:200]}


def make_prompts():
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizers.Tokenizer(tokenizers.models.BPE()), **SPECIAL)
    for path in sorted((OUT / "templates").glob("*.jinja")):
        template = path.read_bytes().decode()
        for name, messages, tools, options in chat_golden_cases.CHATS:
            options = {"add_generation_prompt": True, **options}
            found = outcome(lambda: tokenizer.apply_chat_template(
                messages, tools=tools, chat_template=template, tokenize=False, **options))
            yield {"template": path.stem, "case": name, "messages": messages, "tools": tools,
                   "options": options, **found}


def make_constructs():
    messages = [{"role": "user", "content": "hi"}]
    for template in chat_golden_cases.construct_templates():
        found = outcome(lambda: chat_template_utils._compile_jinja_template(template).render(
            messages=messages, tools=None, documents=None, add_generation_prompt=True,
            **chat_golden_cases.VARIABLES))
        yield {"template": template, **found}


def write(name, lines):
    with open(OUT / name, "w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    chat_template_utils.datetime = StoppedClock
    versions = {"transformers": transformers.__version__, "jinja2": jinja2.__version__}
    write("prompts.jsonl", [versions, *make_prompts()])
    write("constructs.jsonl",
          [{**versions, "variables": chat_golden_cases.VARIABLES}, *make_constructs()])


if __name__ == "__main__":
    main()
