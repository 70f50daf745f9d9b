"""`tunnel-operator hook`: what the chart's Jobs and its test pod run.

`wait-injector` ends when the injector answers an AdmissionReview over TLS that the API server would accept: the
name of the Service and the caBundle of the webhook configuration are what it checks with.  `test` also asks
both Services whether they are ready.  `delete-webhook` deletes the webhook configuration and nothing else, so
that no pod waits for an injector that is about to go.

Exit code 0, or 1 with a sentence that says what is lacking.
"""

import argparse
import asyncio
import base64
import binascii
import ssl
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import aiohttp
import aiohttp.abc

from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api, Ref
from mtls_tunnel_operator.cluster.credentials import connection
from mtls_tunnel_operator.errors import ApiError, NotFound

if TYPE_CHECKING:
    from mtls_tunnel_operator.app.cli import Commands

Resolver = aiohttp.abc.AbstractResolver | None

WEBHOOK = f"inject.{names.GROUP}"
ANSWER = aiohttp.ClientTimeout(total=5)
PAUSE_SECONDS = 2.0
HEALTH_PORT = 8080  # of both Services, whatever port the containers have
ABOUT = {
    "wait-injector": "wait until the injector answers as the API server needs it",
    "test": "the same, and both Services are ready",
    "delete-webhook": "delete the webhook configuration",
}


class Lacking(Exception):
    """Something is not as it must be yet; the text says what and where to look."""


@dataclass(frozen=True)
class Endpoint:
    """Where the API server sends its reviews, and what it checks the answer with."""

    host: str
    port: int
    path: str
    bundle: str

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}{self.path}"


def add(commands: "Commands") -> None:
    """Register the command."""
    parser = commands.add_parser(
        "hook",
        help="what the chart's Jobs run",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for action, about in ABOUT.items():
        one = actions.add_parser(action, help=about, description=about)
        one.add_argument(
            "--name", required=True, help="name of the MutatingWebhookConfiguration (the release's fullname)"
        )
        one.add_argument(
            "--timeout", type=float, default=60.0, metavar="SECONDS", help="give up after this (default 60)"
        )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Do what *args* ask for; the exit code."""
    return asyncio.run(_run(args.action, args.name, args.timeout))


async def _run(action: str, name: str, seconds: float) -> int:
    deadline, said = time.monotonic() + seconds, ""
    while True:
        try:
            async with Api(connection()) as api:
                print(await ACTIONS[action](api, name), flush=True)
            return 0
        except (Lacking, ApiError) as lacking:
            if str(lacking) != said:
                said = str(lacking)
                print(f"{action}: {said}", file=sys.stderr, flush=True)
        if time.monotonic() + PAUSE_SECONDS > deadline:
            print(f"{action}: not within {seconds:g} s: {said}", file=sys.stderr)
            return 1
        await asyncio.sleep(PAUSE_SECONDS)


async def wait_injector(api: Api, name: str, resolver: Resolver = None) -> str:
    """Ask the injector as the API server would; *resolver* finds Services where the cluster's DNS does not.

    Raises:
        Lacking: what keeps the API server from an answer.
        ApiError: the API server itself did not answer.
    """
    endpoint = endpoint_of(await _configuration(api, name), name)
    answer = await _review(endpoint, resolver)
    if not isinstance(answer, dict) or answer.get("response", {}).get("allowed") is not True:
        raise Lacking(f"{endpoint.url} did not let a pod of its own namespace through: {answer}")
    return f"{endpoint.url} answers with a certificate that the API server accepts"


async def whole_release(api: Api, name: str, resolver: Resolver = None, health_port: int = HEALTH_PORT) -> str:
    """`wait_injector`, and both Services are ready."""
    endpoint = endpoint_of(await _configuration(api, name), name)
    injector, _, rest = endpoint.host.partition(".")
    for service in (injector, f"{name}-operator"):
        await _ready(f"http://{service}.{rest}:{health_port}/readyz", resolver)
    return await wait_injector(api, name, resolver)


async def delete_webhook(api: Api, name: str) -> str:
    """Delete the configuration; one that is gone already is as good."""
    found = await api.delete(Ref("mutatingwebhookconfigurations", "", name))
    return f"MutatingWebhookConfiguration {name} {'is deleted' if found else 'was not there'}"


ACTIONS = {"wait-injector": wait_injector, "test": whole_release, "delete-webhook": delete_webhook}


async def _configuration(api: Api, name: str) -> Mapping[str, Any]:
    try:
        return await api.get(Ref("mutatingwebhookconfigurations", "", name))
    except NotFound:
        raise Lacking(f"there is no MutatingWebhookConfiguration {name}: install the chart anew") from None


def endpoint_of(configuration: Mapping[str, Any], name: str) -> Endpoint:
    """Where our webhook is, with the CA that the API server knows.

    Raises:
        Lacking: the configuration has no such webhook, or no caBundle yet.
    """
    ours = [item for item in configuration.get("webhooks") or () if item.get("name") == WEBHOOK]
    if not ours:
        raise Lacking(f"MutatingWebhookConfiguration {name} has no webhook {WEBHOOK}: install the chart anew")
    client = ours[0]["clientConfig"]
    service = client.get("service")
    if not service:
        raise Lacking(f"MutatingWebhookConfiguration {name} leads to no Service: install the chart anew")
    try:
        bundle = base64.b64decode(client.get("caBundle") or "", validate=True).decode("ascii")
    except (binascii.Error, ValueError):
        bundle = ""
    if "BEGIN CERTIFICATE" not in bundle:
        raise Lacking(f"the webhook has no caBundle yet: the operator writes it (kubectl logs deploy/{name}-operator)")
    host = f"{service['name']}.{service['namespace']}.svc"
    return Endpoint(host, int(service.get("port", 443)), service.get("path", "/"), bundle)


async def _review(endpoint: Endpoint, resolver: Resolver) -> Any:
    review = _question(endpoint.host.split(".")[1])
    try:
        context = ssl.create_default_context(cadata=endpoint.bundle)
        async with (
            _session(resolver) as session,
            session.post(endpoint.url, json=review, ssl=context) as response,
        ):
            if response.status != 200:
                raise Lacking(f"{endpoint.url} answered {response.status}: {(await response.text())[:300]}")
            return await response.json(content_type=None)
    except (aiohttp.ClientError, ssl.SSLError, TimeoutError, OSError, ValueError) as error:
        raise Lacking(f"{endpoint.url}: {str(error) or 'no answer in time'}") from error


def _question(namespace: str) -> dict[str, Any]:
    """A pod that nobody makes, in a namespace without sidecars: the answer must be yes, unchanged."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "hook", "namespace": namespace},
        "spec": {"containers": [{"name": "hook", "image": "hook"}]},
    }
    request = {
        "uid": str(uuid.uuid4()),
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "namespace": namespace,
        "operation": "CREATE",
        "userInfo": {"username": "hook"},
        "object": pod,
        "oldObject": None,
        "dryRun": True,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def _session(resolver: Resolver) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=ANSWER, connector=aiohttp.TCPConnector(resolver=resolver))


async def _ready(url: str, resolver: Resolver) -> None:
    try:
        async with _session(resolver) as session, session.get(url) as response:
            if response.status != 200:
                raise Lacking(f"{url} answered {response.status}: {(await response.text())[:300]}")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise Lacking(f"{url}: {str(error) or 'no answer in time'}") from error
