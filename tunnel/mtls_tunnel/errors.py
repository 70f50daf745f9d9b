"""Every error the tunnel raises on purpose, in one tree, split by who must act.

    TunnelError
    ├── ConfigError      whoever wrote the configuration must change something (exit 2)
    ├── MaterialError    a key, leaf, trust bundle or CRL on disk is unusable (exit 2 at start)
    ├── ListenError      the machine refused a socket: port in use, no permission (exit 1)
    ├── PeerRejected     the other side was refused; the tunnel is fine
    └── UpstreamError    the upstream could not be reached or broke off

`PeerRejected.reason` and `UpstreamError.reason` are short lower-case words that never change: they
are metric labels.  The text behind them is for people and may change.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right: where it stands, and what to do about it.

    `place` is the path in the file (``tls.ca``, ``tunnels[1].listen``) or "" for the file as a whole.
    `remedy` may be empty where the text says it already.
    """

    file: str
    place: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.place) if part)
        line = f"{where}: {self.text}" if where else self.text
        return f"{line} - {self.remedy}" if self.remedy else line


class TunnelError(Exception):
    """Base of all errors raised on purpose by this package."""


class _Problems(TunnelError):
    def __init__(self, *problems: Problem) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class ConfigError(_Problems):
    """The configuration cannot be used; `problems` holds all of them, in file order."""


class MaterialError(_Problems):
    """A private key, leaf, trust bundle or CRL cannot be used; `problems` holds all of them."""


class ListenError(TunnelError):
    """The operating system refused to bind or listen on an address."""


class PeerRejected(TunnelError):
    """The peer was refused.  `reason` is stable and safe to use as a metric label."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class UpstreamError(TunnelError):
    """The upstream could not be reached or broke off.  `reason` is stable, as above."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
