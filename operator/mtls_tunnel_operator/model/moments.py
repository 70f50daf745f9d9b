"""Moments as Kubernetes writes them (RFC 3339, UTC, whole seconds) and as we count them (epoch seconds)."""

from datetime import UTC, datetime


def rfc3339(moment: float) -> str:
    """The moment as Kubernetes writes it; fractions of a second are cut off."""
    return datetime.fromtimestamp(int(moment), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: object) -> float:
    """Seconds since 1970 of an RFC 3339 time; 0.0 for what is none."""
    if not isinstance(text, str):
        return 0.0
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
