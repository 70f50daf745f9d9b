"""`tunnel` as a child process: a configuration written to disk, the program run on it, its state asked for.

Every tunnel started here has an admin listener of its own (health and metrics on one port), so that a test
can wait for readiness and read the counters.  Settings are plain mappings in the form of the YAML file.
"""

import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support import procfs
from support.ports import free_port
from support.processes import REPOSITORY, Child, run
from support.scrape import Samples, get, samples
from support.waiting import DEADLINE_SECONDS, eventually, settled

PROGRAM = (sys.executable, "-m", "mtls_tunnel")
ENVIRONMENT = {"PYTHONPATH": str(REPOSITORY / "tunnel"), "PYTHONUNBUFFERED": "1"}
Settings = dict[str, Any]

RELOADED = 'msg="certificates reloaded successfully"'
WATCHED = 'msg="certstore: certificates reloaded successfully"'


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Settings:
    """Lay *over* on *base*: mappings merge, everything else replaces."""
    result = dict(base)
    for key, value in over.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return result


def command(*arguments: str | Path, cwd: Path | None = None, text: str = "") -> Any:
    """Run `tunnel ARGUMENTS` to its end."""
    return run([*PROGRAM, *arguments], cwd=cwd, env=ENVIRONMENT, text=text)


def write_settings(path: Path, settings: Mapping[str, Any]) -> Path:
    """Write *settings* as YAML in one step, as an editor that renames does."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
    return new.rename(path)


class Tunnel(Child):
    """A running tunnel.  Ready when the constructor returns, unless *wait* is false."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        *,
        name: str = "tunnel",
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        wait: bool = True,
    ) -> None:
        self.admin = free_port()
        endpoint = {"enabled": True, "listen": f"127.0.0.1:{self.admin}"}
        self.settings = merged({"health": endpoint, "metrics": endpoint}, settings)
        self.file = write_settings(folder / f"{name}.yaml", self.settings)
        super().__init__([*wrapper, *PROGRAM, "run", "-c", self.file], cwd=folder, env={**ENVIRONMENT, **(env or {})})
        if wait:
            try:
                self.wait_until_serving()
            except BaseException:
                self.stop()
                raise

    @property
    def port(self) -> int:
        """The port of the only tunnel's listener."""
        return int(str(self.settings["listen"]).rpartition(":")[2])

    def wait_until_serving(self) -> None:
        """Wait for the admin listener and for the file watch: mtlsd's order puts both after the listeners."""

        def answers() -> bool:
            if not self.alive:
                raise AssertionError(f"ended while starting\n{self.output}")
            return get(self.admin, "/healthz").status == 200

        eventually(answers, "the health endpoint answers")
        if self.settings.get("logging", {}).get("level", "info") in ("info", "debug"):
            self.wait_for_line("certstore: watching files for changes")

    def rewrite(self, over: Mapping[str, Any]) -> None:
        """Change the configuration file; the tunnel notices by itself."""
        self.settings = merged(self.settings, over)
        write_settings(self.file, self.settings)

    def hang_up(self) -> None:
        """Send SIGHUP and wait until the reload has succeeded."""
        before = self.count(f" {RELOADED}")
        self.signal(signal.SIGHUP)
        self.wait_for_line(f" {RELOADED}", times=before + 1)

    def samples(self) -> Samples:
        return samples(self.admin)

    def value(self, name: str, **labels: str) -> float:
        return self.samples().value(name, **labels)

    def wait_for_value(self, at_least: float, name: str, **labels: str) -> None:
        eventually(lambda: self.value(name, **labels) >= at_least, f"{name} {labels} reaches {at_least}")

    def wait_until_idle(self) -> None:
        eventually(lambda: self.value("mtlsd_active_connections") == 0, "no connection is left")

    @property
    def descriptors(self) -> int:
        return procfs.descriptors(self.pid)

    @property
    def rss_bytes(self) -> int:
        return procfs.rss_bytes(self.pid)

    def wait_for_descriptors(self, at_most: int) -> int:
        return settled(lambda: self.descriptors, at_most, "open descriptors")

    def finish(self, seconds: float = DEADLINE_SECONDS) -> int:
        """Send SIGTERM and wait for its own end."""
        self.signal(signal.SIGTERM)
        return self.wait(seconds)
