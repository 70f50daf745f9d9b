"""Certificates of five minutes renew three times, then the CA rotates in four phases, under continuous traffic.

Not one request may fail: neither those on new connections nor those on one that has been open all the time.  The
operator's leader and a replica of the injector are killed meanwhile.
"""

import time
from collections.abc import Callable
from typing import Any

from mtls_tunnel_operator import names
from support.kube import Kube
from support.releases import Installed
from support.shop import Shop, annotations

SHORT = {"durationSeconds": 300, "renewBeforeSeconds": 240}  # renewed about every minute
RENEWALS = 3
PHASES = ["Stable", "Distributing", "Issuing", "Retiring", "Stable"]


def short_lived(spec: dict[str, Any]) -> None:
    spec["certificate"] = dict(SHORT)


def serial(shop: Shop, role: str) -> str:
    return str(shop.secret(role)["data"]["tls.crt"])


def test_no_request_fails_while_certificates_renew_and_the_ca_rotates(
    cluster: Kube, installed: Installed, new_shop: Callable[[], Shop]
) -> None:
    shop = new_shop()
    shop.open(short_lived)

    renew(cluster, shop)
    rotate(cluster, shop, installed)

    shop.more(100)
    assert shop.count()[1] == 0, shop.complaints()
    assert shop.restarts() == 0


def renew(cluster: Kube, shop: Shop) -> None:
    """Wait for the renewals of both roles; a renewal never comes later than it was announced."""
    for _ in range(RENEWALS):
        before = {role: serial(shop, role) for role in ("server", "client-api")}
        for role, old in before.items():
            cluster.wait(lambda role=role, old=old: serial(shop, role) != old, f"{role} is renewed", shop.name)  # type: ignore[misc]
        assert shop.count()[1] == 0, shop.complaints()


def rotate(cluster: Kube, shop: Shop, installed: Installed) -> None:
    def domain() -> dict[str, Any]:
        return dict(cluster.get("mtlstrustdomain", "default")["status"])

    old = domain()["caFingerprints"]
    seen = [domain()["rotation"]["phase"]]
    request = f"{names.ROTATE_ANNOTATION}={time.time():.0f}"
    cluster("annotate", "--overwrite", "mtlstrustdomain", "default", request)

    def moved() -> bool:
        phase = domain()["rotation"]["phase"]
        if phase != seen[-1]:
            seen.append(phase)
            disturb(installed, phase)
        return len(seen) >= len(PHASES)

    cluster.wait(moved, f"the rotation ends, after {seen}", shop.name, seconds=300)

    assert seen == PHASES
    new = domain()["caFingerprints"]
    assert set(old).isdisjoint(new)
    for role in ("server", "client-api"):
        assert annotations(shop.secret(role))[names.ISSUER_ANNOTATION] == new[0]


def disturb(installed: Installed, phase: str) -> None:
    """Kill the leader as soon as the keys are being changed, an injector while the old CA leaves."""
    if phase == "Issuing":
        installed.kill(installed.leader())
    elif phase == "Retiring":
        installed.kill(installed.pods("injector")[0])
