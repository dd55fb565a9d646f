"""Election: of all processes of a role one is active, the others stand by.

In: a consumer group of the role, `<ns>-learner` or `<ns>-encoder`. Out: `leading`. The group subscribes to
the `releases` topic because it has exactly one partition: Kafka gives it to exactly one member, and to
another one when that one dies (within SESSION_MS). Nothing is read through this group. The active process
reads the partitions it needs, all of them, with a consumer of its own that belongs to no group.

Fencing. A process that was paused may believe it still leads. So before anything is published or a checkpoint
is written, `confirm` commits an offset synchronously: the coordinator refuses a member that it has replaced
or a generation that is over. Such a refusal does not end a term: who leads is asked while another process joins, too,
a moment before its own client has heard of the new generation, and goes on leading in it. A term ends when the client
says that the partition is gone. What is sent right after it must arrive within SESSION_MS or not at all, which
the producer sees to (`message.timeout.ms`). Transactions would close the rest of the gap in the broker; but
their markers take offsets, and a reader that waits to see the last offset of a topic would wait for ever.
What is left is harmless: a release names its sequence, and readers take only greater ones.
"""

from __future__ import annotations

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.topics import TOPICS
from streams.kafka.clients import consumer
from streams.settings import Settings

SESSION_MS = 6000  # the least that brokers accept by default
log = structlog.get_logger(__name__)


class Election:
    """Call `poll` often: it keeps the membership, and learns of changes. Not for use from several threads."""

    def __init__(self, settings: Settings, role: str) -> None:
        self._topic = TOPICS["releases"].full_name(settings.namespace)
        self._role = role
        self._asked = 0
        self._held, self._gap = False, False
        self.leading = False
        self.joined = False
        """Whether the group has answered: this process leads, or it is known that another one does."""
        self._member: Consumer = consumer(
            settings,
            f"{settings.namespace}-{role}",
            extra={
                "session.timeout.ms": SESSION_MS,
                "heartbeat.interval.ms": 1500,
                # who leads goes on leading when another process joins
                "partition.assignment.strategy": "cooperative-sticky",
            },
        )
        self._member.subscribe([self._topic], on_assign=self._won, on_revoke=self._lost, on_lost=self._lost)

    def poll(self, timeout: float = 0.0) -> bool:
        """Whether this process leads, after waiting up to `timeout` seconds for news.

        Each term ends with a False: one that was lost and won anew in a single wait was another's in between.
        """
        self._gap = False
        message = self._member.poll(timeout)
        if message is not None and (error := message.error()) is not None:
            log.debug("election.error", role=self._role, error=str(error))
        self.leading = self._held and not self._gap
        return self.leading

    def confirm(self) -> bool:
        """Whether the coordinator, asked now, still takes this process for the one that leads.

        False also while no broker answers and while the group is being formed anew. Nothing may be published then, and
        `leading` stays: `poll` hears whether the term is over.
        """
        if not self.leading:
            return False
        self._asked += 1
        place = TopicPartition(self._topic, 0, self._asked)
        try:
            done = self._member.commit(offsets=[place], asynchronous=False)
            failed = next((p.error for p in done or () if p.error is not None), None)
        except KafkaException as error:
            failed = error.args[0]
        if failed is None:
            return True
        log.warning("election.unconfirmed", role=self._role, error=str(failed))
        return False

    def committed(self, topic: str, partitions: list[int]) -> dict[int, int]:
        """What the role noted with `commit`: {partition: offset}. Raises KafkaException."""
        places = [TopicPartition(topic, partition) for partition in partitions]
        return {p.partition: max(0, p.offset) for p in self._member.committed(places, timeout=10)}

    def commit(self, topic: str, partition: int, offset: int) -> None:
        """Notes an offset for those who lead later; refused, with KafkaException, if this process leads no more."""
        self._member.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)

    def close(self) -> None:
        """Leaves the group, so that another process takes over at once."""
        self.leading = False
        self._member.close()

    def _won(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        self.joined = True
        member.incremental_assign(partitions)
        if partitions:
            member.pause(partitions)  # the releases themselves are read elsewhere
            self._held = True
            log.info("election.won", role=self._role)

    def _lost(self, member: Consumer, partitions: list[TopicPartition]) -> None:
        member.incremental_unassign(partitions)
        if partitions:
            self._held, self._gap = False, True
            log.info("election.lost", role=self._role)
