"""Messages as a person, or a program, wants to read them on a terminal."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

import orjson
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from streams.records.deadletters import DeadLetter

WIDEST = 400  # characters of a value shown in a line


def as_json(message: Any) -> str:
    """A Kafka message as one line of JSON: where it stands, its key, headers, and its value."""
    return orjson.dumps(
        {
            "partition": message.partition(),
            "offset": message.offset(),
            "timestamp": message.timestamp()[1],
            "key": _text(message.key()),
            "headers": {name: _text(value) for name, value in message.headers() or []},
            "value": _value(message.value()),
        }
    ).decode()


def pretty(message: Any) -> RenderableType:
    """A Kafka message for a person; recommendations as a table of items with reasons."""
    value = _value(message.value())
    when = datetime.fromtimestamp(message.timestamp()[1] / 1000).strftime("%H:%M:%S")
    if isinstance(value, dict) and "rec_id" in value and "items" in value:
        return recommendation(value, when)
    key = _text(message.key()) or "(no key)"
    headers = dict(message.headers() or [])
    if "dlq_reason" in headers:
        said = f"{_text(headers['dlq_reason'])} at {_text(headers.get('dlq_path'))}"
        return Text.assemble((when, "dim"), " ", (key, "bold"), " ", (said, "red"), " ", _short(value))
    return Text.assemble((when, "dim"), " ", (key, "bold"), " ", _short(value))


def recommendation(value: dict[str, Any], when: str = "") -> RenderableType:
    """A Recommendation: a line on what it answers, the reply if any, and the items with their reasons."""
    trigger, timing = value.get("trigger", {}), value.get("timing", {})
    took = ""
    if timing.get("emitted_ts") and timing.get("received_ts"):
        took = f"  {timing['emitted_ts'] - timing['received_ts']} ms"
    head = Text.assemble(
        (when + " " if when else "", "dim"),
        (str(value.get("user_id")), "bold"),
        f" {value.get('kind')} for {trigger.get('type')} {trigger.get('event_id')}",
        (took, "dim"),
    )
    parts: list[RenderableType] = [head]
    if value.get("reply"):
        parts.append(Text(str(value["reply"]), style="italic"))
    if value.get("constraints"):
        parts.append(_only(value["constraints"]))
    parts.append(items_table(value.get("items", [])))
    return Group(*parts)


def answer_page(answer: dict[str, Any]) -> RenderableType:
    """The answer to a chat: the reply, the conditions in force, and the items."""
    parts: list[RenderableType] = [Text(str(answer.get("reply") or "(no words, only items)"), style="bold green")]
    if answer.get("constraints"):
        parts.append(_only(answer["constraints"]))
    if answer.get("items"):
        parts.append(items_table(answer["items"]))
    return Group(*parts)


def portrait_page(found: dict[str, Any]) -> RenderableType:
    """A user's profile and state (`streams.records.portrait`) for a person."""
    parts: list[RenderableType] = [Text(str(found["user_id"]), style="bold")]
    parts += [Text(f"  {line}") for line in found["profile"]] or [Text("  (no profile yet)", style="dim")]
    table = Table(box=None, padding=(0, 1), show_header=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    if found["conditions"]:
        table.add_row("only", _only(found["conditions"]))
    for name in ("traits", "statements", "words", "recent", "open_recommendations"):
        values = found[name]
        lines = [f"{key}: {value}" for key, value in values.items()] if isinstance(values, dict) else map(_line, values)
        if values:
            table.add_row(name.replace("_", " "), escape("\n".join(lines)))
    table.add_row("older interactions", str(found["older_interactions"]))
    session = found["session"]
    table.add_row("session", escape(f"{session['id'] or ''} since {session['since']}".strip()))
    table.add_row("bytes", ", ".join(f"{name} {size:,}" for name, size in found["bytes"].items()))
    return Group(*parts, table)


def items_table(items: list[dict[str, Any]]) -> Table:
    """Items of a recommendation, the best first."""
    table = Table(box=None, padding=(0, 1), show_header=bool(items))
    table.add_column("#", justify="right", style="dim")
    table.add_column("item", style="bold", overflow="fold")
    table.add_column("score", justify="right")
    table.add_column("from", style="dim")
    table.add_column("because", overflow="fold")
    for item in items:
        reasons = "; ".join(str(reason.get("text", "")) for reason in item.get("reasons", []))
        table.add_row(
            str(item.get("rank", "")),
            escape(str(item.get("item_id", ""))),
            f"{item.get('score', 0):.3f}",
            escape(str(item.get("source", ""))),
            escape(reasons),
        )
    return table


def letters_table(letters: list[DeadLetter]) -> Table:
    """Dead letters, the oldest first."""
    table = Table(box=None, padding=(0, 1))
    for name in ("time", "reason", "path", "expected", "from", "key"):
        table.add_column(name, overflow="fold")
    table.add_column("value", overflow="ellipsis", no_wrap=True)
    for letter in letters:
        origin = f"{letter.from_topic}/{letter.from_partition}/{letter.from_offset}"
        cells = (
            letter.time,
            letter.reason,
            letter.path,
            letter.expected,
            origin,
            _text(letter.key) or "(none)",
        )
        table.add_row(*map(escape, cells), escape(_short(_text(letter.value), 80)))
    return table


def letter_json(letter: DeadLetter) -> str:
    """A dead letter as one line of JSON; bytes that are not UTF-8 come as base64, in `..._base64`."""
    record: dict[str, Any] = {
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "path": letter.path,
        "expected": letter.expected,
        "topic": letter.from_topic,
        "from_partition": letter.from_partition,
        "from_offset": letter.from_offset,
        "time": letter.time,
    }
    for name, value in (("key", letter.key), ("value", letter.value)):
        try:
            record[name] = None if value is None else value.decode()
        except UnicodeDecodeError:
            record[f"{name}_base64"] = base64.b64encode(value or b"").decode()
    return orjson.dumps(record).decode()


def _only(constraints: list[dict[str, Any]]) -> Text:
    return Text("only: " + "; ".join(map(_condition, constraints)), style="cyan")


def _line(row: dict[str, Any]) -> str:
    return "  ".join(str(value) for value in row.values() if value is not None)


def _condition(constraint: dict[str, Any]) -> str:
    value = constraint.get("value")
    said = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{constraint.get('name')} {constraint.get('op')} {said} {constraint.get('unit') or ''}".strip()


def _text(value: bytes | str | None) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _value(value: bytes | None) -> Any:
    """The parsed JSON, or the text where it is none."""
    if value is None:
        return None
    try:
        return orjson.loads(value)
    except ValueError:
        return _text(value)


def _short(value: Any, most: int = WIDEST) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text if len(text) <= most else text[: most - 1] + "…"
