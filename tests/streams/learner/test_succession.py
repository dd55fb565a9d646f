"""One encoder after the other: what is encoded when, and what the topic ends with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from recsys.encoder import AdapterMisfit, content_hash
from schemas.releases import Release, TrainedThrough
from streams.encoders import Encoders
from streams.learner.succession import GRACE_S, LOOK_S, Succession

BASE = "frozen"


class ToyEncoder:
    """Says which it is; a text has as many tokens as characters."""

    dim = 2

    def __init__(self, encoder_id: str) -> None:
        self.encoder_id = encoder_id

    def tokens(self, texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]

    def bucket(self, tokens: list[int]) -> int:
        return len(tokens)

    def encode_block(self, tokens: list[list[int]]) -> Any:
        return np.array([[len(self.encoder_id), sum(one)] for one in tokens], np.float32)


def release(sequence: int, weight: int, **changes: Any) -> Release:
    fields: dict[str, Any] = {
        "release_id": f"r{weight}-{sequence}", "role": "encoder", "sequence": sequence, "created_ts": 0,
        "trained_through": TrainedThrough(ts=0, offsets={}), "uri": "memory://r", "sha256": "0" * 64, "size": 1,
        "schema_version": 1, "status": "serving",
    }  # fmt: skip
    return Release(**(fields | changes))


class Role:
    """The encoder role without Kafka: what it would write, in order. `topic` is what it finds when it starts."""

    def __init__(self, topic: list[tuple[str, str, str, str]], *releases: Release) -> None:
        self.topic = topic  # (item_id, encoder_id, digest, vector)
        self.encoders = Encoders(BASE, self._arrays)
        self.work = Succession(ToyEncoder(BASE), self.encoders, self._load, self._publish)  # type: ignore[arg-type]
        self.misfits: set[int] = set()
        self.now = 100.0
        self.release(*releases)

    def _arrays(self, one: Release) -> Any:
        weight = int(one.release_id[1:].split("-")[0])
        return ({"q.A": np.full((1, 1), weight, np.float32)} if weight else {}), {"base": BASE}

    def _load(self, adapter: Any) -> Any:
        weight = int(adapter["q.A"][0, 0])
        if weight in self.misfits:
            raise AdapterMisfit("no such module")
        return ToyEncoder(self.id(weight))

    def id(self, weight: int) -> str:
        from recsys.encoder import adapted_id

        return adapted_id(BASE, self._arrays(release(1, weight))[0])

    def _publish(self, encoder: Any, item_id: str, digest: str, packed: str) -> None:
        self.topic.append((item_id, encoder.encoder_id, digest, packed))

    def release(self, *releases: Release) -> None:
        for one in releases:
            if self.encoders.take(one):
                self.work.renew()

    def begin(self, **texts: str) -> Role:
        seen: dict[str, dict[str, tuple[str, str]]] = {}
        for item_id, text in texts.items():
            self.work.change(item_id, text)
        for item_id, encoder_id, digest, packed in self.topic:
            self.work.there[item_id] = digest
            seen.setdefault(encoder_id, {})[item_id] = (digest, packed)
        self.work.begin(self.encoders.usable(self.now), seen, self.now)
        return self

    def rounds(self, n: int = 1000) -> Role:
        while n and self.work.pending:
            self.work.follow(self.now)
            self.work.work()
            n -= 1
        return self

    def last(self) -> dict[str, tuple[str, str]]:
        return {item_id: (encoder_id, digest) for item_id, encoder_id, digest, _ in self.topic}

    def written(self, item_id: str) -> list[str]:
        return [encoder_id for one, encoder_id, _, _ in self.topic if one == item_id]


# texts of many lengths, so that a block holds few of them
MANY = {f"i{n}": "x" * (n // 2 + 1) + "ab"[n % 2] for n in range(40)}


@pytest.fixture
def filled() -> Role:
    return Role([]).begin(**MANY).rounds()


def expect_all(role: Role, encoder_id: str, texts: dict[str, str]) -> None:
    assert role.last() == {i: (encoder_id, content_hash(text, encoder_id)) for i, text in texts.items()}


def test_a_newer_release_has_the_catalogue_encoded_again_once(filled: Role) -> None:
    expect_all(filled, BASE, MANY)
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds()
    expect_all(filled, filled.id(5), MANY)
    assert len(filled.topic) == 80


def test_a_new_item_in_between_has_its_vector_under_the_old_encoder_first(filled: Role) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds(3)
    before = len(filled.topic)
    filled.work.change("new", "just arrived")
    filled.work.change("i7", "another text")
    filled.rounds(2)
    assert filled.written("new") == [BASE, filled.id(5)]
    assert filled.written("i7")[-2:] == [BASE, filled.id(5)]
    assert len(filled.topic) - before <= 8, "they did not wait for the others"
    filled.rounds()
    expect_all(filled, filled.id(5), MANY | {"new": "just arrived", "i7": "another text"})


def test_for_a_while_after_it_new_items_have_both_and_then_only_the_new_one(filled: Role) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds()
    filled.work.follow(filled.now)
    filled.work.change("soon", "soon after")
    filled.rounds()
    filled.work.follow(filled.now)
    filled.now += GRACE_S
    filled.work.follow(filled.now)
    filled.work.change("late", "later")
    filled.rounds()
    assert filled.written("soon") == [BASE, filled.id(5)]
    assert filled.written("late") == [filled.id(5)]


def test_a_restart_in_the_middle_goes_on_where_it_was(filled: Role) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds(10)
    done = len(filled.topic) - 40
    assert 0 < done < 40
    changed = {**MANY, "new": "just arrived", "i3": "another text"}
    again = Role(filled.topic, release(1, 5)).begin(**changed)
    again.rounds()
    expect_all(again, again.id(5), changed)
    assert again.written("new") == [BASE, again.id(5)], "workers still serve from the old one"
    assert len(again.topic) <= 80 + 2 + 3, "nothing was made twice but the text that changed"


def test_a_restart_at_the_end_writes_nothing(filled: Role) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds()
    again = Role(filled.topic, release(1, 5)).begin(**MANY)
    assert again.work.pending == 0
    again.work.change("late", "later")
    again.rounds()
    assert again.written("late") == [again.id(5)]


def test_a_second_release_in_between_takes_over_and_the_old_one_is_still_served(filled: Role) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds(10)
    filled.work.change("new", "just arrived")
    filled.release(release(2, 6))
    filled.work.follow(filled.now)
    assert filled.work.pending == 41, "each item waits once"
    filled.rounds()
    assert filled.written("new") == [BASE, filled.id(6)]
    expect_all(filled, filled.id(6), {**MANY, "new": "just arrived"})
    done = sum(encoder_id == filled.id(5) for _, encoder_id, _, _ in filled.topic)
    assert done < 40, "the one in between was left as it was"


def test_a_second_release_after_the_first_is_complete_serves_from_the_first(filled: Role) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds()
    filled.release(release(2, 6))
    filled.work.follow(filled.now)
    filled.work.change("new", "just arrived")
    filled.rounds()
    assert filled.written("new") == [filled.id(5), filled.id(6)]


@pytest.mark.parametrize("back", [release(1, 5, status="rolled_back"), release(2, 0)])
@pytest.mark.parametrize("rounds", [10, 1000])
def test_a_rollback_leaves_the_former_encoders_vectors_last(filled: Role, back: Release, rounds: int) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds(rounds)
    filled.release(back)
    filled.work.follow(filled.now)
    filled.rounds()
    expect_all(filled, BASE, MANY)


def test_a_rollback_in_the_middle_encodes_nothing_again(filled: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.rounds(10)
    monkeypatch.setattr(ToyEncoder, "encode_block", None)
    filled.release(release(2, 0))
    filled.work.follow(filled.now)
    filled.rounds()
    expect_all(filled, BASE, MANY)


def test_an_adapter_that_does_not_fit_is_passed_over(filled: Role) -> None:
    filled.misfits.add(5)
    filled.release(release(1, 5))
    with capture_logs() as said:
        for _ in range(3):
            filled.work.follow(filled.now)
            filled.now += LOOK_S / 2
    assert [line["why"] for line in said] == ["no such module"], "said once"
    filled.work.change("new", "just arrived")
    filled.rounds()
    expect_all(filled, BASE, MANY | {"new": "just arrived"})
    filled.misfits.clear()
    filled.now += 10 * LOOK_S
    filled.work.follow(filled.now)
    filled.rounds()
    expect_all(filled, filled.id(5), MANY | {"new": "just arrived"})


def test_an_item_that_is_withdrawn_in_between_gets_no_vector_any_more(filled: Role) -> None:
    filled.release(release(1, 5))
    filled.work.follow(filled.now)
    filled.work.change("new", "just arrived")
    filled.work.change("new", None)
    filled.work.change("i7", None)
    filled.rounds()
    assert filled.written("new") == []
    assert filled.written("i7") == [BASE]


def test_items_of_one_text_have_it_encoded_once(filled: Role, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks: list[int] = []
    encode: Callable[..., Any] = ToyEncoder.encode_block
    monkeypatch.setattr(ToyEncoder, "encode_block", lambda self, t: (blocks.append(len(t)), encode(self, t))[1])
    for n in range(5):
        filled.work.change(f"twin{n}", "the very same words")
    filled.rounds()
    filled.work.change("one more", "the very same words")
    filled.rounds()
    assert sum(blocks) == 1
    assert len(filled.topic) == 46
