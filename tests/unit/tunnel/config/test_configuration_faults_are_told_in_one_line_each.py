"""What a file can get wrong, and the sentence that each fault is told with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config.load import Source, load
from mtls_tunnel.errors import ConfigError
from support.configs import MINIMAL, configured


def told(text: str) -> list[str]:
    """Every problem of one file, as printed."""
    with pytest.raises(ConfigError) as caught:
        load([Source("f.yaml", text)])
    return str(caught.value).split("\n")


def test_all_faults_of_a_file_are_told_at_once_and_in_its_order() -> None:
    text = """\
mode: server
listen: 22:22
tls:
  cert: [a.pem]
  ca: b.pem
  min_version: 1.2
acl:
  allow_cn: frontend-service
  allow_role: [writer, reader]
proxy:
  idle_timeout: 30
  max_connections: 0
roles:
  writer: {allow_cn: [no]}
health: {enabled: "yes"}
"""
    assert told(text) == [
        'f.yaml: target: is missing - the address to forward to, such as "127.0.0.1:8080"',
        'f.yaml: listen: "22:22" has a host that is neither an IPv4 address nor a name - check its numbers',
        "f.yaml: tls.key: is missing - the PEM private key that belongs to tls.cert",
        "f.yaml: tls.cert: must be a single string, found a list",
        'f.yaml: tls.min_version: must be TLS1.2 or TLS1.3, found "1.2" - did you mean TLS1.2?',
        'f.yaml: acl.allow_cn: must be a list of strings - write ["frontend-service"]',
        'f.yaml: acl.allow_role[1]: "reader" is no role - the roles are writer',
        'f.yaml: proxy.idle_timeout: "30" has no unit - 30s means seconds, 30m minutes',
        'f.yaml: proxy.max_connections: must be a whole number from 1 to 1000000, found "0"',
        'f.yaml: roles.writer.allow_cn[0]: must be a string, but YAML takes no for a yes-or-no value - quote it: "no"',
        'f.yaml: health.enabled: must be true or false, found "yes" - remove the quotes',
    ]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        pytest.param("acl: {allow_cn: [12345]}", 'YAML takes 12345 for a number - quote it: "12345"', id="number"),
        pytest.param("acl: {allow_cn: [off]}", 'YAML takes off for a yes-or-no value - quote it: "off"', id="boolean"),
        pytest.param("acl: {allow_org: [2026-01-01]}", 'for a date - quote it: "2026-01-01"', id="date"),
        pytest.param("acl: {allow_ou: [~]}", "acl.allow_ou[0]: is empty - write a string or remove it", id="null"),
        pytest.param('acl: {allow_cn: ["a\\0b"]}', 'contains the control character "\\u0000" - remove it', id="NUL"),
        pytest.param('acl: {allow_cn: ["a\\nb"]}', 'contains the control character "\\n" - remove it', id="newline"),
        pytest.param("acl: {allow_cn: [[a]]}", "acl.allow_cn[0]: must be a single string, found a list", id="a list"),
        pytest.param("acl: {allow_cn: {a: b}}", "acl.allow_cn: must be a list of strings", id="a mapping for a list"),
        pytest.param('acl: {deny_cn: [""]}', "is empty - no certificate matches an empty name", id="an empty name"),
        pytest.param("acl: {allow_fingerprint: [ab]}", '"ab" is no SHA-256 fingerprint', id="fingerprint"),
        pytest.param("acl: {deny_dns: ['*x.a']}", "has a * that is not the whole first label", id="pattern"),
        pytest.param("acl: {allow_role: [writer]}", '"writer" is no role - no roles are defined', id="no roles"),
        pytest.param(
            "acl: {mode: auditt}", 'must be enforce or audit, found "auditt" - did you mean audit?', id="word"
        ),
        pytest.param("acl: {default: [allow]}", "acl.default: must be a single word, found a list", id="list of words"),
        pytest.param("acl: []", "acl: must be a mapping of keys - put its settings below it, indented", id="a section"),
        pytest.param("acl: deny", "acl: must be a mapping of keys - put its settings below it", id="a word for all"),
        pytest.param("roles: {a b: {}}", 'roles."a b": is no usable role name', id="role name"),
        pytest.param(
            "roles: {a: {allow_role: [a]}}", "roles.a.allow_role: has no place in a role", id="role in a role"
        ),
        pytest.param("roles: {a: {deny_cn: [b]}}", "roles.a.deny_cn: has no place in a role", id="deny in a role"),
        pytest.param("roles: {a: [b]}", "roles.a: must be a mapping of keys", id="a list for a role"),
        pytest.param("proxy: {dial_timeout: 0}", 'proxy.dial_timeout: must be at least 1ms, found "0"', id="no dial"),
        pytest.param("proxy: {idle_timeout: 1us}", 'must be at least 1ms, or 0, found "1us"', id="microseconds"),
        pytest.param("proxy: {half_close_timeout: 0s}", 'must be at least 1ms, found "0s"', id="no half-close"),
        pytest.param("proxy: {max_lifetime: -1s}", '"-1s" must not be negative - 0 is the least', id="negative"),
        pytest.param("proxy: {max_lifetime: 5d}", "\"5d\" has an unknown unit 'd'", id="days"),
        pytest.param("proxy: {dial_timeout: [1s]}", "must be a duration such as 10s, found a list", id="durations"),
        pytest.param('proxy: {idle_timeout: ""}', "proxy.idle_timeout: ", id="an empty duration"),
        pytest.param("proxy: {max_connections: 1e3}", 'found "1e3" - write it in plain digits', id="a float"),
        pytest.param("proxy: {max_connections: 010}", 'found "010" - write it in plain digits', id="octal"),
        pytest.param("proxy: {max_connections: '5'}", 'found "5" - remove the quotes', id="a quoted number"),
        pytest.param("proxy: {max_connections: 1:00}", 'found "1:00" - write it in plain digits', id="sexagesimal"),
        pytest.param("proxy: {max_connections: 9999999}", "from 1 to 1000000", id="too many"),
        pytest.param("health: {enabled: 1}", 'health.enabled: must be true or false, found "1"', id="one for true"),
        pytest.param(
            "health: {listen: 9000}", 'health.listen: "9000" is a port alone - write its host', id="only a port"
        ),
        pytest.param(
            "health: {listen: {a: b}}", "must be an address such as 127.0.0.1:8443, found a mapping", id="map"
        ),
        pytest.param("metrics: {prefix: 9x}", '"9x" is no metric name', id="prefix"),
        pytest.param("metrics: {prefix: a-b}", '"a-b" is no metric name', id="a dash in the prefix"),
        pytest.param("logging: {level: verbose}", "must be debug, info, warn or error, found", id="level"),
        pytest.param("logging: {level: warning}", 'found "warning" - did you mean warn?', id="warning"),
        pytest.param("logging: {format: logfmt}", 'must be text or json, found "logfmt"', id="format"),
        pytest.param("expiry: {warn_days: 3}", "expiry.critical_days: is 7, more than warn_days (3)", id="days turned"),
        pytest.param("expiry: {warn_days: -1}", "must be a whole number from 0 to 36500", id="negative days"),
        pytest.param("strict: maybe", 'strict: must be true or false, found "maybe"', id="strict"),
        pytest.param("outbound: {cert: a}", "outbound: belongs to mode bridge - remove it, or set mode", id="outbound"),
        pytest.param("router: {domain: a}", "router: belongs to mode router - remove it, or set", id="router"),
        pytest.param("tunnels: a", 'tunnels: must be a list - begin each entry with "- "', id="tunnels as a word"),
        pytest.param("tunnels: [a]", "tunnels[0]: must be a mapping of keys", id="tunnels as words"),
    ],
)
def test_a_fault_in_an_optional_section_is_the_only_one_told(lines: str, sentence: str) -> None:
    (problem,) = told(f"{MINIMAL}{lines}\n")

    assert problem.startswith("f.yaml: ")
    assert sentence in problem
    assert problem.isprintable()


TLS = "tls: {cert: server.pem, key: server-key.pem, ca: ca.pem}"


@pytest.mark.parametrize(
    ("tls", "sentence"),
    [
        pytest.param("tls: {key: k, ca: c}", "tls.cert: is missing - a PEM file: the leaf first", id="no leaf"),
        pytest.param("tls: {cert: c, ca: c}", "tls.key: is missing - the PEM private key", id="no key"),
        pytest.param("tls: {cert: c, key: k}", "tls.ca: is missing - the CA bundle that signs the peers", id="no CA"),
        pytest.param("tls: {cert: c, key: k, ca: }", "tls.ca: is missing - the CA bundle", id="an empty CA"),
        pytest.param("tls: {cert: c, key: k, ca: []}", "tls.ca: names no file - the CA bundle", id="no CA in a list"),
        pytest.param('tls: {cert: c, key: k, ca: ""}', "tls.ca: is empty - write the path of a file", id="no path"),
        pytest.param(
            "tls: {cert: c, key: k, ca: [a, 1]}", "tls.ca[1]: must be a string, but YAML takes 1", id="a number"
        ),
        pytest.param("tls: {cert: c, key: k, ca: {a: b}}", "tls.ca: must be a single string, found a map", id="a map"),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, client_auth: optionl}",
            'tls.client_auth: must be required, optional or none, found "optionl" - did you mean optional?',
            id="client_auth",
        ),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, server_name: 'db:5432'}",
            '"db:5432" is neither a name nor an IP address - write the name alone;',
            id="a port in the server's name",
        ),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, server_uri: 'spiffe://A/b'}",
            'tls.server_uri: "spiffe://A/b" is no SPIFFE ID',
            id="SPIFFE ID",
        ),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, server_uri: ['spiffe://a/*']}",
            'tls.server_uri[0]: "spiffe://a/*" has a * - it is compared exactly here',
            id="a star in a SPIFFE ID",
        ),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, trust: [{domain: A, ca: b}]}",
            'tls.trust[0].domain: "A" is no SPIFFE trust domain',
            id="trust domain",
        ),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, trust: [{domain: a}]}",
            "tls.trust[0].ca: is missing - the CA bundle of that trust domain",
            id="a trust domain without CA",
        ),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, trust: [{domain: a, ca: b}, {domain: a, ca: c}]}",
            'tls.trust[1].domain: "a" stands twice - put all its CA files into one entry',
            id="a trust domain twice",
        ),
        pytest.param(
            "tls: {cert: c, key: k, ca: a, reload_interval: 1ms}",
            'tls.reload_interval: must be at least 10ms, or 0, found "1ms"',
            id="a busy re-read",
        ),
        pytest.param("tls: {cert: c, key: k, ca: a, crl_check: all}", "must be leaf or chain", id="crl_check"),
    ],
)
def test_a_fault_in_tls_is_the_only_one_told(tls: str, sentence: str) -> None:
    (problem,) = told(MINIMAL.replace(TLS, tls))

    assert sentence in problem


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("sever", '"sever" is not a mode - did you mean server?'),
        ("Client", '"Client" is not a mode - did you mean client?'),
        ("proxy", '"proxy" is not a mode - write server (mTLS in, TCP out), client (TCP in, mTLS out), bridge'),
        ("[server]", '"" is not a mode - write server'),
        ("1", '"1" is not a mode - write server'),
        ("rooter", '"rooter" is not a mode - did you mean router?'),
    ],
)
def test_an_unknown_mode_is_told_with_the_known_ones(mode: str, sentence: str) -> None:
    (problem,) = told(MINIMAL.replace("mode: server", f"mode: {mode}"))

    assert problem.startswith(f"f.yaml: mode: {sentence}")


def test_an_unknown_key_is_a_warning_that_names_the_nearest() -> None:
    text = MINIMAL + "acls: {}\nproxy: {idle-timeout: 3s, frobnicate: 1, allow_cn: [x]}\n"

    loaded = load([Source("f.yaml", text)])

    assert [(str(warning), warning.did_you_mean) for warning in loaded.warnings] == [
        ("f.yaml: acls: unknown key - did you mean acl?", "acl"),
        ("f.yaml: proxy.idle-timeout: unknown key - did you mean idle_timeout?", "idle_timeout"),
        ("f.yaml: proxy.frobnicate: unknown key - it has no effect; remove it", ""),
        ("f.yaml: proxy.allow_cn: unknown key - did you mean acl.allow_cn?", "acl.allow_cn"),
    ]


def test_an_unknown_key_is_an_error_when_strict() -> None:
    assert told(MINIMAL + "strict: true\nacls: {}\n") == ["f.yaml: acls: unknown key - did you mean acl?"]


def test_an_unknown_key_is_told_beside_an_error_that_it_may_explain() -> None:
    assert told(MINIMAL.replace("target", "tagret")) == [
        'f.yaml: target: is missing - the address to forward to, such as "127.0.0.1:8080"',
        "f.yaml: tagret: unknown key - did you mean target?",
    ]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        pytest.param(
            "health: {enabled: true, listen: ':8443'}",
            "health.listen: :8443 is taken by the tunnel (0.0.0.0:8443) - give each listener a port of its own",
            id="health on the tunnel's port",
        ),
        pytest.param(
            "metrics: {enabled: true, listen: '127.0.0.1:8443'}",
            "metrics.listen: 127.0.0.1:8443 is taken by the tunnel (0.0.0.0:8443)",
            id="metrics on the tunnel's port",
        ),
        pytest.param(
            "health: {enabled: true, listen: '0.0.0.0:9001'}\nmetrics: {enabled: true}",
            "metrics.listen: 127.0.0.1:9001 is taken by health (0.0.0.0:9001)",
            id="metrics under another address of health",
        ),
    ],
)
def test_two_listeners_on_one_port_are_refused(lines: str, sentence: str) -> None:
    (problem,) = told(MINIMAL + lines + "\n")

    assert sentence in problem


@pytest.mark.parametrize(
    "lines",
    [
        "health: {enabled: true, listen: '127.0.0.1:9001'}\nmetrics: {enabled: true}",
        "health: {enabled: false, listen: ':8443'}",
    ],
)
def test_health_and_metrics_may_share_a_listener_and_what_is_off_takes_no_port(lines: str) -> None:
    assert configured(MINIMAL + lines + "\n").metrics.listen.port == 9001


def test_a_tunnel_that_would_dial_itself_is_refused() -> None:
    assert told(MINIMAL.replace("0.0.0.0:8443", "127.0.0.1:8080")) == [
        "f.yaml: target: is the tunnel's own listen address - it would dial itself without end"
    ]


@given(st.text("ab:{}[]-,.*&!\"'\n 019spiffe/@_", max_size=80))
def test_whatever_is_added_to_a_file_it_loads_or_is_told_in_printable_lines(tail: str) -> None:
    lines = ""
    try:
        load([Source("f.yaml", MINIMAL + tail)])
    except ConfigError as error:
        lines = str(error)
    assert all(line.isprintable() and line.startswith("f.yaml: ") for line in lines.split("\n") if lines)
