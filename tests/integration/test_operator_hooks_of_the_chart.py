"""`tunnel-operator hook`: what the chart's Jobs wait for, and what they delete.

The API server is the tests' own; the injector's place is taken by a TLS server that answers as told, found by a
resolver of ours, so that host names and certificates are checked for real.
"""

import asyncio
import base64
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from mtls_tunnel_operator.app.hook import Lacking, delete_webhook, endpoint_of, wait_injector, whole_release
from support.kube_api import MemoryApi, ServerThread, cluster
from support.kube_store import Store
from support.operator_process import command, environment
from support.processes import run

NAME, NAMESPACE = "mtls-tunnel-injector", "mtls-tunnel-system"
HOST = f"{NAME}.{NAMESPACE}.svc"
CA = trustme.CA()


class Loopback(AbstractResolver):
    """Every name is this machine."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = {"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 0}
        return [ResolveResult(**found, flags=socket.AI_NUMERICHOST)]  # type: ignore[typeddict-item]

    async def close(self) -> None:
        pass


def configuration(port: int = 443, bundle: bytes = CA.cert_pem.bytes()) -> dict[str, Any]:
    service = {"name": NAME, "namespace": NAMESPACE, "path": "/mutate", "port": port}
    client = {"service": service, "caBundle": base64.b64encode(bundle).decode()}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "mtls-tunnel"},
        "webhooks": [{"name": "inject.mtlstunnel.dev", "clientConfig": client}],
    }


@asynccontextmanager
async def answering(allowed: Any = True, name: str = HOST, ready: int = 200) -> AsyncIterator[tuple[int, int]]:
    """An injector with a certificate for *name*; its ports for reviews and for /readyz."""
    seen: list[Any] = []

    async def mutate(request: web.Request) -> web.Response:
        review = await request.json()
        seen.append(review)
        return web.json_response({**review, "response": {"uid": review["request"]["uid"], "allowed": allowed}})

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(status=ready, text="why not")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert(name).configure_cert(context)
    runners = []
    ports = []
    for path, handler, tls in (("/mutate", mutate, context), ("/readyz", readyz, None)):
        app = web.Application()
        app.router.add_route("*", path, handler)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        runners.append(runner)
        ports.append(runner.addresses[0][1])
    try:
        yield ports[0], ports[1]
    finally:
        for runner in runners:
            await runner.cleanup()


def asked(allowed: Any = True, name: str = HOST, ready: int = 200, bundle: bytes = CA.cert_pem.bytes()) -> str:
    """What the test pod says of such an injector."""

    async def ask() -> str:
        store = cluster()
        async with answering(allowed, name, ready) as (port, health), MemoryApi(store) as api:
            store.put(configuration(port, bundle))
            return await whole_release(api, "mtls-tunnel", Loopback(), health)

    return asyncio.run(ask())


def test_an_injector_that_the_api_server_would_believe_is_enough() -> None:
    assert "answers with a certificate that the API server accepts" in asked()


@pytest.mark.parametrize(
    ("injector", "said"),
    [
        pytest.param({"name": "other.example"}, "doesn't match|not valid for|Hostname mismatch", id="another's name"),
        pytest.param({"bundle": trustme.CA().cert_pem.bytes()}, "certificate verify failed", id="another's CA"),
        pytest.param({"allowed": False}, "did not let a pod", id="it refuses"),
        pytest.param({"allowed": None}, "did not let a pod", id="it says nothing"),
        pytest.param({"ready": 503}, "readyz answered 503: why not", id="it is not ready"),
        pytest.param({"bundle": b""}, "no caBundle yet", id="the operator has not come to it"),
        pytest.param({"bundle": b"rubbish"}, "no caBundle yet", id="the bundle is rubbish"),
    ],
)
def test_anything_less_is_said(injector: dict[str, Any], said: str) -> None:
    with pytest.raises(Lacking, match=said):
        asked(**injector)


def test_nobody_there_is_said() -> None:
    async def ask() -> None:
        store = cluster()
        async with answering() as (port, _):
            pass  # gone again
        store.put(configuration(port))
        async with MemoryApi(store) as api:
            await wait_injector(api, "mtls-tunnel", Loopback())

    with pytest.raises(Lacking, match="Cannot connect"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"webhooks": []}, "has no webhook inject.mtlstunnel.dev"),
        (
            {"webhooks": [{"name": "inject.mtlstunnel.dev", "clientConfig": {"url": "https://x"}}]},
            "leads to no Service",
        ),
    ],
    ids=["no webhook", "no Service"],
)
def test_a_configuration_of_others_is_said(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Lacking, match=said):
        endpoint_of({**configuration(), **change}, "mtls-tunnel")


def test_pain_29_the_webhook_configuration_is_deleted_and_nothing_else() -> None:
    async def delete() -> tuple[str, str]:
        async with MemoryApi(store) as api:
            return await delete_webhook(api, "mtls-tunnel"), await delete_webhook(api, "mtls-tunnel")

    store = cluster()
    store.put(configuration())
    first, again = asyncio.run(delete())
    assert (first.rpartition(" ")[2], again.rpartition(" ")[2]) == ("deleted", "there")
    assert store.of("mutatingwebhookconfigurations") == []
    assert {(one.verb, one.ref.name) for one in store.writes()} == {("delete", "mtls-tunnel")}


def hook(store: Store, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command as a process, beside an API server."""
    with ServerThread(store) as server:
        kubeconfig = server.call(lambda: server.kubeconfig(folder))
        return run(command("hook", *words), env=environment(kubeconfig), seconds=60)


def test_the_job_gives_up_in_time_and_says_what_was_lacking(tmp_path: Path) -> None:
    done = hook(cluster(), tmp_path, "wait-injector", "--name=x", "--timeout=3")
    assert done.returncode == 1
    assert done.stderr.count("there is no MutatingWebhookConfiguration x") == 2  # once when seen, once at the end


def test_the_job_ends_well_when_its_work_is_done(tmp_path: Path) -> None:
    store = cluster()
    store.put({**configuration(), "metadata": {"name": "x"}})
    done = hook(store, tmp_path, "delete-webhook", "--name=x")
    assert (done.returncode, done.stdout) == (0, "MutatingWebhookConfiguration x is deleted\n")
