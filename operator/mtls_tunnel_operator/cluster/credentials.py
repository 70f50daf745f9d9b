"""Where the API server is and who we are there: a pod's service account, or a kubeconfig.

`connection()` reads once; tokens of files are read again as they change (projected tokens live an hour).  Of a
kubeconfig the current context is used; its plugins (exec, auth-provider) are run by the library `kubernetes`,
which is imported for them only: it is heavier than everything here together.
"""

import base64
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mtls_tunnel_operator.errors import ApiError

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

Token = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Connection:
    """An API server; `ssl_context` None means plain http, `token` "" that nothing is sent."""

    server: str
    ssl_context: ssl.SSLContext | None
    token: Token
    scheme: str = "Bearer"

    def headers(self) -> dict[str, str]:
        """What each request must carry now."""
        token = self.token()
        return {"Authorization": f"{self.scheme} {token}"} if token else {}


def connection(environ: Mapping[str, str] = os.environ, account: Path = ACCOUNT) -> Connection:
    """The cluster this pod runs in, else the one of KUBECONFIG or ~/.kube/config.

    Raises:
        ApiError: status 0, reason NoCluster or BadKubeconfig, with what is missing.
    """
    if environ.get("KUBECONFIG"):
        return _of_kubeconfig([Path(part).expanduser() for part in environ["KUBECONFIG"].split(os.pathsep) if part])
    if (account / "token").exists():
        return _of_account(environ, account)
    home = Path("~/.kube/config").expanduser()
    if home.exists():
        return _of_kubeconfig([home])
    raise ApiError(0, "NoCluster", f"no service account in {account} and no kubeconfig: set KUBECONFIG")


def _of_account(environ: Mapping[str, str], account: Path) -> Connection:
    host = environ.get("KUBERNETES_SERVICE_HOST", "kubernetes.default.svc")
    host = f"[{host}]" if ":" in host else host
    context = _as_clients_of_kubernetes(ssl.create_default_context(cafile=str(account / "ca.crt")))
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Connection(f"https://{host}:{port}", context, _file_token(account / "token"))


def _as_clients_of_kubernetes(context: ssl.SSLContext) -> ssl.SSLContext:
    """Python 3.13 refuses certificates without an authority key identifier, which many clusters' API servers have.

    Go's verifier, and so every other client of Kubernetes, does not ask for one.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _file_token(path: Path) -> Token:
    """The content of *path*, read again when the file has changed: kubelet replaces it."""
    seen: tuple[int, str] = (0, "")

    def token() -> str:
        nonlocal seen
        changed = path.stat().st_mtime_ns
        if changed != seen[0]:
            seen = changed, path.read_text(encoding="ascii").strip()
        return seen[1]

    return token


def _of_kubeconfig(paths: list[Path]) -> Connection:
    try:
        name, cluster, user = _current(paths)
        context = _ssl_context(cluster, user) if cluster["server"].startswith("https:") else None
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        where = ", ".join(map(str, paths))
        raise ApiError(0, "BadKubeconfig", f"{where}: {type(error).__name__}: {error}") from error
    server = cluster["server"].rstrip("/")
    if "exec" in user or "auth-provider" in user:
        holder = _plugin(name, paths)
        return Connection(server, _plugin_context(holder, cluster, user), _plugin_token(holder))
    if "tokenFile" in user:
        return Connection(server, context, _file_token(paths[0].parent / user["tokenFile"]))
    if "username" in user:
        pair = base64.b64encode(f"{user['username']}:{user.get('password', '')}".encode()).decode()
        return Connection(server, context, lambda: pair, "Basic")
    return Connection(server, context, lambda: str(user.get("token", "")))


def _current(paths: list[Path]) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Context name, cluster and user; the first file that says something wins, paths become absolute."""
    current = ""
    tables: dict[str, dict[str, dict[str, Any]]] = {"contexts": {}, "clusters": {}, "users": {}}
    for path in paths:
        if len(paths) > 1 and not path.exists():  # kubectl skips those too
            continue
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        current = current or document.get("current-context") or ""
        for plural, table in tables.items():
            for item in document.get(plural) or []:
                body = dict(item.get(plural[:-1]) or {})
                for key in ("certificate-authority", "client-certificate", "client-key"):
                    if key in body:
                        body[key] = str(path.parent / body[key])
                table.setdefault(item["name"], body)
    if current not in tables["contexts"]:
        raise ValueError(f"current-context {current!r} is not among the contexts")
    context = tables["contexts"][current]
    return current, tables["clusters"][context["cluster"]], tables["users"].get(context.get("user", ""), {})


def _ssl_context(cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext:
    authority = cluster.get("certificate-authority-data")
    context = ssl.create_default_context(
        cafile=cluster.get("certificate-authority") if authority is None else None,
        cadata=base64.b64decode(authority).decode("ascii") if authority is not None else None,
    )
    _as_clients_of_kubernetes(context)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if "client-certificate-data" in user:
        _load_pair(context, user["client-certificate-data"], user["client-key-data"])
    elif "client-certificate" in user:
        context.load_cert_chain(user["client-certificate"], user["client-key"])
    return context


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """`ssl` loads from files only: a private one, gone when this returns."""
    with tempfile.NamedTemporaryFile() as file:  # mode 0600
        file.write(base64.b64decode(certificate) + b"\n" + base64.b64decode(key))
        file.flush()
        context.load_cert_chain(file.name)


def _plugin(context: str, paths: list[Path]) -> Any:
    """A configuration of the library `kubernetes`, which runs the plugin and keeps its answer fresh."""
    try:
        from kubernetes import config
    except ImportError:
        remedy = 'pip install "mtls-tunnel-operator[kubeconfig]", or use a kubeconfig with a token or a certificate'
        raise ApiError(0, "BadKubeconfig", f"context {context} needs a plugin: {remedy}") from None
    file = os.pathsep.join(map(str, paths))
    try:
        client = config.new_client_from_config(config_file=file, context=context)  # type: ignore[no-untyped-call]
    except config.ConfigException as error:
        raise ApiError(0, "BadKubeconfig", f"{file}: {error}") from error
    return client.configuration


def _plugin_token(holder: Any) -> Token:
    def token() -> str:  # refreshes itself when the plugin said when it expires
        word = holder.get_api_key_with_prefix("BearerToken") or holder.get_api_key_with_prefix("authorization") or ""
        return str(word).removeprefix("Bearer ")

    return token


def _plugin_context(holder: Any, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> ssl.SSLContext | None:
    if not cluster["server"].startswith("https:"):
        return None
    result = _ssl_context(cluster, {key: value for key, value in user.items() if key.startswith("client-")})
    if holder.cert_file and holder.key_file:  # a plugin may answer with a certificate
        result.load_cert_chain(holder.cert_file, holder.key_file)
    return result
