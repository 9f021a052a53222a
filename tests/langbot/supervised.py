"""A supervisor of small children instead of the real ones: `name=script` arguments."""

import sys
from pathlib import Path

from langbot import supervisor
from langbot.lib.log_files import DailyFile


class SmallSupervisor(supervisor.Supervisor):
    scripts: list[str] = []

    def prepare_database(self, environment):
        pass

    def add_processes(self, environment):
        for script in self.scripts:
            name, _, code = script.partition("=")
            command = [sys.executable, "-uc", code]
            log = DailyFile(self.options.data_dir / "logs", name)
            child = supervisor.Child(name, command, environment, log=log)
            self.children.append(child)


if __name__ == "__main__":
    supervisor.STOP_SECONDS = 1.0
    data_dir, port, *SmallSupervisor.scripts = sys.argv[1:]
    arguments = ["--data-dir", str(Path(data_dir)), "--port", port]
    arguments.append("--bundled-valkey")
    sys.exit(supervisor.main(arguments, SmallSupervisor))
