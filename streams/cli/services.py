"""`headwater up` and `headwater doctor`: run everything on this machine, and say what is in the way of it."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any, NoReturn

import typer


def register(app: typer.Typer) -> None:
    app.command("up")(up)
    app.command("doctor")(doctor)


def up(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON once everything is ready.")] = False,
    no_learner: Annotated[
        bool, typer.Option("--no-learner", help="Hold learning still: no statistics, no new releases.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="Worker processes; default: HEADWATER_WORKERS.")
    ] = None,
) -> None:
    """Start Kafka, Redis and all roles, and keep them running until Ctrl-C or SIGTERM.

    A Kafka or Redis of your own is used, and none started, where HEADWATER_KAFKA_BOOTSTRAP_SERVERS or
    HEADWATER_REDIS_URL is set. State lies under HEADWATER_DATA_DIR; the next start resumes it.

    Example: `headwater up --json --workers 2`
    """
    if sys.platform == "win32":
        _fail("Headwater runs on Linux and macOS. On Windows, run it in WSL or a container.")
    from streams.embedded.errors import ServiceError
    from streams.kafka.clients import KafkaUnreachable
    from streams.kafka.topics import WrongTopics
    from streams.observe import logs
    from streams.supervisor import NotReady, Stopped, Supervisor, stop_signals

    settings = _settings()
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    logs.configure(settings.log_level, settings.log_format, role="supervisor")
    with stop_signals():
        try:
            Supervisor(settings, learner=not no_learner).run(_report_json if as_json else _report)
        except Stopped:
            pass
        except (ServiceError, NotReady, KafkaUnreachable, WrongTopics) as error:
            _fail(str(error))


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the settings in force and what is wrong with this machine; exits with 1 if anything is.

    Example: `headwater doctor --json | jq '.checks[] | select(.state == "wrong")'`
    """
    from streams.doctor import examine, unknown_variables

    settings = _settings()
    checks = [*unknown_variables(), *examine(settings)]
    wrong = [check for check in checks if check.state == "wrong"]
    shown = settings.model_dump(mode="json")
    if as_json:
        print(json.dumps({"ok": not wrong, "settings": shown, "checks": [check.as_dict() for check in checks]}))
    else:
        _show(shown, settings.model_fields_set, checks)
    raise typer.Exit(1 if wrong else 0)


def _settings() -> Any:
    """The settings, or an end with what is wrong with them; no value is shown, as it may be a secret."""
    from pydantic import ValidationError

    from streams.settings import Settings

    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"HEADWATER_{'__'.join(map(str, one['loc'])).upper()}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        ]
        _fail("Settings that cannot be used (environment or headwater.toml):\n" + "\n".join(lines))


def _fail(message: str) -> NoReturn:
    typer.secho(message, err=True, fg="red" if sys.stderr.isatty() else None)
    raise typer.Exit(1)


def _report_json(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _report(line: dict[str, Any]) -> None:
    from streams.embedded.services import without_password

    print(f"Headwater is ready (namespace {line['namespace']}).")
    print(f"  Kafka    {line['kafka']}\n  Redis    {without_password(line['redis'])}\n  Console  {line['console']}")
    print("  " + ", ".join(f"{role} {' '.join(map(str, pids))}" for role, pids in line["pids"].items()))
    print("Ctrl-C stops everything.", flush=True)


def _show(shown: dict[str, Any], chosen: set[str], checks: list[Any]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def table(title: str, *columns: str) -> Table:
        made = Table(title=title, title_justify="left", box=box.SIMPLE)
        for column in columns:
            made.add_column(column, overflow="fold")
        return made

    settings = table("Settings in force", "setting", "value", "")
    for name, value in shown.items():
        rows = value.items() if isinstance(value, dict) else [("", value)]
        for inner, one in rows:
            variable = f"HEADWATER_{name.upper()}" + (f"__{inner.upper()}" if inner else "")
            text = "" if one is None else str(one)
            settings.add_row(Text(variable), Text(text), "set" if name in chosen else "default")
    findings = table("Checks", "", "check", "found, and what to do")
    colours = {"ok": "green", "note": "yellow", "wrong": "red"}
    for check in checks:
        found = Text.assemble(check.found, *([("\n" + check.remedy, "italic")] if check.remedy else []))
        findings.add_row(Text(check.state, colours[check.state]), check.name, found)
    console = Console()
    console.print(settings)
    console.print(findings)
