"""The oracle for bad input, for a router: as `guarded`, with names, users and rows.

    with Routed(tmp_path, routes) as routed, routed.refuses(refused("unknown_host")):
        routed.attempt(name="nowhere")

The good client is the seed's example: user-456 of org-123 reaches test-host-01.
"""

import ssl
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from mtls_tunnel.observe.router_meters import AUTHENTICATION_REASONS
from support.clients import PING, Refused, Version, context, refusal, talk
from support.guarded import Guarded, Sign
from support.pki import Authority, Folder
from support.ports import free_port
from support.routes import Routes
from support.servers import Backend
from support.tunnels import Settings, Tunnel, merged

DOMAIN, ISSUER = "connect.tinyscale.com", "tinyscale.com"
HOST, ORG, USER = "test-host-01", "org-123", "user-456"


def spiffe(user: str = USER, org: str = ORG, issuer: str = ISSUER) -> str:
    return f"spiffe://{issuer}/orgs/{org}/users/{user}"


def server_name(connect_id: str = HOST) -> str:
    return f"{connect_id}.{DOMAIN}"


def refused(reason: str) -> Sign:
    """The sign of a refusal by the router."""
    kind = "authentication" if reason in AUTHENTICATION_REASONS else "authorization"
    line = rf'level=WARN msg="router: refused" .*reason={reason}\b'
    return Sign(f"mtlsd_router_{kind}_failures_total", {"reason": reason}, line, reason)


def router_settings(files: Folder, port: int, store: Settings, over: Mapping[str, Any] | None = None) -> Settings:
    """A router on the loopback with the folder's server certificate."""
    base = {
        "mode": "router",
        "listen": f"127.0.0.1:{port}",
        "tls": {"cert": files.server.cert, "key": files.server.key, "ca": files.ca},
        "router": {"domain": DOMAIN, "issuer": ISSUER, "store": store},
        "proxy": {"dial_timeout": "5s"},
    }
    return merged(base, over or {})


class Routed(Guarded):
    """Owns a router and, unless the caller brings one, the `Echo` behind test-host-01."""

    def __init__(
        self,
        folder: Path,
        routes: Routes,
        over: Mapping[str, Any] | None = None,
        *,
        ca: Authority | None = None,
        backend: Backend | None = None,
        env: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        super().__init__(folder, over, ca=ca, backend=backend, env=env)
        self.routes = routes
        self.store = routes.settings
        self._wait, self._rows = wait, True
        self.files.write("server", self.authority.leaf("router", dns=(f"*.{DOMAIN}",), client=False))
        self._good = self.files.write("client", self.authority.client("person", uri=(spiffe(),)))

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._own_backend:
                stack.enter_context(self.backend)
            if self._rows:
                self.put_host()
                self.routes.put("users", user_id=USER, org_id=ORG)
            settings = router_settings(self.files, free_port(), self.store, self.over)
            tunnel = Tunnel(self._folder, settings, name="router", env=self._env, wait=self._wait)
            self.tunnel = stack.enter_context(tunnel)
            if self._wait and settings["router"]["store"]["type"] == "postgresql":
                self.tunnel.wait_for_line("router: store connected")
            self._stack = stack.pop_all()
        return self

    def without_rows(self) -> Self:
        """The caller has put the rows of the good client."""
        self._rows = False
        return self

    def use_store(self, store: Settings, **router: Any) -> None:
        """Write the configuration with another store, and more of the section ``router`` if there is more."""
        settings = self.tunnel.settings
        self.tunnel.settings = {**settings, "router": {**settings["router"], **router, "store": store}}
        self.tunnel.rewrite({})

    def put_host(self, connect_id: str = HOST, **row: Any) -> None:
        """test-host-01, which user-456 may reach, or another row."""
        good = {"internal_ip_addr": self.backend.address, "org_id": ORG, "user_ids": [USER], "team_ids": []}
        self.routes.put("backend_hosts", connect_id=connect_id, **{**good, **row})

    def person(
        self, user: str = USER, org: str = ORG, issuer: str = ISSUER, *, version: Version = ""
    ) -> ssl.SSLContext:
        """A client who has the certificate of that user."""
        return self.bearing(spiffe(user, org, issuer), version=version)

    def bearing(self, *uris: str, version: Version = "", ca: Authority | None = None) -> ssl.SSLContext:
        """A client whose certificate has these URI names."""
        credential = (ca or self.authority).client("person", uri=uris)
        return self.trusting(context(self.files, self.files.write("other", credential), version=version))

    @staticmethod
    def trusting(tls: ssl.SSLContext) -> ssl.SSLContext:
        """Odd server names are asked for on purpose: the chain is checked, the name is not."""
        tls.check_hostname = False
        return tls

    @property
    def good(self) -> ssl.SSLContext:
        return self.trusting(context(self.files, self._good))

    def greet(self) -> None:
        assert talk(self.port, self.good, name=server_name()) == PING

    def attempt(self, tls: ssl.SSLContext | None = None, *, name: str | None = None, connect_id: str = HOST) -> str:
        """Try to get in; how it was refused."""
        return refusal(self.port, tls or self.good, name=server_name(connect_id) if name is None else name or None)

    def lets_in(self, tls: ssl.SSLContext | None = None, connect_id: str = HOST) -> bool:
        """Whether it leads there now."""
        try:
            return talk(self.port, tls or self.good, name=server_name(connect_id)) == PING
        except Refused:
            return False

    @property
    def lookups(self) -> float:
        """Questions that have reached the cache or the store."""
        seen = self.tunnel.samples()
        return seen.value("mtlsd_router_cache_total") + seen.value("mtlsd_router_store_seconds_count")
