"""Every store keeps the same contract: one suite, run against the dictionary, a real Redis and a Redis Cluster."""

from __future__ import annotations

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from streams.embedded import ports
from streams.embedded.redis import server_executable
from streams.store.contract import Fenced, Position, Save, StoreAway, StoreError
from streams.store.memory import MemoryStore
from streams.store.redis import RedisStore
from tests.patience import PATIENCE_S

P = 3  # any partition


@pytest.fixture(scope="module")
def redis_cluster(tmp_path_factory):
    """The URL of a cluster of one node, which refuses a call over several slots as a large one does."""
    folder, port = tmp_path_factory.mktemp("cluster"), ports.any_free()
    while port > 55535:  # a cluster's nodes talk to each other on the port plus 10,000, which has to exist as well
        port = ports.any_free()
    command = [server_executable(), "--port", port, "--cluster-enabled", "yes", "--dir", folder, "--save", ""]
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis(port=port) as client:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                try:
                    client.execute_command("CLUSTER ADDSLOTS", *range(16384))
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.services) for name in ("redis", "cluster"))])
def store(request, namespace):
    if request.param == "memory":
        made = MemoryStore()
    elif request.param == "redis":
        made = RedisStore(request.getfixturevalue("redis_server").url, namespace)
    else:
        made = RedisStore(request.getfixturevalue("redis_cluster"), namespace)
    yield made
    made.close()


def test_an_untouched_partition_has_neither_position_nor_users_nor_messages(store):
    assert store.position(P) is None
    assert store.load(P, ["a", "b"]) == (None, {})
    assert store.pending(P) == []
    assert list(store.users(P)) == []


def test_what_was_saved_is_loaded(store):
    users = {"a": {"state": b"\x00\xff", "profile": b""}, "b": {"state": b"2"}}
    assert store.save(P, None, 7, users, [b"m1", b"m2"], note=b"world", token=b"t") == 2
    position, found = store.load(P, ["b", "missing", "a"])
    assert (position.offset, position.note, position.token, position.appended) == (7, b"world", b"t", 2)
    assert found == {"a": {b"state": b"\x00\xff", b"profile": b""}, "b": {b"state": b"2"}}
    assert store.position(P) == position
    assert sorted(store.users(P)) == ["a", "b"]
    assert [tuple(entry) for entry in store.pending(P)] == [(1, b"m1"), (2, b"m2")]


def test_what_is_asked_for_is_answered_later_and_may_be_dropped(store):
    assert store.ask(P, ["a"]).answer(5) == (None, {})
    store.save(P, None, 7, {"a": {"state": b"1"}, "b": {"state": b"2"}})
    first, second, third = (store.ask(P, [user_id]) for user_id in ("a", "b", "missing"))
    first.drop()
    first.drop()
    assert store.position(P).offset == 7, "other calls go on meanwhile"
    assert third.answer(5) == (store.position(P), {})
    assert second.answer(5) == store.load(P, ["b"])
    second.drop()
    many = [f"user {n}" for n in range(3000)]
    store.save(P, 7, 8, {user_id: {"state": bytes(1000)} for user_id in many})
    asked = [store.ask(P, many) for _ in range(3)]
    asked[1].drop()
    assert len(asked[0].answer(5)[1]) == len(asked[2].answer(5)[1]) == 3000
    assert store.load(P, ["a"])[1] == {"a": {b"state": b"1"}}


def test_offset_zero_is_a_position(store):
    store.save(P, None, 0, {}, [])
    with pytest.raises(Fenced):
        store.save(P, None, 1, {}, [])
    store.save(P, 0, 1, {}, [])
    assert store.position(P).offset == 1


@pytest.mark.parametrize("expected", [None, 4, 6])
def test_a_save_built_on_another_position_changes_nothing(store, expected):
    store.save(P, None, 5, {"a": {"state": b"old"}}, [b"m1"])
    with pytest.raises(Fenced) as fenced:
        store.save(P, expected, 9, {"a": {"state": b"new"}, "b": {"state": b"new"}}, [b"m2"])
    assert (fenced.value.partition, fenced.value.expected, fenced.value.found) == (P, expected, 5)
    position, users = store.load(P, ["a", "b"])
    assert position.offset == 5
    assert users == {"a": {b"state": b"old"}}
    assert [entry.payload for entry in store.pending(P)] == [b"m1"]


def test_a_save_repeated_after_a_lost_reply_counts_once(store):
    first = store.save(P, None, 5, {"a": {"state": b"1"}}, [b"m1"], token=b"save-1")
    again = store.save(P, None, 5, {"a": {"state": b"1"}}, [b"m1"], token=b"save-1")
    assert first == again == 1
    assert len(store.pending(P)) == 1
    with pytest.raises(Fenced):
        store.save(P, None, 5, {}, [], token=b"save-2")


def test_saves_of_several_partitions_stand_or_fall_each_by_itself(store):
    store.save(2, None, 50, {"c": {"state": b"old"}}, [b"m"])
    saves = [
        Save(1, None, 5, {"a": {"state": b"1"}, "b": None}, [b"x", b"y"], b"world", b"t1"),
        Save(2, 49, 60, {"c": {"state": b"new"}}, [b"z"], b"", b"t2"),
        Save(3, None, 0, {}, [], b"", b"t3"),
    ]
    first, refused, last = store.save_all(saves)
    assert (first, last) == (2, 0)
    assert isinstance(refused, Fenced)
    assert (refused.partition, refused.expected, refused.found) == (2, 49, 50)
    assert store.position(1) == Position(5, b"world", b"t1", 2)
    assert store.load(2, ["c"])[1] == {"c": {b"state": b"old"}}
    assert store.save_all([saves[0], saves[2]]) == [2, 0]  # repeated after a lost reply
    assert store.save_all([]) == []
    store.confirm_all({1: 1, 2: 1, 3: 0})
    assert [entry.payload for at in (1, 2, 3) for entry in store.pending(at)] == [b"y"]


def test_a_position_may_go_back_if_the_save_says_from_where(store):
    store.save(P, None, 50, {}, [])
    store.save(P, 50, 20, {}, [])
    assert store.position(P).offset == 20


def test_none_erases_a_user_and_fields_not_named_stay(store):
    store.save(P, None, 1, {"a": {"state": b"1", "open": b"x"}, "b": {"state": b"1"}}, [])
    store.save(P, 1, 2, {"a": {"state": b"2"}, "b": None, "never": None}, [])
    assert store.load(P, ["a", "b"])[1] == {"a": {b"state": b"2", b"open": b"x"}}


def test_confirmed_messages_leave_the_outbox_in_order_and_once(store):
    store.save(P, None, 1, {}, [b"1", b"2", b"3"])
    store.confirm(P, 2)
    store.confirm(P, 2)
    assert [tuple(entry) for entry in store.pending(P)] == [(3, b"3")]
    assert store.save(P, 1, 2, {}, [b"4"]) == 4
    store.confirm(P, 1)
    assert [entry.sequence for entry in store.pending(P)] == [3, 4]
    store.confirm(P, 4)
    assert store.pending(P) == []
    assert store.save(P, 2, 3, {}, [b"5"]) == 5
    assert [entry.sequence for entry in store.pending(P)] == [5]


def test_partitions_know_nothing_of_each_other(store):
    store.save(1, None, 10, {"a": {"state": b"one"}}, [b"m"])
    assert store.load(11, ["a"]) == (None, {})
    store.save(11, None, 3, {"a": {"state": b"eleven"}}, [])
    assert store.load(1, ["a"])[1] == {"a": {b"state": b"one"}}
    assert store.pending(11) == []


def test_a_batch_of_thousands_goes_in_one_call(store):
    users = {f"user-{n}": {"state": b"s" * n, "profile": b"p"} for n in range(3000)}
    messages = [b"%d" % n for n in range(9500)]
    assert store.save(P, None, 1, users, messages) == 9500
    assert [entry.payload for entry in store.pending(P)] == messages
    found = store.load(P, list(users))[1]
    assert found["user-2999"] == {b"state": b"s" * 2999, b"profile": b"p"}
    assert len(found) == 3000


@pytest.mark.parametrize("user_id", ["a b", "{x}:u:y", "ключ", "*?[]", "a" * 128, "\n"])
def test_any_user_id_is_a_key(store, user_id):
    store.save(P, None, 1, {user_id: {"state": b"1"}}, [])
    assert store.load(P, [user_id])[1] == {user_id: {b"state": b"1"}}
    assert list(store.users(P)) == [user_id]


def test_one_user_is_found_by_id_alone(store):
    store.save(2, None, 1, {"foobar": {"state": b"1"}}, [])
    assert store.read_user("foobar", 4) == {b"state": b"1"}
    assert store.read_user("nobody", 4) == {}


@pytest.mark.services
def test_a_redis_that_does_not_answer_is_away_and_not_an_error(namespace):
    with pytest.raises(StoreAway):
        RedisStore("redis://127.0.0.1:1/0", namespace, timeout_s=1).position(P)


@pytest.mark.services
def test_a_key_of_another_kind_is_an_error_that_waiting_does_not_mend(redis_server, namespace):
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"{{{namespace}:{P}}}:position", "text")
    with pytest.raises(StoreError) as refused:
        RedisStore(redis_server.url, namespace).position(P)
    assert not isinstance(refused.value, StoreAway)


@pytest.mark.services
def test_the_store_works_on_after_a_restart_of_redis(redis_server, namespace):
    store = RedisStore(redis_server.url, namespace)
    store.save(P, None, 1, {"a": {"state": b"1"}}, [b"m"])
    redis_server.restart()
    store.save(P, 1, 2, {"a": {"state": b"2"}}, [b"n"])
    position, users = store.load(P, ["a"])
    assert (position.offset, users) == (2, {"a": {b"state": b"2"}})
    assert [entry.payload for entry in store.pending(P)] == [b"m", b"n"]
    redis_server.restart()  # it forgets the scripts
    assert store.ask(P, ["a"]).answer(5)[1] == {"a": {b"state": b"2"}}
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command("CLIENT", "PAUSE", 500)
    asked = store.ask(P, ["a"])
    with pytest.raises(StoreAway):
        asked.answer(0.1)
    asked.drop()
    redis_server.restart()
    saves = [Save(at, 2 if at == P else None, 3, {"a": {"state": b"3"}}, [b"o"], b"", b"") for at in (P, P + 1)]
    assert store.save_all(saves) == [3, 1]
    redis_server.restart()
    store.confirm_all({P: 2, P + 1: 1})
    assert [entry.payload for at in (P, P + 1) for entry in store.pending(at)] == [b"o"]


@pytest.mark.services
def test_connections_that_the_server_has_closed_are_made_anew_at_once(redis_server, namespace):
    store = RedisStore(redis_server.url, namespace)
    store.save(P, None, 1, {"ann": {"state": b"1"}}, [b"m1"])
    with redis.Redis.from_url(redis_server.url) as client:
        client.client_kill_filter(_type="normal", skipme=True)
        client.script_flush()
    assert store.save(P, 1, 2, {"ann": {"state": b"2"}}, [b"m2"]) == 2
    store.confirm(P, 1)
    assert [entry.payload for entry in store.pending(P)] == [b"m2"]
    store.close()


@pytest.mark.services
def test_threads_do_not_get_each_other_s_answers(redis_server, namespace):
    store = RedisStore(redis_server.url, namespace)
    for number in range(8):
        store.save(number, None, 0, {f"u{number}": {"state": str(number).encode() * 5_000}})

    def ask(number):
        return [store.load(number, [f"u{number}"])[1] for _ in range(50)]

    with ThreadPoolExecutor(8) as pool:
        for number, found in enumerate(pool.map(ask, range(8))):
            assert found == [{f"u{number}": {b"state": str(number).encode() * 5_000}}] * 50
    store.close()
