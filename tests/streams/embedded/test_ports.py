"""The usual port if it is free, else another one, and an error only where the port was demanded."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from streams.embedded import ports
from streams.embedded.errors import PortTaken


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def taken(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port on which something listens, on the loopback address or on all."""
    with socket.socket() as listener:
        listener.bind((request.param, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_free_port_is_taken_as_preferred():
    port = ports.any_free()
    assert ports.choose(port, demanded=True, service="Kafka", setting="HEADWATER_KAFKA_PORT") == port


def test_another_port_is_chosen_where_the_preferred_one_is_taken(taken):
    other = ports.choose(taken, demanded=False, service="Kafka", setting="HEADWATER_KAFKA_PORT")
    assert other != taken
    assert ports.is_free(other)


def test_a_demanded_port_that_is_taken_is_an_error_that_names_the_setting(taken):
    with pytest.raises(PortTaken) as caught:
        ports.choose(taken, demanded=True, service="Kafka", setting="HEADWATER_KAFKA_PORT")
    assert str(taken) in caught.value.problem
    assert "HEADWATER_KAFKA_PORT" in caught.value.remedy


def test_zero_means_any_port():
    assert ports.choose(0, demanded=True, service="Kafka", setting="HEADWATER_KAFKA_PORT") > 0


def test_a_port_closed_a_moment_ago_is_free_again():
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as Kafka and Redis do
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            listener.accept()[0].close()  # the server closes first, so its side stays in TIME_WAIT
    assert ports.is_free(port)
