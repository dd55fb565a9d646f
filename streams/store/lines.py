"""Lines to one Redis server: several commands and their answers in one turn, on connections that stay at hand.

redis-py's own pipeline keeps accounts of every call (its connections, its duration, its retries) and looks at the
socket before it sends. With Python's lock wanted by a step at the same time that was most of what a save cost. Made of
redis-py's connections all the same: their login, TLS, timeouts and retries are theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis import exceptions


class Lines:
    """Safe between threads: as many connections as there are calls at the same time. `pool`: a redis.ConnectionPool,
    which closes them."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self._idle: list[Any] = []

    def exchange(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """The answer to each command, or the ResponseError that it is. A connection that broke while it was idle is
        made anew and everything sent once more, so commands have to bear that. Raises redis-py's other errors."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._pool.get_connection()
        try:
            packed = connection.pack_commands(commands)

            def turn() -> list[Any]:
                connection.send_packed_command(packed)
                return [_answer(connection) for _ in commands]

            answers: list[Any] = connection.retry.call_with_retry(turn, lambda _: connection.disconnect())
            if connection.should_reconnect():  # the server has said that it goes
                connection.disconnect()
        except BaseException:
            connection.disconnect()  # an answer may still be on its way
            raise
        finally:
            self._idle.append(connection)  # last: from here on it is another thread's
        return answers


def _answer(connection: Any) -> Any:
    try:
        return connection.read_response()
    except exceptions.ResponseError as error:
        return error
