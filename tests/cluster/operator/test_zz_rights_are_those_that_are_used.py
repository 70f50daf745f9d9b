"""After all that the other files of this folder have done: no request was forbidden, and no right is never used.

The name puts it last.  Rights for what this folder does not do are listed with the reason.
"""

import pytest

from support.kube import Kube, forbidden, verbs_used
from support.releases import Installed

# (group, resource, verb): what these scenarios give no occasion for that could be waited for.
NO_OCCASION: dict[str, set[tuple[str, str, str]]] = {
    "operator": {("", "events", "patch")},  # an event that repeats
    "injector": {("", "namespaces", "get")},  # a pod that is quicker than the watch of its namespace
}


@pytest.mark.parametrize("part", ["operator", "injector"])
def test_no_request_is_forbidden(cluster: Kube, installed: Installed, part: str) -> None:
    if cluster.audit is None:
        pytest.skip("the audit log of this cluster is out of reach: run on the cluster of scripts/cluster.py")
    assert forbidden(cluster.requests(installed.account(part))) == []


@pytest.mark.parametrize("part", ["operator", "injector"])
def test_no_verb_is_granted_that_is_never_used(cluster: Kube, installed: Installed, part: str) -> None:
    if cluster.audit is None:
        pytest.skip("the audit log of this cluster is out of reach: run on the cluster of scripts/cluster.py")
    used = {(group, resource, verb) for group, resource, verb in verbs_used(cluster.requests(installed.account(part)))}
    # A server-side apply that makes an object is authorised as create, and logged as patch (ruling of the API server).
    used |= {(group, resource, "create") for group, resource, verb in used if verb == "patch"}
    granted = _granted(cluster, installed, part)

    assert granted - used - NO_OCCASION[part] == set()


def _granted(cluster: Kube, installed: Installed, part: str) -> set[tuple[str, str, str]]:
    """Everything that a role bound to the service account grants."""
    account = f"mtls-tunnel-{part}"
    found: set[tuple[str, str, str]] = set()
    for binding in [*cluster.items("clusterrolebindings"), *cluster.items("rolebindings")]:
        subjects = binding.get("subjects") or []
        if not any(one.get("name") == account and one.get("namespace") == installed.namespace for one in subjects):
            continue
        role = binding["roleRef"]
        where = binding["metadata"].get("namespace", "") if role["kind"] == "Role" else ""
        for rule in cluster.get(role["kind"].lower(), role["name"], where)["rules"]:
            for group in rule.get("apiGroups", []):
                for resource in rule.get("resources", []):
                    found |= {(group, resource, verb) for verb in rule["verbs"]}
    return found
