"""Where the API server is: from a service account, from a kubeconfig, or a sentence that says what is missing."""

import base64
import os
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from mtls_tunnel_operator.cluster.credentials import Connection, connection
from mtls_tunnel_operator.errors import ApiError

NOWHERE = Path("/nonexistent")


def kubeconfig(folder: Path, cluster: dict[str, Any], user: dict[str, Any], name: str = "config", **top: Any) -> Path:
    said = {
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://api.example:8001/", **cluster}}],
        "users": [{"name": "u", "user": user}],
        **top,
    }
    path = folder / name
    path.write_text(yaml.safe_dump(said), encoding="utf-8")
    return path


def read(path: Path | str) -> Connection:
    return connection({"KUBECONFIG": str(path)}, NOWHERE)


def b64(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.fixture
def account(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("first\n")
    (tmp_path / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    return tmp_path


def test_a_pod_uses_its_service_account_and_reads_the_token_as_it_changes(account: Path) -> None:
    found = connection({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}, account)
    assert (found.server, found.headers()) == ("https://10.0.0.1:6443", {"Authorization": "Bearer first"})
    (account / "token").write_text("second")
    os.utime(account / "token", ns=(1, 1))
    assert found.headers() == {"Authorization": "Bearer second"}


def test_an_ipv6_address_is_put_in_brackets(account: Path) -> None:
    assert connection({"KUBERNETES_SERVICE_HOST": "fd00::1"}, account).server == "https://[fd00::1]:443"


def test_the_servers_certificate_is_verified(account: Path) -> None:
    context = connection({}, account).ssl_context
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_kubeconfig_wins_over_the_service_account(account: Path) -> None:
    path = kubeconfig(account, {}, {"token": "t"})
    assert connection({"KUBECONFIG": str(path)}, account).server == "http://api.example:8001"


@pytest.mark.parametrize(
    ("user", "headers"),
    [
        ({}, {}),
        ({"token": "abc"}, {"Authorization": "Bearer abc"}),
        ({"username": "me", "password": "secret"}, {"Authorization": f"Basic {b64(b'me:secret')}"}),
    ],
    ids=["nobody", "token", "password"],
)
def test_users_of_a_kubeconfig(tmp_path: Path, user: dict[str, Any], headers: dict[str, str]) -> None:
    assert read(kubeconfig(tmp_path, {}, user)).headers() == headers


def test_files_are_relative_to_the_kubeconfig_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file")
    (tmp_path / "ca.pem").write_bytes(trustme.CA().cert_pem.bytes())
    cluster = {"server": "https://api.example", "certificate-authority": "ca.pem"}
    found = read(kubeconfig(tmp_path, cluster, {"tokenFile": "token"}))
    assert found.headers() == {"Authorization": "Bearer from a file"}
    assert found.ssl_context is not None
    assert len(found.ssl_context.get_ca_certs()) == 1


def test_certificates_may_stand_in_the_kubeconfig_itself(tmp_path: Path) -> None:
    ca = trustme.CA()
    leaf = ca.issue_cert("me@example.com")
    cluster = {"server": "https://api.example", "certificate-authority-data": b64(ca.cert_pem.bytes())}
    key = b64(leaf.private_key_pem.bytes())
    user = {"client-certificate-data": b64(leaf.cert_chain_pems[0].bytes()), "client-key-data": key}
    found = read(kubeconfig(tmp_path, cluster, user))
    assert found.ssl_context is not None
    assert len(found.ssl_context.get_ca_certs()) == 1


def test_of_several_files_the_first_that_says_something_wins(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path, {}, {"token": "first"}, "a", clusters=[])
    second = kubeconfig(tmp_path, {"server": "http://second"}, {"token": "second"}, "b")
    missing = tmp_path / "not-there"
    found = read(os.pathsep.join(map(str, (missing, first, second))))
    assert (found.server, found.headers()) == ("http://second", {"Authorization": "Bearer first"})


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ({"current-context": "nowhere"}, "current-context 'nowhere' is not among the contexts"),
        ({"clusters": []}, "KeyError: 'c'"),
        ({"current-context": None}, "current-context '' is not among the contexts"),
    ],
    ids=["no such context", "no such cluster", "no context chosen"],
)
def test_a_kubeconfig_that_is_of_no_use_is_named_with_its_fault(tmp_path: Path, top: dict[str, Any], said: str) -> None:
    path = kubeconfig(tmp_path, {}, {}, **top)
    with pytest.raises(ApiError) as caught:
        read(path)
    assert (caught.value.status, caught.value.reason) == (0, "BadKubeconfig")
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_text_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text("a: [")
    with pytest.raises(ApiError, match="BadKubeconfig"):
        read(path)


def test_a_kubeconfig_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="No such file"):
        read(tmp_path / "none")
