"""The host's settings, read from Django's `LANGBOT` dict, with defaults and limits.

Our own project fills the dict from the environment (`langbot.env`); another project
writes it in its settings module. Every bound number of the host is in this file.
"""

from functools import lru_cache
from pathlib import Path
from typing import Self

from django.conf import settings
from django.core.signals import setting_changed
from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, model_validator

DEEPEST_SUB_RUN = 3  # AG-28; the table refuses more
_SDK_SLOTS = 128  # requests at once (wire 2.5)


class Limits(BaseModel):
    """Times in seconds, sizes in bytes. Order is checked (C-07)."""

    model_config = ConfigDict(frozen=True)

    tool_call_seconds: int = 170  # below the SDK's 180 s call timeout (wire 2.9)
    sub_run_wait_seconds: int = 160  # of one tool call that asks another agent
    approval_wait_seconds: float = 150.0  # inside calls of one invocation, in all
    plugin_extra_seconds: float = 180.0  # a plugin's deadline is later by these then
    parked_seconds: int = 24 * 3600  # LH-11; an approval expires after these
    question_seconds: int = 1800  # wire 6, unless the runner says when
    idle_seconds: int = 600  # AG-52
    run_seconds: int = 300  # LB-34
    run_seconds_maximum: int = 3600  # AG-25
    deadline_grace_seconds: float = 2.0  # wire 5: the plugin ends itself first
    cancel_grace_seconds: float = 1.5  # cooperative runners poll every 0.5 s (wire 5)
    cancel_finalise_seconds: float = 5.0  # AG-35
    offline_wait_seconds: float = 60.0  # architecture 3
    follow_ups: int = 10  # AG-04
    steered: int = 100  # messages that wait to be pulled by one run (LB-83)
    follow_ups_per_minute: int = 30  # AG-08, of one person
    follow_up_characters: int = 32_000  # AG-05
    runs_per_connection: int = 100  # of the SDK's 128 slots (wire 2.5)
    sub_runs_per_connection: int = 8  # more for each depth of sub-runs
    worker_runs: int = 1000
    # Host calls. A local-agent run of two turns makes about 60 (wire 7), most of them
    # count_tokens in bursts; a connection carries 100 runs. What is far beyond that is
    # a loop in the plugin (LB-71).
    run_calls_per_second: int = 200
    run_calls_burst: int = 1000
    plugin_calls_per_second: int = 2000  # of one connection
    plugin_calls_burst: int = 20_000
    state_value_bytes: int = 256 * 1024  # LB-58
    history_page: int = 100  # LB-73
    transcript_characters: int = 4000  # LB-90
    summary_characters: int = 1000  # LB-88
    history_search: int = 50  # the most results of one search
    storage_value_bytes: int = 10 * 1024 * 1024  # wire 6
    storage_bytes: int = 100 * 1024 * 1024  # of one plugin in one workspace
    storage_keys: int = 1000
    artifact_read_bytes: int = 10 * 1024 * 1024  # of one read (LB-76)
    upload_bytes: int = 50 * 1024 * 1024  # of one file that REST takes
    run_artifacts: int = 100  # files that one run makes
    run_text_characters: int = 2 * 1024 * 1024  # what all messages of a run say
    run_event_bytes: int = 16 * 1024 * 1024  # the data of all events of a run
    rerank_documents: int = 64  # LB-72
    # Money, in microdollars. The base limits of a person apply where a quota for
    # people names no amount (AG-86); a reserve is what one call may take at most
    # before its cost is known.
    person_daily_microdollars: int = 1_000_000  # AG-86
    person_weekly_microdollars: int = 5_000_000  # AG-86
    call_reserve_microdollars: int = 10_000  # where no price tells more
    call_reserve_tokens: int = 4096  # of an answer that names no maximum
    claim_check_bytes: int = 256 * 1024
    inbound_bytes: int = 8 * 1024 * 1024
    inbound_entries: int = 2000
    live_entries: int = 2000
    node_inbox_bytes: int = 64 * 1024 * 1024  # of frames that one web node has to send
    heartbeat_seconds: float = 2.0
    node_dead_seconds: float = 6.0
    adoption_seconds: float = 1.0
    poll_seconds: float = 2.0
    connection_life_seconds: int = 30

    @model_validator(mode="after")
    def _order(self) -> Self:
        order = [
            self.tool_call_seconds,
            self.run_seconds,
            self.idle_seconds,
            self.run_seconds_maximum,
        ]
        if order != sorted(order):
            message = "tool call < default run < idle < longest run must hold"
            raise ValueError(message)
        waiting = [self.approval_wait_seconds, self.plugin_extra_seconds]
        if self.approval_wait_seconds >= self.tool_call_seconds or waiting != sorted(
            waiting
        ):
            message = "approval wait < tool call, and at most what plugins get on top"
            raise ValueError(message)
        if self.sub_run_wait_seconds >= self.tool_call_seconds:
            message = "a wait for another agent < the tool call that waits"
            raise ValueError(message)
        most = self.runs_per_connection + DEEPEST_SUB_RUN * self.sub_runs_per_connection
        if self.sub_runs_per_connection < 1 or most >= _SDK_SLOTS:
            message = "runs and sub-runs of a connection < the SDK's 128 slots"
            raise ValueError(message)
        if self.node_dead_seconds <= 2 * self.heartbeat_seconds:
            message = "a node is dead after more than two missed heartbeats"
            raise ValueError(message)
        if self.connection_life_seconds <= 2 * self.heartbeat_seconds:
            message = "a connection lives longer than two missed heartbeats"
            raise ValueError(message)
        return self


class FirstModel(BaseModel):
    """A model provider that first run creates; empty key means the offline demo."""

    model_config = ConfigDict(frozen=True)

    base_url: str = ""
    api_key: str = ""
    model: str = ""


class HostSettings(BaseModel):
    """What a project may set; see `docs/settings.md`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redis_url: str = "redis://127.0.0.1:6379/0"
    redis_prefix: str = "langbot:"
    celery_app: str = ""  # dotted path; empty means Celery's current app
    data_dir: Path = Path("data")
    secret_keys: list[str] = []
    secret_keys_file: Path | None = None  # read where `secret_keys` is empty
    outbound_allow: list[str] = []
    public_url: str = "http://127.0.0.1:8000"
    metrics_allow: list[IPvAnyNetwork] = []  # who reads /metrics without a token
    audit_days: int = Field(default=0, ge=0)  # 0 keeps the audit log for good
    first_model: FirstModel = FirstModel()
    limits: Limits = Limits()


@lru_cache(maxsize=1)
def conf() -> HostSettings:
    """Return the validated settings; raises pydantic's error for a wrong one."""
    given = getattr(settings, "LANGBOT", {})
    return HostSettings(**{key.lower(): value for key, value in given.items()})


@lru_cache(maxsize=1)  # asked for with every frame
def limits() -> Limits:
    """Return the bound numbers."""
    return conf().limits


def _forget(*, setting: str, **_: object) -> None:
    if setting == "LANGBOT":
        conf.cache_clear()
        limits.cache_clear()


setting_changed.connect(_forget)
