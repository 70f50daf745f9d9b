"""Kubernetes' schemas, release by release, as kubeconform reads them: for each kind a file, closed and self-contained.

Covered: every kind that the chart renders, in the releases of `RELEASES`, and the CustomResourceDefinitions of
the Prometheus Operator and of cert-manager in one version each.  Not covered, and asked of a real API server in
tests/cluster: CEL, admission, and what validation code knows beyond the schema.
"""

import functools
import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")


@functools.cache
def _whole() -> dict[str, Any]:
    read = json.loads(FILE.read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


RELEASES: tuple[str, ...] = tuple(_whole()["releases"])


def write(release: str, folder: Path) -> str:
    """Lay the schemas of *release* into *folder*; what to give kubeconform as -schema-location."""
    definitions = {
        name: form["schema"]
        for name, forms in _whole()["definitions"].items()
        for form in forms
        if release in form["releases"]
    }
    kinds = {schema["x-identity"]: schema for schema in definitions.values() if "x-identity" in schema}
    for identity, schema in (_whole()["custom"] | kinds).items():
        group, _, rest = identity.rpartition("/")[0].rpartition("/")
        # kubeconform names the version where the core group has no name.
        name = f"{identity.rpartition('/')[2].lower()}-{group or rest}-{rest}.json"
        (folder / name).write_text(json.dumps({**schema, "definitions": definitions}), encoding="utf-8")
    return f"{folder}/{{{{ .ResourceKind }}}}-{{{{ .Group }}}}-{{{{ .ResourceAPIVersion }}}}.json"
