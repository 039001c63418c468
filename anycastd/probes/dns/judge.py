"""What a DNS answer is worth: what was wanted, what came. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from anycastd.model.checks import DnsOptions
from anycastd.model.probe import Why
from anycastd.probes.dns.wire import Answer, Message, Question, answer_of

SHOWN = 5


def judge(message: Message, options: DnsOptions) -> tuple[Why, str]:
    """Return the verdict on an answer, with a sentence that names the question, what was wanted and what came."""
    asked = f"{options.type.value} {options.name}"
    if message.rcode != options.rcode.value:
        return Why.BAD_RCODE, f"{asked}: wanted {options.rcode.value}, came {message.rcode}"
    answer = answer_of(message, Question(options.name, options.type))
    came = _words(answer, options.name)
    if options.expect and set(options.expect) != set(answer.values):
        return Why.BAD_ANSWER, f"{asked}: wanted exactly {_list(options.expect)}, came {came}"
    missing = [value for value in options.contains if value not in answer.values]
    if missing:
        return Why.BAD_ANSWER, f"{asked}: wanted {_list(missing)} among the values, came {came}"
    if message.rcode == "NOERROR" and not answer.values:
        return Why.BAD_ANSWER, f"{asked}: wanted a value, came {came}"
    return Why.ANSWERED, f"{asked}: {came if answer.values else message.rcode}"


def _words(answer: Answer, name: str) -> str:
    alias = f" (of {answer.name})" if answer.name != name else ""
    if not answer.values:
        return f"no value{alias}"
    return f"{_list(answer.values)}{alias}, TTL {answer.ttl_s} s"


def _list(values: Iterable[str]) -> str:
    values = [value if len(value) <= 100 else f"{value[:100]}..." for value in values]
    rest = len(values) - SHOWN
    return ", ".join(values[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
