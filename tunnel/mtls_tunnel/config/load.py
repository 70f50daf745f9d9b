"""YAML -> `Config`, with all errors of all files at once.

A configuration is one file, or the files of a directory in name order, and beside them perhaps one file with the
sections of the whole process.  Nothing is opened here: whoever calls has read the files.  Whether a certificate
exists or fits is `trust`'s business, whether a port is free the listener's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from mtls_tunnel.config import clashes, sections, yaml_source
from mtls_tunnel.config.clashes import Placed, Port
from mtls_tunnel.config.fields import Section
from mtls_tunnel.config.findings import Findings, Spot, UnknownKey
from mtls_tunnel.config.schema import Config, Expiry, Health, Logging, Metrics
from mtls_tunnel.config.tunnels import PROCESS_WIDE, SHARED, File, tunnels_of
from mtls_tunnel.errors import ConfigError, Problem

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one file.

    `base` is the folder that relative paths in it are joined to; "" keeps them as written.  `default_name` is
    the name of its tunnel when it holds one only and is part of a directory; "" leaves it without a name.
    """

    name: str
    text: str
    base: str = ""
    default_name: str = ""

    @classmethod
    def of(cls, name: str, content: bytes) -> "Source":
        """A file named on the command line; what is not UTF-8 in it is told by `load`."""
        return cls(name, content.decode("utf-8", "surrogateescape"))

    @classmethod
    def of_directory(cls, path: str, content: bytes) -> "Source":
        """A file found in a configuration directory: paths are relative to it, its tunnel is named after it.

        ``DIR/db.yaml`` and ``DIR/db/tunnel.yaml`` are both named db.
        """
        folder, _, file = path.rpartition("/")
        stem = file.rpartition(".")[0] or file
        name = folder.rpartition("/")[2] if stem == "tunnel" and folder else stem
        return cls(path, content.decode("utf-8", "surrogateescape"), folder or ".", name)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and the keys in it that nothing reads."""

    config: Config
    warnings: tuple[UnknownKey, ...]


def load(sources: Sequence[Source], *, process: Source | None = None) -> Loaded:
    """Read *sources* as one configuration; process-wide sections come from *process* first, then in file order.

    Not checked: anything outside the text - files, names, ports.

    Raises:
        ConfigError: with every problem of every file, in file order; unknown keys are problems when
            ``strict`` is set, and are told beside other problems.
    """
    if not sources:
        raise ConfigError(Problem("", "", "no configuration file was found", "name one with -c FILE"))
    findings = Findings()
    wide = [] if process is None else _opened(process, 0, findings)
    files = [file for order, source in enumerate(sources, start=1) for file in _opened(source, order, findings)]
    placed = [one for file in files if not _serves_others(file, len(sources)) for one in tunnels_of(file)]
    for file in wide:
        _refuse_tunnel_keys(file.root)
    roots = [file.root for file in (*wide, *files)]
    config, admin = _config(placed, roots)
    for root in roots:
        root.close(sections.home_of)
    if files and not placed and not findings.are_errors:
        text = "has no tunnel, and no other file has one"
        findings.error(files[0].root.spot, text, "add mode, listen, target and tls")
    clashes.judge(placed, admin, findings)
    return Loaded(config, findings.verdict(strict=config.strict))


def _opened(source: Source, order: int, findings: Findings) -> list[File]:
    """The file, or nothing when it has no top-level mapping."""
    mapping = yaml_source.compose(source.text, Spot(order, source.name), findings)
    return [] if mapping is None else [File(Section(mapping, findings), source.base, source.default_name)]


def _serves_others(file: File, count: int) -> bool:
    """Whether a file of a directory holds sections of the process only, and no tunnel."""
    return count > 1 and not file.root.is_empty and set(file.root.names) <= set(PROCESS_WIDE)


def _refuse_tunnel_keys(root: Section) -> None:
    for key in ("mode", "listen", "target", "tunnels", "router", *SHARED):
        if root.node(key) is not None:
            root.error(key, "belongs to a tunnel, not to the whole process", "move it to the file of -c")


def _config(placed: Sequence[Placed], roots: Sequence[Section]) -> tuple[Config, list[Port]]:
    """The whole configuration, and the addresses of its health and metrics listeners with their places."""
    health, health_spot = _chosen(roots, "health", sections.health, Health())
    metrics, metrics_spot = _chosen(roots, "metrics", sections.metrics, Metrics())
    config = Config(
        tunnels=tuple(one.tunnel for one in placed),
        health=health,
        metrics=metrics,
        logging=_chosen(roots, "logging", sections.logging, Logging())[0],
        expiry=_chosen(roots, "expiry", sections.expiry, Expiry())[0],
        strict=_strict(roots),
    )
    admin = []
    if health.enabled:
        admin.append(Port(health.listen, "health", health_spot, admin=True))
    if metrics.enabled:
        admin.append(Port(metrics.listen, "metrics", metrics_spot, admin=True))
    return config, admin


def _chosen(roots: Sequence[Section], key: str, read: Callable[[Section], Value], default: Value) -> tuple[Value, Spot]:
    """The value of the first file that has *key*, and where its listener stands; the others are only checked."""
    found: list[tuple[Value, Spot]] = []
    for root in roots:
        if root.node(key) is not None:
            section = root.section(key)
            found.append((read(section), section.spot_of("listen")))
    return found[0] if found else (default, Spot(0, ""))


def _strict(roots: Sequence[Section]) -> bool:
    found = [root.flag("strict", False) for root in roots if root.node("strict") is not None]
    return bool(found) and found[0]
