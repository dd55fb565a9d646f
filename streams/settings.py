"""Every setting of Headwater, in one place.

Read, in rising order of precedence: the defaults below, a TOML file (`headwater.toml` in the working folder, or the
path in `HEADWATER_CONFIG`), the environment (`HEADWATER_<NAME>`, nested with `__`). `headwater doctor` prints what is
in force. Nothing below `streams` reads a setting: the core takes what it needs as arguments (`recsys.policy.Policy`).
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from recsys.policy import Policy


class Learning(BaseModel):
    """What the learner's model lanes obey."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: bool = Field(True, description="learn a ranker and a sequence model; off: statistics alone")
    interval_ms: int = Field(2000, ge=100, description="least time between two releases of the ranker")
    sequence_interval_s: float = Field(6, gt=0, description="least time between two releases of the user side")
    adapter_interval_s: float = Field(60, gt=0, description="least time between two releases of the item side")
    encoder: Literal["auto", "on", "off"] = Field("auto", description="tune the text encoder; auto: where a GPU is")
    users: int = Field(50_000, ge=1, description="users whose evidence the learner keeps")
    choices_per_s: int = Field(150, ge=1, description="most choices of the whole catalogue that are learnt from")
    checkpoint_s: float = Field(30, gt=0, description="how often the learner's state is written down")
    canary_share: float = Field(
        0, ge=0, le=0.5, description="users that a release which passed the gate serves first; 0: it serves all at once"
    )
    canary_outcomes: int = Field(
        200, ge=10, description="recommendations of a canary that have to be settled before it may serve all"
    )
    canary_settled_s: float = Field(60, gt=0, description="how long a canary's recommendation waits for an act")
    canary_limit_s: float = Field(
        1800, gt=0, description="most time of a canary: then it serves all, unless its users earn a tenth less or more"
    )
    slower_at_most: float = Field(
        2, gt=1, description="a release whose forward pass takes more than so many times as long does not serve"
    )
    screen: bool = Field(True, description="hold back what one user or one item could move too far")


class Settings(BaseSettings):
    """All of Headwater's settings; immutable once read."""

    model_config = SettingsConfigDict(env_prefix="HEADWATER_", env_nested_delimiter="__", frozen=True, extra="ignore")

    namespace: str = Field("headwater", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="prefix of topics and keys")
    data_dir: Path = Field(Path(".headwater"), description="the one folder of all local state")
    cache_dir: Path = Field(Path("~/.cache/headwater"), description="Kafka's jars, shared by all data folders")

    # services -------------------------------------------------------------------------------------------------
    kafka_bootstrap_servers: str | None = Field(None, description="your own Kafka; unset: an embedded one is started")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: str | None = None
    kafka_sasl_username: str | None = None
    kafka_sasl_password: SecretStr | None = None
    kafka_ssl_ca_location: Path | None = None
    kafka_ssl_certificate_location: Path | None = None
    kafka_ssl_key_location: Path | None = None
    kafka_ssl_key_password: SecretStr | None = None
    kafka_partitions: int = Field(4, ge=1, le=4096, description="partitions of topics that Headwater creates")
    kafka_replication: int = Field(1, ge=1, le=9)
    kafka_port: int = Field(9092, ge=0, le=65535, description="port of the embedded broker; unset: 9092 or a free one")
    kafka_heap_mb: int = Field(512, ge=128, description="most Java heap of the embedded broker, in MB")
    redis_url: SecretStr | None = Field(None, description="your own Redis; unset: an embedded one is started")
    redis_port: int = Field(6379, ge=0, le=65535, description="port of the embedded Redis; unset: 6379 or a free one")
    releases_url: str | None = Field(
        None, description="where releases are stored (fsspec URL); default: data_dir/releases"
    )

    # processes ------------------------------------------------------------------------------------------------
    workers: int = Field(1, ge=1, le=64, description="worker processes that `headwater up` starts")
    worker_id: str = Field("worker-0", description="static membership id; one per worker of a namespace")
    host: str = Field("127.0.0.1", description="address on which health and metrics are served")
    console_port: int = Field(8080, ge=0, le=65535, description="port of the console; unset: 8080 or a free one")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    # intake ---------------------------------------------------------------------------------------------------
    max_record_bytes: int = Field(1 << 20, ge=1024, description="larger records are dead letters")
    batch_records: int = Field(8000, ge=1, le=10_000, description="most records in one step; fewer if they are dear")
    fetch_together_ms: int = Field(
        5, ge=0, le=1000, description="how long the broker may hold events back to send a worker several; 0: not at all"
    )
    user_cache: int = Field(20_000, ge=0, description="users a worker keeps decoded in memory")
    world_refresh_ms: int = Field(250, ge=10, description="least time between two Worlds of a worker")
    statistics_interval_ms: int = Field(1000, ge=50, description="how often the statistics lane publishes")

    # models ---------------------------------------------------------------------------------------------------
    encoder: str = Field("packaged", description="`packaged` (all-MiniLM-L6-v2), a path, a hub name, or `none`")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where scoring, search and encoding run")
    torch_threads: int = Field(1, ge=1)
    background_nice: int = Field(
        5, ge=0, le=19, description="niceness of learner and encoder: workers on the same cores go first"
    )

    # learning -------------------------------------------------------------------------------------------------
    learning: Learning = Learning()

    # behaviour: what the pure step needs ----------------------------------------------------------------------
    policy: Policy = Policy()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = Path(os.environ.get("HEADWATER_CONFIG", "headwater.toml"))
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path))

    @property
    def releases_location(self) -> str:
        return self.releases_url or (self.data_dir.resolve() / "releases").as_uri()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings in force for this process."""
    return Settings()
