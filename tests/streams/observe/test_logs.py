"""Logs name nobody and repeat nothing that was said. Run in a process of their own, as a role runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

SET_UP = """
import logging, structlog, warnings
from streams.observe import logs
logs.configure({level!r}, {format!r}, role="worker", instance="worker-0")
log = structlog.get_logger("t")
"""


def lines(code: str, level: str = "info", format: str = "json") -> list[dict[str, Any]]:
    ran = subprocess.run(
        [sys.executable, "-c", SET_UP.format(level=level, format=format) + code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ran.stdout == "", "stdout belongs to data"
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_a_user_id_becomes_a_pseudonym_that_stays_the_same() -> None:
    first, second, other = lines(
        'log.info("a", user_id="anna"); log.warning("b", user_id="anna", users=["anna", "ben"])\n'
        'log.info("c", user_id="ben")'
    )
    assert "anna" not in json.dumps([first, second, other])
    assert first["user_id"] == second["user_id"] == second["users"][0]
    assert other["user_id"] == second["users"][1] != first["user_id"]


def test_texts_are_left_out_at_info_and_above_and_shown_at_debug() -> None:
    said = 'log.{}("worker.said", text="my secret", query="gift for Eve", value={{"text": "my secret"}}, records=3)'
    (quiet,) = lines(said.format("info"))
    assert "secret" not in json.dumps(quiet)
    assert "Eve" not in json.dumps(quiet)
    assert (quiet["event"], quiet["records"]) == ("worker.said", 3)
    (loud,) = lines(said.format("debug"), level="debug")
    assert loud["text"] == "my secret"


def test_a_traceback_shows_where_and_not_what_was_in_the_variables() -> None:
    (line,) = lines(
        'def f(said):\n  raise ValueError("broken")\n'
        'try:\n  f("my secret")\nexcept ValueError:\n  log.exception("t.failed")'
    )
    assert line["exception"][0]["exc_value"] == "broken"
    assert "my secret" not in json.dumps(line)


def test_libraries_speak_from_warning_on_in_the_same_form() -> None:
    shown = lines(
        'logging.getLogger("aiokafka.consumer").info("hm"); logging.getLogger("faust").warning("watch %s", "out")'
    )
    assert [(line["event"], line["level"], line["role"]) for line in shown] == [("watch out", "warning", "worker")]


def test_a_library_that_repeats_itself_is_heard_once_and_we_each_time() -> None:
    shown = lines('kafka = logging.getLogger("kafka")\nfor n in range(50): kafka.error("away"); log.error("ours")')
    assert [line["event"] for line in shown].count("away") == 1
    assert [line["event"] for line in shown].count("ours") == 50


def test_nothing_below_the_level_is_written() -> None:
    assert lines('log.info("a"); log.error("b")', level="error")[0]["event"] == "b"


def test_without_a_terminal_auto_means_json() -> None:
    assert lines('log.info("a")', format="auto")[0]["instance"] == "worker-0"
