"""A kubeconfig whose credentials come from a program: it is run, and its absence of a runner is said."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

from mtls_tunnel_operator.cluster.credentials import connection
from support.processes import REPOSITORY


def kubeconfig(folder: Path) -> Path:
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "from-a-plugin"},
    }
    plugin = folder / "plugin"
    plugin.write_text(f"#!/bin/sh\necho '{json.dumps(answer)}'\n")
    plugin.chmod(0o755)
    execute = {"apiVersion": answer["apiVersion"], "command": str(plugin), "interactiveMode": "Never"}
    said = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": execute}}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(said))
    return path


def test_the_plugins_token_is_sent(tmp_path: Path) -> None:
    found = connection({"KUBECONFIG": str(kubeconfig(tmp_path))}, tmp_path)
    assert found.headers() == {"Authorization": "Bearer from-a-plugin"}


def test_without_the_library_that_runs_plugins_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['kubernetes'] = None;"
        "from mtls_tunnel_operator.cluster.credentials import connection; connection()"
    )
    path = f"{REPOSITORY / 'operator'}:{REPOSITORY / 'tunnel'}"
    environ = {"PYTHONPATH": path, "KUBECONFIG": str(kubeconfig(tmp_path))}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
    assert 'pip install "mtls-tunnel-operator[kubeconfig]"' in done.stderr.splitlines()[-1]
