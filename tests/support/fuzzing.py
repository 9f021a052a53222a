"""Runs schemathesis over the API of a running host."""

import subprocess
import sys
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[1] / "schemathesis.toml"


def fuzz(url, token, *options, timeout_seconds=1800):
    """Try the whole API with every check; returns (exit code, report)."""
    command = [
        *(str(Path(sys.executable).with_name("st")), "--config-file", str(CONFIG)),
        *("run", f"{url}/api/v1/schema/?format=json", "--checks", "all"),
        *("--header", f"Authorization: Bearer {token}", "--continue-on-failure"),
        *("--request-timeout", "30", "--no-color", "--warnings", "off"),
        # Ids with slashes are hard to make up.
        *("--suppress-health-check", "filter_too_much,too_slow"),
        *options,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_seconds, check=False
    )
    return done.returncode, done.stdout + done.stderr


if __name__ == "__main__":  # make fuzz
    from tests.support.host import RunningHost

    with RunningHost() as running:
        print("Fuzzing", running.url, "…", flush=True)  # noqa: T201  a command
        code, report = fuzz(
            running.url, running.secrets["api_token"], "--max-examples", "30"
        )
        print(report)  # noqa: T201  as above
        running.assert_no_tracebacks()
    sys.exit(code)
