"""Lineage: the learnt releases of a namespace, one after the other, and an operator's say in which of them serves.

In: records of `<ns>.releases.v1`. Out: what serves and what came before it; and records that make a former release
serve again, `headwater releases` sends them.

A rollback takes nothing off the topic. It adds: the bad release once more, as `rolled_back`, and the good one once
more, under a new id and the next sequence. Readers take the highest sequence that is serving, and the topic is
compacted by role, so the good one has to be the last record of its role. A learner may release at the same moment,
with the same sequence; `carry_out` looks whether that happened, and then says it again with a higher one.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recsys.world import World
from schemas.releases import Release
from schemas.topics import TOPICS
from streams.encoders import Encoders, encoder_of, loader
from streams.records.read import WAIT_S, assign, ends
from streams.releases import ReleaseStorage, ReleaseUnusable
from streams.served import OfAnotherEncoder, Served

if TYPE_CHECKING:
    from streams.models import Models

ROLES = ("statistics", "ranker", "sequence", "adapter", "encoder")
KEPT = 2000
"""Latest records of each role that are looked at, beside those that are named."""
_ANCESTORS = 50
_TRIES = 5
_PATIENCE_S = 30.0


class Refused(Exception):  # noqa: N818
    """What was asked for cannot be done. The message says why, and what to do instead."""


class NoneBefore(Refused):
    """Nothing came before `serving` that a rollback could go back to. `known`: its line is known to its beginning."""

    def __init__(self, message: str, serving: Release, known: bool) -> None:
        super().__init__(message)
        self.serving, self.known = serving, known


# what is on the topic ------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Lineage:
    """The releases by id, each as its newest record says, in the order in which they first came."""

    releases: dict[str, Release] = field(default_factory=dict)
    last: dict[str, Release] = field(default_factory=dict)
    """The last record of each role."""

    def take(self, release: Release) -> None:
        self.releases[release.release_id] = release
        self.last[release.role] = release

    def of(self, role: str) -> list[Release]:
        """The newest first. Raises Refused for what is no role."""
        if role not in ROLES:
            raise Refused(f"{role} is no role of a release: those are {', '.join(ROLES)}.")
        found = [release for release in self.releases.values() if release.role == role]
        return sorted(found, key=lambda release: -release.sequence)

    def serving(self, role: str) -> Release | None:
        """The highest sequence that is serving; of two with the same, the one that came first, as workers take it."""
        return next((release for release in self.of(role) if release.status == "serving"), None)

    def serves(self, release: Release) -> bool:
        serving = self.serving(release.role)
        return serving is not None and serving.release_id == release.release_id

    def is_canary(self, release: Release) -> bool:
        """Whether workers rank a share of the users by it, as they take it."""
        serving = self.serving(release.role)
        newest = next((one for one in self.of(release.role) if one.share is not None), None)
        return newest is release and (serving is None or serving.sequence < release.sequence)

    def find(self, release_id: str) -> Release:
        """Raises Refused."""
        found = self.releases.get(release_id)
        if found is None:
            raise Refused(f"There is no release {release_id} on the topic. `headwater releases list` shows which are.")
        return found

    def ancestors(self, release: Release) -> list[Release]:
        """Its parent, the parent of that, and so on, as far as they are known."""
        chain: list[Release] = []
        seen = {release.release_id}
        while release.parent in self.releases and release.parent not in seen and len(chain) < _ANCESTORS:
            release = self.releases[release.parent or ""]
            seen.add(release.release_id)
            chain.append(release)
        return chain

    def before(self, role: str) -> Release:
        """What a rollback goes back to: the nearest ancestor of what serves that has another file, and one that was
        not rolled back when it served last, under whatever id. Raises Refused, NoneBefore."""
        serving = self.held(role)
        newest = {_file(release): release for release in reversed(self.of(role))}
        line = self.ancestors(serving)
        for release in line:
            good = release.status == "serving" and newest[_file(release)].status == "serving"
            if good and _file(release) != _file(serving):
                return release
        prior = ", and `--to prior` the weights before any learning" if role == "ranker" else ""
        raise NoneBefore(
            f"Before {serving.release_id}, which serves, no other release of role {role} is known that has not been "
            f"rolled back. `headwater releases list --role {role} -n 100` shows all; `--to ID` takes any of them"
            f"{prior}.", serving, [serving, *line][-1].parent is None,
        )  # fmt: skip

    def target(self, role: str, to: str | None) -> Release:
        """What a rollback makes serve again, of what is on the topic. Raises Refused, NoneBefore."""
        self.of(role)
        _may_be_chosen(role)
        serving = self.held(role)
        if to is None:
            return self.before(role)
        found = self.find(to)
        if found.role != role:
            raise Refused(f"{to} is a release of role {found.role}, not of {role}.")
        if _file(found) == _file(serving):
            raise Refused(f"{to} serves already, as {serving.release_id}: there is nothing to roll back.")
        return found

    def held(self, role: str) -> Release:
        """What serves. Raises Refused where nothing does."""
        serving = self.serving(role)
        if serving is None:
            raise Refused(f"No release of role {role} serves: there is nothing to roll back.")
        return serving


def _may_be_chosen(role: str) -> None:
    """Raises Refused for roles of which an operator cannot choose what serves."""
    if role == "statistics":
        raise Refused(
            "Statistics are sums over the whole log, and each release holds all of those before it: the learner "
            "publishes the next one within a second or two, so an older one would serve no longer than that. If an "
            "item was pushed, `headwater quarantine list` shows what is held back; what a user did goes with a "
            "`forget` event of that user; an item goes with `headwater items withdraw`. `headwater up --no-learner` "
            "holds all learning still."
        )
    if role == "adapter":
        raise Refused(
            "An adapter is the item side of a sequence release, its base, and serves only with it: choose a release of "
            "role sequence, and its adapter comes along."
        )


def _file(release: Release) -> tuple[str, str]:
    return release.sha256, release.base.sha256 if release.base is not None else ""


class Log:
    """The topic of releases. `consumer` is a confluent_kafka.Consumer for this object alone; `names`: ids of releases
    that are kept however old they are, with what came right before them."""

    def __init__(self, consumer: Any, namespace: str, *names: str) -> None:
        self._consumer, self._topic = consumer, TOPICS["releases"].full_name(namespace)
        self._names = [name.encode() for name in names]
        self._next = 0
        self._named: list[bytes] = []
        self._latest: dict[bytes, deque[bytes]] = {}
        self.unreadable = 0
        """Records that are no releases."""

    def read(self) -> Lineage:
        """The lineage up to now. Raises KafkaException, NoSuchTopic, TimeoutError."""
        low, high = ends(self._consumer, self._topic)[0]
        at = max(low, self._next)
        assign(self._consumer, self._topic, {0: at})
        until = time.monotonic() + _PATIENCE_S
        while at < high:
            for message in self._consumer.consume(min(1000, high - at), timeout=WAIT_S):
                if message.error() is None:
                    self._take(message.key() or b"", message.value())
                    at, until = message.offset() + 1, time.monotonic() + _PATIENCE_S
            if time.monotonic() > until:
                raise TimeoutError(f"{self._topic} could not be read: Kafka fell silent. `headwater doctor` may help.")
        self._next = at
        return self._lineage()

    def _take(self, role: bytes, value: bytes | None) -> None:
        if value is None:
            return
        latest = self._latest.setdefault(role, deque(maxlen=KEPT))
        if any(name in value for name in self._names):
            self._named += [*list(latest)[-_ANCESTORS:], value]
        latest.append(value)

    def _lineage(self) -> Lineage:
        lineage, self.unreadable = Lineage(), 0
        # named records come again among the latest: the later one stands
        for value in [*self._named, *(value for latest in self._latest.values() for value in latest)]:
            try:
                lineage.take(Release.model_validate_json(value))
            except ValueError:
                self.unreadable += 1
        return lineage


# choosing what serves -------------------------------------------------------------------------------------------
def check(storage: ReleaseStorage, release: Release, models: Models, lineage: Lineage | None = None) -> None:
    """Whether a worker of this version could serve it. Raises ReleaseUnusable; Refused for roles that no one chooses.

    `models`: the text encoder that these settings name; `lineage`: says what it is tuned to, None: to nothing."""
    _may_be_chosen(release.role)
    if release.role == "encoder":
        encoder_of(release, models.encoder_id, loader(storage))
        return
    served = Served(storage, encoder_id=_encoder_id(storage, models, lineage), frozen_id=models.encoder_id)
    try:
        # a World's vectors are longer than the encoder's: words are in them too
        served.load(release, World.empty(models.dim, None).dense.dim)
    except OfAnotherEncoder as error:
        raise ReleaseUnusable(
            f"{error} It would rest until that encoder serves: make the release of that encoder serve first "
            "(`headwater releases list --role encoder`), or choose a sequence release that was learnt on this one."
        ) from error


def _encoder_id(storage: ReleaseStorage, models: Models, lineage: Lineage | None) -> str | None:
    """Of the encoder whose vectors Worlds have, or go over to; None without any."""
    if models.encoder_id is None or lineage is None:
        return models.encoder_id
    encoders = Encoders(models.encoder_id, loader(storage))
    for one in lineage.of("encoder"):
        encoders.take(one)
    return encoders.usable(0.0)[0].encoder_id


def again(lineage: Lineage, target: Release, *, pinned: bool, take_back: bool, now_ms: int) -> list[Release]:
    """Records that make `target` serve again, in the order in which they belong on the topic. `take_back`: what serves
    now is marked as rolled back."""
    records: list[Release] = []
    if target.role == "sequence" and (base := target.base) is not None:
        known = next((one for one in lineage.of("adapter") if one.sha256 == base.sha256), None)
        adapter = (known or target).model_copy(update={"role": "adapter", "base": None, **base.model_dump()})
        serving = lineage.serving("adapter")
        if serving is None or (serving.sha256, serving.pinned) != (base.sha256, pinned):
            records += _again(lineage, adapter, pinned, take_back, now_ms)
    return records + _again(lineage, target, pinned, take_back, now_ms)


def _again(lineage: Lineage, target: Release, pinned: bool, take_back: bool, now_ms: int) -> list[Release]:
    role, held, serving = target.role, lineage.of(target.role), lineage.serving(target.role)
    least = serving.sequence if serving is not None else 0
    bad = [one for one in held if one.status == "serving" and one.sequence >= least and _file(one) != _file(target)]
    sequence = 1 + max((one.sequence for one in held), default=0)
    made = {
        "release_id": f"{role}-{target.sha256[:10]}-{sequence}", "sequence": sequence, "created_ts": now_ms,
        "parent": serving.release_id if serving is not None else None, "status": "serving", "pinned": pinned,
    }  # fmt: skip
    taken = [one.model_copy(update={"status": "rolled_back", "pinned": False}) for one in bad] if take_back else []
    return [*taken, target.model_copy(update=made)]


def carry_out(
    read: Callable[[], Lineage],
    send: Callable[[Sequence[Release]], None],
    target: Release,
    *,
    pinned: bool,
    take_back: bool,
    settle_s: float,
) -> list[Release]:
    """Announces `again`, and looks `settle_s` seconds later whether it holds: a learner that had not heard of it may
    have released in between. Returns what was sent. Raises Refused, and what `read` and `send` raise."""
    sent: list[Release] = []
    for _ in range(_TRIES):
        records = again(read(), target, pinned=pinned, take_back=take_back, now_ms=int(time.time() * 1000))
        send(records)
        sent += records
        time.sleep(settle_s)
        lineage = read()
        wanted = [record for record in records if record.status == "serving"]
        if all(lineage.serves(one) and lineage.last[one.role].release_id == one.release_id for one in wanted):
            return sent
    raise Refused(
        f"{target.release_id} was announced {_TRIES} times, and each time the learner released another one right after "
        "it. Look at the learner's log (does it reach this Kafka?), or stop it, and give the command again."
    )
