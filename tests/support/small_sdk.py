"""A wheel that takes the place of the public SDK where only processes matter.

It is small, so that real builds by pip are quick; `tests/contract/test_packages.py`
does the same with the real one. Its `lbp run` says what it was told, and waits.
"""

import io
import zipfile
from pathlib import Path

_CODE = """
import os, pathlib, sys, time

def main():
    print("told:", " ".join(sorted(os.environ)), flush=True)
    print("my key is", os.environ["PLUGIN_DEBUG_KEY"], flush=True)
    url = os.environ["DEBUG_RUNTIME_WS_URL"]
    print("in", pathlib.Path.cwd().name, "at", url, flush=True)
    if pathlib.Path("crash").exists():
        sys.exit(3)
    time.sleep(600)
"""
_INFO = "langbot_plugin-0.7.18.dist-info"


def write_small_sdk(folder: Path) -> None:
    """Write the wheel into `folder`, for pip's `--find-links`."""
    files = {
        "langbot_plugin/__init__.py": _CODE,
        f"{_INFO}/METADATA": "Metadata-Version: 2.1\nName: langbot-plugin\n"
        "Version: 0.7.18\n",
        f"{_INFO}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\n"
        "Root-Is-Purelib: true\nTag: py3-none-any\n",
        f"{_INFO}/entry_points.txt": "[console_scripts]\nlbp = langbot_plugin:main\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{_INFO}/RECORD"])
    with zipfile.ZipFile(
        folder / "langbot_plugin-0.7.18-py3-none-any.whl", "w"
    ) as wheel:
        for name, content in {**files, f"{_INFO}/RECORD": record}.items():
            wheel.writestr(name, content)


def package_file(
    version: str = "1.0.0", *, name: str = "small", **files: str
) -> io.BytesIO:
    """Return a package of `acme/<name>`; `files` are its members, `__` for a dot."""
    manifest = (
        "apiVersion: v1\nkind: Plugin\n"
        f"metadata: {{author: acme, name: {name}, version: {version}}}\n"
    )
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as package:
        # Without the time of day: equal content makes equal files.
        package.writestr(zipfile.ZipInfo("manifest.yaml"), manifest)
        for member, content in files.items():
            package.writestr(zipfile.ZipInfo(member.replace("__", ".")), content)
    made.seek(0)
    return made
