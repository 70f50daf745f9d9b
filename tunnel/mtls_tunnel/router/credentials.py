"""The password for the database: as libpq finds it, and a default at the end.

The flag or the file; else PGPASSWORD; else a pgpass file that only its owner can read; else the default of the
command line that this one replaces.  A dsn is left to the driver, which does the same without the last step.

Source: PostgreSQL 15 documentation, "The Password File".
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from mtls_tunnel.config.schema import Store

DEFAULT = "tinyscale"


def password_of(told: Store) -> str:
    """The password to connect with."""
    if told.db_password is not None:
        return told.db_password
    given = os.environ.get("PGPASSWORD")
    if given is not None:
        return given
    wanted = ("localhost" if told.db_host.startswith("/") else told.db_host, str(told.db_port), told.db_name,
              told.db_user)  # fmt: skip
    for fields in _lines(Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")):
        if all(field in ("*", value) for field, value in zip(fields, wanted, strict=False)):
            return fields[4]
    return DEFAULT


def _lines(path: Path) -> Iterator[list[str]]:
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            return  # libpq ignores it too: others could have read it
        text = path.read_text()
    except (OSError, UnicodeDecodeError):
        return
    for line in text.splitlines():
        fields = [re.sub(r"\\(.)", r"\1", field) for field in re.findall(r"(?:^|:)((?:\\.|[^:\\])*)", line)]
        if len(fields) == 5 and not line.startswith("#"):
            yield fields
