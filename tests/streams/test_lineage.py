"""The lineage of releases: what serves, what a rollback goes back to, and what it puts on the topic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.encoder import adapted_id
from recsys.features import CONTEXT, FEATURES, INDEX
from recsys.features import SCHEMA_VERSION as FEATURE_SCHEMA
from recsys.rank import prior_weights
from recsys.world import World
from schemas.items import Item
from schemas.releases import Base, Release, TrainedThrough
from streams.contents import changed, differences, state_of_file, weights_changed
from streams.lineage import Lineage, Refused, again, carry_out, check
from streams.models import Models
from streams.prior import is_prior, target_of
from streams.releases import ReleaseDamaged, ReleaseGone, ReleaseStorage, ReleaseUnusable
from streams.served import Served

NOW = 1_760_000_000_000
MODELS = Models("bert-0", 4, None, "cpu")


def release(sequence: int, parent: int | None = None, role: str = "ranker", **changes: Any) -> Release:
    fields: dict[str, Any] = {
        "release_id": f"{role}-{sequence}", "role": role, "sequence": sequence, "created_ts": NOW + sequence,
        "parent": f"{role}-{parent}" if parent is not None else None,
        "trained_through": TrainedThrough(ts=NOW, offsets={"0": sequence}), "uri": f"memory://{role}/{sequence}",
        "sha256": f"{ROLE_DIGITS[role]}{sequence:063d}", "size": 10, "schema_version": 1, "status": "serving",
    }  # fmt: skip
    return Release(**(fields | changes))


ROLE_DIGITS = {"statistics": "0", "ranker": "1", "sequence": "2", "adapter": "3", "encoder": "4"}


def line(*releases: Release) -> Lineage:
    lineage = Lineage()
    for one in releases:
        lineage.take(one)
    return lineage


def rolled_back(lineage: Lineage, role: str = "ranker", to: str | None = None) -> list[Release]:
    return again(lineage, lineage.target(role, to), pinned=True, take_back=True, now_ms=NOW + 99)


def test_the_highest_sequence_serves_whatever_came_last() -> None:
    lineage = line(release(1), release(3, 1), release(2, 1), release(4, 3, status="candidate"))
    assert [one.sequence for one in lineage.of("ranker")] == [4, 3, 2, 1]
    assert lineage.serving("ranker") == release(3, 1)
    assert lineage.serving("sequence") is None


def test_of_two_releases_with_one_sequence_the_first_serves_as_workers_take_it() -> None:
    first, second = release(2, 1), release(2, 1, release_id="other", sha256="f" * 64)
    assert line(release(1), first, second).serving("ranker") == first


def test_a_rollback_puts_the_bad_one_and_then_the_good_one_on_the_topic() -> None:
    lineage = line(release(1), release(2, 1), release(3, 2))
    bad, good = rolled_back(lineage)
    assert bad == release(3, 2, status="rolled_back")
    assert good == release(2).model_copy(
        update={
            "release_id": f"ranker-{release(2).sha256[:10]}-4", "sequence": 4, "parent": "ranker-3", "pinned": True,
            "created_ts": NOW + 99,
        }
    )  # fmt: skip
    assert line(*lineage.releases.values(), bad, good).serving("ranker") == good


def test_a_second_rollback_goes_further_back_and_not_to_the_bad_one() -> None:
    releases = [release(1), release(2, 1), release(3, 2)]
    for wanted in (2, 1):
        releases += rolled_back(line(*releases))
        assert releases[-1].sha256 == release(wanted).sha256
    with pytest.raises(Refused, match="--to"):
        line(*releases).target("ranker", None)


def test_a_ranker_that_nothing_came_before_goes_back_to_the_prior_weights(storage: ReleaseStorage) -> None:
    first = line(release(1))
    prior = target_of(first, storage, "ranker", None, NOW)
    assert is_prior(prior)
    assert not is_prior(release(1))
    served = Served(storage)
    served.load(prior, 0)
    assert np.array_equal(served.learnt.ranker, prior_weights())
    bad, good = again(first, prior, pinned=True, take_back=True, now_ms=NOW)
    assert (bad.release_id, bad.status) == ("ranker-1", "rolled_back")
    assert (good.release_id, good.sequence, good.parent) == (f"ranker-{prior.sha256[:10]}-2", 2, "ranker-1")
    later = line(bad, good, release(3, parent=None).model_copy(update={"parent": good.release_id}))
    assert target_of(later, storage, "ranker", None, NOW) == good, "a later one goes back to it like to any other"


def test_a_line_whose_beginning_is_not_known_does_not_go_back_to_the_prior_weights_unasked(
    storage: ReleaseStorage,
) -> None:
    lineage = line(release(7, 6))
    with pytest.raises(Refused, match="--to prior"):
        target_of(lineage, storage, "ranker", None, NOW)
    assert is_prior(target_of(lineage, storage, "ranker", "prior", NOW))
    with pytest.raises(Refused, match="No release of role ranker"):
        target_of(line(), storage, "ranker", "prior", NOW)


def test_a_release_that_came_with_the_same_sequence_is_taken_back_too() -> None:
    good = release(3, 2, sha256=release(1).sha256, pinned=True)
    intruder = release(3, 2, release_id="late", sha256="e" * 64)
    records = again(
        line(release(1), release(2, 1), good, intruder), release(1), pinned=True, take_back=True, now_ms=NOW
    )
    assert [(one.release_id, one.status) for one in records[:-1]] == [("late", "rolled_back")]
    assert (records[-1].sequence, records[-1].sha256) == (4, release(1).sha256)


def test_an_older_release_can_be_named_and_promotion_takes_nothing_back() -> None:
    lineage = line(release(1), release(2, 1), release(3, 2))
    assert lineage.target("ranker", "ranker-1") == release(1)
    (promoted,) = again(lineage, release(1), pinned=False, take_back=False, now_ms=NOW)
    assert (promoted.sequence, promoted.pinned, promoted.sha256) == (4, False, release(1).sha256)


@pytest.mark.parametrize(
    ("role", "to", "said"),
    [
        ("ranker", "ranker-9", "no release ranker-9"),
        ("ranker", "sequence-1", "of role sequence"),
        ("ranker", "ranker-2", "serves already"),
        ("encoder", None, "No release of role encoder"),
        ("rankers", None, "no role"),
        ("statistics", None, "sums over the whole log"),
        ("adapter", None, "choose a release of role sequence"),
    ],
)
def test_what_cannot_be_rolled_back_is_refused_in_words(role: str, to: str | None, said: str) -> None:
    lineage = line(
        release(1), release(2, 1), release(1, role="sequence"), release(1, role="statistics"),
        release(2, 1, role="statistics"), release(1, role="adapter"), release(2, 1, role="adapter"),
    )  # fmt: skip
    with pytest.raises(Refused, match=said):
        lineage.target(role, to)


def with_items(sequence: int, parent: int | None, adapter: int) -> Release:
    side = release(adapter, role="adapter")
    return release(
        sequence, parent, "sequence", base=Base(uri=side.uri, sha256=side.sha256, size=side.size)
    )  # fmt: skip


def test_a_sequence_release_brings_the_adapter_that_it_was_learnt_with() -> None:
    items = [release(1, role="adapter"), release(2, 1, role="adapter")]
    lineage = line(*items, with_items(1, None, 1), with_items(2, 1, 2))
    records = rolled_back(lineage, "sequence")
    assert [(one.role, one.status, one.sequence) for one in records] == [
        ("adapter", "rolled_back", 2), ("adapter", "serving", 3), ("sequence", "rolled_back", 2),
        ("sequence", "serving", 3),
    ]  # fmt: skip
    assert records[1].sha256 == items[0].sha256
    assert records[1].base is None
    assert records[3].base == with_items(1, None, 1).base


def test_an_adapter_that_serves_already_stays_and_one_that_nobody_remembers_is_made_of_the_base() -> None:
    same = line(release(1, role="adapter", pinned=True), with_items(1, None, 1), with_items(2, 1, 1))
    assert {one.role for one in rolled_back(same, "sequence")} == {"sequence"}
    gone = line(release(2, 1, role="adapter"), with_items(1, None, 1), with_items(2, 1, 2))
    adapter = rolled_back(gone, "sequence")[1]
    assert (adapter.role, adapter.sha256, adapter.uri) == (
        "adapter",
        release(1, role="adapter").sha256,
        "memory://adapter/1",
    )
    assert adapter.trained_through == with_items(1, None, 1).trained_through


class Topic:
    """A topic in memory. `learner` is asked after each record that an operator sends."""

    def __init__(self, *releases: Release, intrusions: int, sequence_of: str) -> None:
        self.records, self.intrusions, self.kind = list(releases), intrusions, sequence_of

    def read(self) -> Lineage:
        return line(*self.records)

    def send(self, records: Sequence[Release]) -> None:
        last = records[-1].sequence
        self.records += records
        if self.intrusions:
            self.intrusions -= 1
            sequence = last if self.kind == "same" else last + 1
            self.records.append(release(sequence, 2, release_id=f"late-{self.intrusions}", sha256=f"{sequence:064x}"))


@pytest.mark.parametrize("kind", ["same", "next"])
def test_what_a_learner_releases_at_the_same_moment_does_not_win(kind: str) -> None:
    topic = Topic(release(1), release(2, 1), intrusions=2, sequence_of=kind)
    sent = carry_out(topic.read, topic.send, release(1), pinned=True, take_back=True, settle_s=0)
    lineage = topic.read()
    assert lineage.serving("ranker") == topic.records[-1] == sent[-1]
    assert sent[-1].sha256 == release(1).sha256
    assert [one.release_id for one in lineage.of("ranker") if one.status == "rolled_back"] == [
        "late-0",
        "late-1",
        "ranker-2",
    ]


def test_a_learner_that_does_not_stop_is_said_to_be_so() -> None:
    topic = Topic(release(1), release(2, 1), intrusions=99, sequence_of="next")
    with pytest.raises(Refused, match="learner"):
        carry_out(topic.read, topic.send, release(1), pinned=True, take_back=True, settle_s=0)


# files ---------------------------------------------------------------------------------------------------------
def ranker(storage: ReleaseStorage, weights: Any, schema: int = FEATURE_SCHEMA, sequence: int = 1) -> Release:
    place = storage.save_model("ranker", {"weights": weights}, {"feature_schema": schema}, sequence, NOW)
    return release(sequence, **place.model_dump())


@pytest.fixture
def storage(tmp_path: Path) -> ReleaseStorage:
    return ReleaseStorage(tmp_path.as_uri(), "ns")


def test_a_ranker_of_another_feature_table_or_without_its_file_is_refused(storage: ReleaseStorage) -> None:
    check(storage, ranker(storage, prior_weights()), MODELS)
    with pytest.raises(ReleaseUnusable, match="schema"):
        check(storage, ranker(storage, prior_weights(), schema=FEATURE_SCHEMA + 1), MODELS)
    with pytest.raises(ReleaseDamaged):
        check(storage, ranker(storage, prior_weights() * np.nan), MODELS)
    with pytest.raises(ReleaseGone):
        check(storage, ranker(storage, prior_weights()).model_copy(update={"uri": "memory://nowhere"}), MODELS)


def test_an_encoder_that_tunes_another_model_is_refused(storage: ReleaseStorage) -> None:
    for base, fits in (("bert-0", True), ("bert-1", False)):
        place = storage.save_model("encoder", {"q.A": np.ones((2, 3), np.float32)}, {"base": base}, 1, NOW)
        encoder = release(1, role="encoder", **place.model_dump())
        if fits:
            check(storage, encoder, MODELS)
        else:
            with pytest.raises(ReleaseUnusable, match="HEADWATER_ENCODER"):
                check(storage, encoder, MODELS)


def test_a_sequence_model_of_another_encoder_than_the_one_that_serves_is_refused(
    storage: ReleaseStorage, lanes_of: Any
) -> None:
    items = [Item(item_id=f"i{n}", title=f"thing {n}") for n in range(20)]
    lanes = lanes_of(storage, World.empty(MODELS.dim).advanced(items))
    adapter = {"q.A": np.ones((1, 4), np.float32), "q.B": np.ones((4, 1), np.float32)}
    tuned, name = lanes.encoder(adapter, "bert-0"), adapted_id("bert-0", adapter)
    old = lanes.sequence()  # from before files said which encoder
    lanes.go_on(World.empty(MODELS.dim).advanced(items), name)
    new = lanes.sequence()
    check(storage, old, MODELS, line())
    check(storage, new, MODELS, line(tuned))
    for model, serving, here in ((new, line(), "bert-0"), (old, line(tuned), name)):
        with pytest.raises(
            ReleaseUnusable, match=rf"{re.escape(model.release_id)} was .* of {re.escape(here)}\. It would rest"
        ):
            check(storage, model, MODELS, serving)
    back = tuned.model_copy(update={"status": "rolled_back"})
    check(storage, old, MODELS, line(tuned, back))


def test_a_file_is_whole_damaged_or_gone(storage: ReleaseStorage) -> None:
    whole = ranker(storage, prior_weights())
    assert state_of_file(storage, whole) == {"state": "whole"}
    path = Path(whole.uri.removeprefix("file://"))
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    assert state_of_file(storage, whole)["state"] == "damaged"
    path.unlink()
    assert state_of_file(storage, whole)["state"] == "gone"


def test_the_weights_that_differ_are_named_the_largest_change_first(storage: ReleaseStorage) -> None:
    before, after = prior_weights(), prior_weights()
    after[0, INDEX["brand"]] += 0.5
    after[1, INDEX["words"]] = -2.0
    found = differences(storage, ranker(storage, before), ranker(storage, after, sequence=2))["weights"]
    assert [(one["feature"], one["moment"], one["change"]) for one in found] == [
        ("words", "stranger", -2.0), ("brand", "always", 0.5),
    ]  # fmt: skip
    assert weights_changed(after, after) == []
    assert len(weights_changed(before, before + 1)) == len(CONTEXT) * len(FEATURES)


def test_items_are_compared_row_by_row_and_those_that_came_and_went_are_counted() -> None:
    before = {"keys": np.array([1, 2, 3], np.uint64), "into": np.array([[1, 0], [0, 1], [1, 1]], np.float16)}
    after = {"keys": np.array([2, 3, 5, 6], np.uint64), "into": np.array([[0, 1], [1, 1], [9, 9], [9, 9]], np.float16)}
    same = changed(before, after)
    assert same["items"] == {"both": 2, "gained": 2, "lost": 1}
    assert same["parts"] == [{"part": "into", "cosine": pytest.approx(1), "norm": 0.0, "relative": 0.0}]
    turned = changed(before, before | {"into": -before["into"]})["parts"][0]
    assert (turned["cosine"], turned["relative"]) == (pytest.approx(-1), pytest.approx(2))


def test_two_roles_are_not_compared(storage: ReleaseStorage) -> None:
    with pytest.raises(Refused, match="one role"):
        differences(storage, release(1), release(1, role="adapter"))
