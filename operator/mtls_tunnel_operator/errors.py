"""Every error the operator raises on purpose, in one tree, split by who must act.

    OperatorError
    ├── SpecError        whoever wrote the resource must change something; becomes a condition
    ├── AuthorityError   a CA, its key or a bundle cannot be used; becomes a condition
    ├── ApiError         the API server refused or did not answer; tried again
    │   ├── NotFound     404
    │   ├── Conflict     409
    │   └── Gone         410: a list or watch must start anew
    └── NotLeader        the Lease is not ours any more: nothing may be written

`reason` is one CamelCase word and never changes: it is the reason of a condition and a metric label.
"""


class OperatorError(Exception):
    """Base of all errors raised on purpose by this package."""


class _Reasoned(OperatorError):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class SpecError(_Reasoned):
    """The resource asks for what cannot be; `message` says what to change."""


class AuthorityError(_Reasoned):
    """A signer cannot be used; `message` says what to put right."""


class ApiError(OperatorError):
    """The API server answered with `status` (0 = no answer); `retry_after` is in seconds, or None."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after


class NotFound(ApiError):
    """The object, or its kind, is not there."""


class Conflict(ApiError):
    """Somebody else has changed or made the object meanwhile."""


class Gone(ApiError):
    """The resource version is too old: list again."""


class NotLeader(OperatorError):
    """Another replica may hold the Lease: no write is allowed from here."""
