"""Dead letters: what is there, and sending it again.

In: `<ns>.dead-letters.v1`. Out: a list, or the same bytes once more on the partition they came from.

Each is redriven once. What was redriven is remembered in Redis, in the hash `<ns>:redriven`: for each topic,
reason and partition the offset up to which all were sent. Every dead letter has one topic and one reason, so
this stays exact when a redrive is narrowed to some. (The offsets of a consumer group would do too, but Kafka
forgets them after seven idle days, and dead letters are kept for thirty.) The mark is written after the
deliveries are confirmed: a redrive that is killed between the two sends up to `CHUNK` of them again, which
changes nothing, as events carry their event_id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.topics import TOPICS
from streams.records.read import follow
from streams.records.send import Sender

CHUNK = 500


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that was refused.

    `partition` and `offset` are its own in the dead-letters topic; `from_*` where it was.
    """

    partition: int
    offset: int
    reason: str
    path: str
    expected: str
    from_topic: str
    from_partition: int
    from_offset: int
    time: str
    key: bytes | None
    value: bytes | None

    @property
    def mark(self) -> str:
        return f"{self.from_topic}|{self.reason}|{self.partition}"


def dead_letters(
    consumer: Any, namespace: str, *, reason: str | None = None, topic: str | None = None
) -> Iterator[DeadLetter]:
    """All that are there now, oldest first in each partition.

    `topic` is the full name of where they came from.
    """
    name = TOPICS["dead-letters"].full_name(namespace)
    for message in follow(consumer, name, beginning=True, to_the_end=True):
        letter = _read(message)
        if reason in (None, letter.reason) and topic in (None, letter.from_topic):
            yield letter


def _read(message: Any) -> DeadLetter:
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in message.headers() or []}
    return DeadLetter(
        partition=message.partition(),
        offset=message.offset(),
        reason=headers.get("dlq_reason", "unknown"),
        path=headers.get("dlq_path", ""),
        expected=headers.get("dlq_expected", ""),
        from_topic=headers.get("dlq_topic", ""),
        from_partition=_number(headers.get("dlq_partition")),
        from_offset=_number(headers.get("dlq_offset")),
        time=headers.get("dlq_time", ""),
        key=message.key(),
        value=message.value(),
    )


def _number(text: str | None) -> int:
    try:
        return int(text or "")
    except ValueError:
        return -1


@dataclass(slots=True)
class Redriven:
    """Counts by (topic, reason): sent now, sent earlier; and what was not sent, with the first problem."""

    sent: Counter[tuple[str, str]]
    earlier: Counter[tuple[str, str]]
    failed: int = 0
    problem: str = ""


def redrive(letters: Iterator[DeadLetter], producer: Any, redis: Any, namespace: str, *, dry_run: bool) -> Redriven:
    """Sends each of `letters` once.

    `redis` is a redis.Redis; stops at the first chunk that can't be delivered.
    """
    memory = f"{namespace}:redriven"
    marks = {_text(mark): int(offset) for mark, offset in redis.hgetall(memory).items()}
    result = Redriven(Counter(), Counter())
    own = {topic.full_name(namespace) for topic in TOPICS.values() if topic.direction == "in"}
    chunk: list[DeadLetter] = []

    def sent() -> bool:
        if not dry_run and chunk and not _send(chunk, producer, redis, memory, namespace, result):
            return False
        result.sent.update((letter.from_topic, letter.reason) for letter in chunk)
        chunk.clear()
        return True

    for letter in letters:
        if letter.offset < marks.get(letter.mark, 0):
            result.earlier[letter.from_topic, letter.reason] += 1
        elif letter.from_topic not in own:
            result.failed += 1
            result.problem = result.problem or (
                f"dead letter {letter.partition}:{letter.offset} names the topic "
                f"{letter.from_topic or '(none)'}, which is not one that {namespace} reads"
            )
        else:
            chunk.append(letter)
            if len(chunk) >= CHUNK and not sent():
                return result
    sent()
    return result


def _send(chunk: list[DeadLetter], producer: Any, redis: Any, memory: str, namespace: str, result: Redriven) -> bool:
    senders: dict[str, Sender] = {}
    for letter in chunk:
        sender = senders.setdefault(letter.from_topic, Sender(producer, letter.from_topic))
        origin = f"{TOPICS['dead-letters'].full_name(namespace)}/{letter.partition}/{letter.offset}"
        partition = {"partition": letter.from_partition} if letter.from_partition >= 0 else {}
        sender.send(letter.key, letter.value, headers=[("redriven_from", origin.encode())], **partition)
    tallies = [sender.finish() for sender in senders.values()]
    failed = [tally for tally in tallies if tally.failed]
    if failed:
        result.failed += sum(tally.failed for tally in failed)
        result.problem = result.problem or failed[0].problem
        return False
    redis.hset(memory, mapping={letter.mark: letter.offset + 1 for letter in chunk})
    return True


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
