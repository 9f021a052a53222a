"""The only reader of the environment. Typed, checked at import, one documented table.

Any variable may be given as `<NAME>_FILE`, the path of a file that holds its value;
a named file that is missing is an error, never an empty secret.
"""

import os
import secrets
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pydantic import BaseModel, Field, ValidationError


class Environment(BaseModel):
    """Every variable the project reads, with its default."""

    langbot_data_dir: Path = Field(
        default=Path("data"), description="Database, artifacts, logs and keys."
    )
    host: str = Field(default="127.0.0.1", description="Address the web binds.")
    port: int = Field(default=8000, description="Port of the web process.")
    database_url: str = Field(
        default="", description="postgresql://…; empty means SQLite in the data dir."
    )
    redis_url: str = Field(
        default="", description="redis://… or unix://…; empty means bundled Valkey."
    )
    secret_key: str = Field(
        default="", description="Django's key; empty means one kept in the data dir."
    )
    langbot_secret_keys: str = Field(
        default="",
        description="Comma-separated Fernet keys, newest first; empty: data dir.",
    )
    debug: bool = Field(default=False, description="Django's debug pages.")
    allowed_hosts: str = Field(
        default="127.0.0.1,localhost,[::1]", description="Comma-separated host names."
    )
    csrf_trusted_origins: str = Field(
        default="", description="Comma-separated origins with scheme."
    )
    langbot_public_url: str = Field(
        default="", description="How people reach the web; used in links."
    )
    langbot_https: bool = Field(
        default=False, description="Secure cookies, HSTS, proxy header."
    )
    langbot_outbound_allow: str = Field(
        default="",
        description="Comma-separated private hosts and CIDRs we may call.",
    )
    langbot_rate_messages: str = Field(
        default="6000/min", description="Messages of one user by REST; empty: any."
    )
    langbot_rate_writes: str = Field(
        default="6000/min", description="Other changes of one user by REST."
    )
    langbot_audit_days: int = Field(
        default=0, ge=0, description="Days that audit entries are kept; 0: for good."
    )
    langbot_metrics_allow: str = Field(
        default="",
        description="Comma-separated addresses and CIDRs that may read /metrics.",
    )
    langbot_runners: str = Field(
        default="", description="Comma-separated dotted paths of your runners."
    )
    log_level: str = Field(default="INFO", description="Lowest level logged.")
    log_json: bool = Field(default=False, description="JSON lines on the console.")
    language_code: str = Field(default="en", description="en or zh-hans.")
    time_zone: str = Field(default="UTC", description="How the admin shows times.")
    email_host: str = Field(
        default="", description="SMTP server of notifications; empty: no mail."
    )
    email_port: int = Field(default=587, description="Its port.")
    email_host_user: str = Field(default="", description="Its account, if any.")
    email_host_password: str = Field(default="", description="Its password.")
    email_use_tls: bool = Field(default=True, description="STARTTLS, as on port 587.")
    email_use_ssl: bool = Field(
        default=False, description="TLS from the first byte, as on port 465."
    )
    default_from_email: str = Field(
        default="", description="Sender of mails; without one none are sent."
    )
    openai_base_url: str = Field(
        default="", description="First-run model: an OpenAI-compatible endpoint."
    )
    openai_api_key: str = Field(default="", description="First-run model: its key.")
    openai_model: str = Field(default="", description="First-run model: its name.")

    @property
    def data_dir(self) -> Path:
        """The data folder as an absolute path."""
        return self.langbot_data_dir.expanduser().resolve()


def read_environment(source: dict[str, str] | None = None) -> Environment:
    """Validate the environment; raises ImproperlyConfigured naming the variable."""
    variables = dict(os.environ if source is None else source)
    values: dict[str, Any] = {}
    for name in Environment.model_fields:
        value = _value_of(name.upper(), variables)
        if value is not None:
            values[name] = value
    try:
        return Environment(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]).upper()
        message = f"environment variable {name}: {problem['msg']}"
        raise ImproperlyConfigured(message) from None


def _value_of(name: str, variables: dict[str, str]) -> str | None:
    path = variables.get(f"{name}_FILE")
    if path is None:
        return variables.get(name)
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"environment variable {name}_FILE: {error.strerror}: {path}"
        raise ImproperlyConfigured(message) from None


def words(value: str) -> list[str]:
    """Split a comma-separated value, dropping blanks."""
    return [word.strip() for word in value.split(",") if word.strip()]


def kept_address(path: Path, default: str) -> str:
    """Return the address that the supervisor left in `path` while it runs."""
    return path.read_text(encoding="utf-8").strip() if path.exists() else default


def kept_secret(path: Path, make: str) -> str:
    """Return the secret in `path`, creating it (mode 0600) on first use.

    `make` is `django` or `fernet`. Safe when two processes start at once: the file
    appears whole under its name or not at all, and the first one wins.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        value = (
            Fernet.generate_key().decode()
            if make == "fernet"
            else secrets.token_urlsafe(48)
        )
        draft = path.with_suffix(f".{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(value, encoding="utf-8")
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text(encoding="utf-8").strip()
