"""A certificate's names come from the other side: they stay one value on one line, and are never a label."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mtls_tunnel.trust.pki import Names
from support.clients import PING, context, refusal, talk
from support.guarded import Guarded

FORGED = 'evil"\ntime=2026-01-01T00:00:00.000Z level=INFO msg="listener: accepted connection" peer_cn=admin'
CNS = [
    pytest.param("two\nlines", id="line feed"),
    pytest.param('quote" level=ERROR', id="quote"),
    pytest.param("esc\x1b[31mred", id="escape sequence"),
    pytest.param("nel\x85ls\u2028ps\u2029", id="line breaks of Unicode"),
    pytest.param("del\x7f", id="DEL"),
    pytest.param('a"} 1\nmtlsd_active_connections 99', id="a metric line"),
]


@pytest.fixture(name="text", scope="module")
def _text(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("text")) as guarded:
        yield guarded


@pytest.fixture(name="as_json", scope="module")
def _as_json(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    with Guarded(tmp_path_factory.mktemp("json"), {"logging": {"format": "json", "access": "all"}}) as guarded:
        yield guarded


def holder(guarded: Guarded, cn: str) -> None:
    """A valid client of that name, once through the tunnel."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    credential = guarded.authority.odd(Names(dns=("holder.example",)), subject=subject)
    assert talk(guarded.port, context(guarded.files, guarded.files.write("holder", credential))) == PING


@pytest.mark.parametrize("cn", CNS)
def test_in_text_the_line_stays_one_line(text: Guarded, cn: str) -> None:
    before = len(text.tunnel.lines)
    holder(text, cn)
    text.greet()
    text.tunnel.wait_for_line("accepted connection.*peer_cn=frontend-service", after=before)
    said = text.tunnel.lines[before:]
    accepted = [line for line in said if 'level=INFO msg="listener: accepted connection"' in line]
    assert len(accepted) == 2
    assert all(line.startswith("time=") for line in said)
    assert all(character.isprintable() for character in "".join(said))


@pytest.mark.parametrize("cn", CNS)
def test_in_json_the_value_is_the_name(as_json: Guarded, cn: str) -> None:
    before = len(as_json.tunnel.lines)
    holder(as_json, cn)
    as_json.greet()
    as_json.tunnel.wait_for_line('accepted connection.*"peer_cn":"frontend-service"', after=before)
    entries = [json.loads(line) for line in as_json.tunnel.lines[before:]]
    accepted = [entry for entry in entries if entry["msg"] == "listener: accepted connection"]
    assert len(accepted) == 2
    assert list(accepted[0])[:4] == ["time", "level", "msg", "peer_cn"]


def test_no_name_of_a_peer_is_a_label(text: Guarded) -> None:
    identity = text.files.write("stranger", text.authority.leaf("label-one", org=("label-two",), dns=("label.three",)))
    assert talk(text.port, context(text.files, identity)) == PING
    scraped = text.tunnel.samples().text
    assert not [word for word in ("label-one", "label-two", "label.three", "holder", "evil") if word in scraped]
    assert text.tunnel.value("mtlsd_active_connections") < 99


def test_a_refused_name_is_escaped_too(tmp_path: Path) -> None:
    with Guarded(tmp_path, {"acl": {"allow_cn": ["frontend-service"]}}) as guarded:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, FORGED[:64])])
        credential = guarded.authority.odd(Names(dns=("holder.example",)), subject=subject)
        identity = guarded.files.write("forger", credential)
        refusal(guarded.port, context(guarded.files, identity))
        guarded.tunnel.wait_for_line("acl: connection denied")
        assert all(line.startswith("time=") for line in guarded.tunnel.lines)
        assert guarded.tunnel.count("peer_cn=admin") == 0
