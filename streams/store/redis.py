"""The store in Redis (6.2 or later), Valkey, or a Redis Cluster.

A partition's keys share a hash tag, `{<namespace>:<partition>}`, so that all of a batch lies on one node and one script
changes it: `:position` and `:u:<user_id>` are hashes, `:outbox` is a list. A call is one command with many arguments,
since redis-py's own cost goes by commands. A user's hash can be read by anyone: HGETALL.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, ParamSpec, TypeVar

import msgpack
import redis
from redis import exceptions
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from streams.kafka.partition import partition_of
from streams.store.contract import Answered, Asked, Entry, Fenced, Loaded, Position, Save, StoreAway, StoreError
from streams.store.lines import Lines

P = ParamSpec("P")
T = TypeVar("T")

_AWAY = (
    *(exceptions.ConnectionError, exceptions.TimeoutError, OSError),
    *(exceptions.ClusterDownError, exceptions.TryAgainError, exceptions.MasterDownError),
    *(exceptions.ReadOnlyError, exceptions.OutOfMemoryError),
)
# what else a server says that passes by itself; inside a script the first word is not the code
_PASSING = ("LOADING", "OOM", "MISCONF", "READONLY", "NOREPLICAS", "CLUSTERDOWN", "TRYAGAIN", "MASTERDOWN", "BUSY")


class _Script:
    def __init__(self, name: str) -> None:
        self.text = files("streams.store").joinpath(name).read_text(encoding="utf-8")
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


def _translated(call: Callable[P, T]) -> Callable[P, T]:
    """Turns redis-py's errors into the contract's."""

    @functools.wraps(call)
    def translated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return call(*args, **kwargs)
        except (exceptions.RedisError, OSError) as error:
            raise _in_our_words(error) from error

    return translated


def _in_our_words(error: Exception) -> Exception:
    if isinstance(error, exceptions.AuthenticationError):
        return StoreError(f"Redis refused the login ({error}): check HEADWATER_REDIS_URL")
    if isinstance(error, _AWAY):
        return StoreAway(f"Redis doesn't answer ({type(error).__name__}: {error})")
    if isinstance(error, exceptions.ResponseError):
        if any(word in str(error) for word in _PASSING):
            return StoreAway(f"Redis can't take this now: {error}")
        return StoreError(f"Redis refused: {error}")
    return error


class RedisStore:
    """Users, positions and outboxes of one namespace. Safe between threads; connects at the first call."""

    def __init__(self, url: str, namespace: str, *, timeout_s: float = 10.0) -> None:
        """`url`: redis://, rediss:// (TLS) or unix://, with user and password if need be. A cluster is recognised."""
        self._url, self._namespace, self._timeout_s = url, namespace, timeout_s
        self._client: Any = None
        self._lines: Lines | None = None  # to a server that is no cluster
        self._load, self._save, self._confirm = map(_Script, ("load.lua", "save.lua", "confirm.lua"))

    @_translated
    def position(self, partition: int) -> Position | None:
        words = self._connected().hmget(f"{self._tag(partition)}:position", "offset", "note", "token", "appended")
        return _position(words)

    @_translated
    def load(self, partition: int, user_ids: Sequence[str]) -> Loaded:
        return _loaded(user_ids, self._run(self._load, self._load_keys(partition, user_ids), ()))

    @_translated
    def ask(self, partition: int, user_ids: Sequence[str]) -> Asked:
        client = self._connected()
        if isinstance(client, redis.RedisCluster):  # its connections lie with its nodes
            return Answered(self.load(partition, user_ids))
        keys = self._load_keys(partition, user_ids)
        connection = client.connection_pool.get_connection()
        asked = _Asked(client.connection_pool, connection, user_ids, functools.partial(self.load, partition, user_ids))
        try:
            connection.send_command("EVALSHA", self._load.sha, len(keys), *keys)
        except BaseException:
            asked.drop()
            raise
        return asked

    def _load_keys(self, partition: int, user_ids: Sequence[str]) -> list[str]:
        tag = self._tag(partition)
        return [f"{tag}:position", *[f"{tag}:u:{user_id}" for user_id in user_ids]]

    @_translated
    def save(
        self,
        partition: int,
        expected: int | None,
        new: int,
        users: Mapping[str, Mapping[str, bytes] | None],
        outbox: Sequence[bytes] = (),
        *,
        note: bytes = b"",
        token: bytes = b"",
    ) -> int:
        save = Save(partition, expected, new, users, outbox, note, token)
        return _sequence(save, self._run(self._save, *self._words(save)))

    @_translated
    def save_all(self, saves: Sequence[Save]) -> list[int | StoreError]:
        found: list[int | StoreError] = []
        for save, answer in zip(saves, self._run_all(self._save, list(map(self._words, saves))), strict=True):
            try:
                found.append(_sequence(save, answer))
            except StoreAway:
                raise
            except StoreError as error:
                found.append(error)
        return found

    def _words(self, save: Save) -> tuple[list[str], tuple[Any, ...]]:
        """Keys and arguments of the script."""
        tag = self._tag(save.partition)
        prefix = f"{tag}:u:"
        keys = [f"{tag}:position", f"{tag}:outbox", *[prefix + user_id for user_id in save.users]]
        rows = [[word for pair in fields.items() for word in pair] if fields else () for fields in save.users.values()]
        # the server's decoder knows the old types only
        batch = msgpack.packb((save.outbox, rows), use_bin_type=False)
        return keys, ("" if save.expected is None else save.expected, save.new, save.note, save.token, batch)

    @_translated
    def pending(self, partition: int) -> list[Entry]:
        # both in one script-free transaction: the position tells the sequence number of the last entry
        tag = self._tag(partition)
        with self._connected().pipeline(transaction=True) as pipe:
            pipe.hget(f"{tag}:position", "appended").lrange(f"{tag}:outbox", 0, -1)
            appended, payloads = pipe.execute()
        first = int(appended or 0) - len(payloads) + 1
        return [Entry(first + at, payload) for at, payload in enumerate(payloads)]

    def confirm(self, partition: int, upto: int) -> None:
        self.confirm_all({partition: upto})

    @_translated
    def confirm_all(self, upto: Mapping[int, int]) -> None:
        tags = [(self._tag(partition), sequence) for partition, sequence in upto.items()]
        calls = [([f"{tag}:position", f"{tag}:outbox"], (sequence,)) for tag, sequence in tags]
        for answer in self._run_all(self._confirm, calls):
            if isinstance(answer, Exception):
                raise _in_our_words(answer)

    @_translated
    def read_user(self, user_id: str, partitions: int) -> dict[bytes, bytes]:
        key = f"{self._tag(partition_of(user_id, partitions))}:u:{user_id}"
        return dict(self._connected().hgetall(key))

    @_translated
    def users(self, partition: int) -> Iterable[str]:
        prefix = f"{self._tag(partition)}:u:"
        pattern = "".join(f"[{letter}]" if letter in "*?[" else letter for letter in prefix) + "*"
        keys = self._connected().scan_iter(match=pattern, count=1000)
        return sorted({key.decode()[len(prefix) :] for key in keys})

    @_translated
    def ping(self) -> None:
        """Raises StoreAway unless Redis answers."""
        self._connected().ping()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def _tag(self, partition: int) -> str:
        return f"{{{self._namespace}:{partition}}}"

    def _connected(self) -> Any:
        if self._client is None:
            # one quick retry mends a connection that an idle timeout or a restart closed; beyond that the caller waits
            options: dict[str, Any] = {
                "socket_timeout": self._timeout_s,
                "socket_connect_timeout": min(self._timeout_s, 5.0),
                "socket_keepalive": True,
                "retry": Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.1), 1),
            }
            client = redis.Redis.from_url(self._url, **options)
            if client.info("cluster").get("cluster_enabled"):
                client.close()
                self._client = redis.RedisCluster.from_url(self._url, **options)
            else:
                self._lines, self._client = Lines(client.connection_pool), client
        return self._client

    def _run(self, script: _Script, keys: Sequence[str], words: Sequence[Any]) -> Any:
        (answer,) = self._run_all(script, [(keys, words)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _run_all(self, script: _Script, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """For each (keys, arguments) the answer, or the exception that it came to. A cluster is asked call by call, as
        its keys lie on several nodes."""
        client = self._connected()
        if self._lines is None:
            return [self._run_on_cluster(client, script, *call) for call in calls]
        answers = self._lines.exchange([("EVALSHA", script.sha, len(keys), *keys, *words) for keys, words in calls])
        for at, (keys, words) in enumerate(calls):
            if isinstance(answers[at], exceptions.NoScriptError):  # a new server; from now on it knows it
                answers[at] = client.eval(script.text, len(keys), *keys, *words)
        return answers

    def _run_on_cluster(self, client: Any, script: _Script, keys: Sequence[str], words: Sequence[Any]) -> Any:
        try:
            return client.evalsha(script.sha, len(keys), *keys, *words)
        except exceptions.NoScriptError:  # a new node
            return client.eval(script.text, len(keys), *keys, *words)


class _Asked:
    """A load on a connection of its own. What the server has answered waits in its buffers and the network's: reading
    it by and by on another thread would take Python's lock from a step a hundred times. `again`: the whole load, for a
    server that does not know the script yet."""

    def __init__(self, pool: Any, connection: Any, user_ids: Sequence[str], again: Callable[[], Loaded]) -> None:
        self._pool, self._connection, self._user_ids, self._again = pool, connection, user_ids, again

    def ready(self) -> bool:
        try:
            return bool(self._connection.can_read(0))
        except (exceptions.RedisError, OSError):
            return True

    @_translated
    def answer(self, within_s: float) -> Loaded:
        try:
            if not self._connection.can_read(within_s):
                raise exceptions.TimeoutError(f"no answer within {within_s:.0f} s")
            words = self._connection.read_response()
        except exceptions.NoScriptError:
            self._give_back()
            return self._again()
        except exceptions.ResponseError:
            self._give_back()
            raise
        except BaseException:
            self.drop()
            raise
        self._give_back()
        return _loaded(self._user_ids, words)

    def drop(self) -> None:
        self._give_back(whole=False)

    def _give_back(self, *, whole: bool = True) -> None:
        """`whole`: nothing of the answer is still to come. Once; others may ask for it at the same time."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if not whole:
                connection.disconnect()
            self._pool.release(connection)


def _loaded(user_ids: Sequence[str], words: Any) -> Loaded:
    """The script's answer."""
    position, *found = words
    users = {}
    for user_id, fields in zip(user_ids, found, strict=True):
        if fields:
            pairs = iter(fields)
            users[user_id] = dict(zip(pairs, pairs, strict=True))
    return _position(position), users


def _sequence(save: Save, answer: Any) -> int:
    """What the script's answer says. Raises Fenced, StoreAway, StoreError."""
    if isinstance(answer, Exception):
        raise _in_our_words(answer) from answer
    done, told = answer
    if not done:
        raise Fenced(save.partition, save.expected, int(told) if told else None)
    return int(told)


def _position(words: Sequence[bytes | None]) -> Position | None:
    offset, note, token, appended = words
    if offset is None:
        return None
    return Position(int(offset), note or b"", token or b"", int(appended or 0))
