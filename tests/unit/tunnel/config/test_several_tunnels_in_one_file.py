"""``tunnels:``: shared sections are laid under each entry, names and ports are unique."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel.config.load import Source, load
from mtls_tunnel.config.schema import Address, Config, Proxy, Tunnel
from mtls_tunnel.errors import ConfigError
from support.configs import configured

SHARED = "tls: {cert: c, key: k, ca: a}\n"
ONE = "- {name: one, mode: server, listen: ':1', target: 'a:1'"
TWO = "- {name: two, mode: server, listen: ':2', target: 'a:1'"


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load([Source("f.yaml", text)])
    return str(caught.value).split("\n")


def tunnel(config: Config, name: str) -> Tunnel:
    (found,) = (one for one in config.tunnels if one.name == name)
    return found


def test_mappings_merge_deeply_while_lists_and_scalars_replace() -> None:
    config = configured(
        """\
tls: {cert: c, key: k, ca: [a, b], min_version: TLS1.3}
acl: {default: deny, allow_cn: [everybody], deny_cn: [mallory]}
roles: {reader: {allow_cn: [r], allow_org: [o]}}
proxy: {dial_timeout: 3s, max_connections: 5}
tunnels:
- {name: one, mode: server, listen: ":1", target: "a:1"}
- name: two
  mode: client
  listen: ":2"
  target: a:2
  tls: {ca: x, server_name: db}
  acl: {allow_cn: [nobody], allow_role: [reader]}
  roles: {reader: {allow_cn: [w]}, writer: {}}
  proxy: {max_connections: 7}
"""
    )

    one, two = config.tunnels
    assert (one.mode, one.listen, one.target) == ("server", Address("", 1), Address("a", 1))
    assert (one.tls.ca, one.tls.min_version, one.tls.server_name) == (("a", "b"), "TLS1.3", "")
    assert (two.tls.ca, two.tls.min_version, two.tls.server_name) == (("x",), "TLS1.3", "db")
    assert (one.acl.allow.cn, one.acl.deny.cn) == (("everybody",), ("mallory",))
    assert (two.acl.allow.cn, two.acl.deny.cn, two.acl.default) == (("nobody",), ("mallory",), "deny")
    assert [(name, rules.cn, rules.org) for name, rules in two.roles] == [
        ("reader", ("w",), ("o",)),
        ("writer", (), ()),
    ]
    assert one.proxy == Proxy(dial_timeout_seconds=3.0, max_connections=5, handshake_timeout_seconds=3.0)
    assert two.proxy == Proxy(dial_timeout_seconds=3.0, max_connections=7, handshake_timeout_seconds=3.0)


def test_an_empty_section_of_a_tunnel_changes_nothing() -> None:
    config = configured(f"{SHARED}acl: {{allow_cn: [x]}}\ntunnels:\n{ONE}, acl: , tls: {{cert: }}}}\n")

    assert (config.tunnels[0].acl.allow.cn, config.tunnels[0].tls.cert) == (("x",), "c")


def test_an_empty_list_of_tunnels_is_as_if_it_were_not_there() -> None:
    config = configured(f"mode: server\nlisten: ':1'\ntarget: 'a:1'\n{SHARED}tunnels: []\n")

    assert [one.name for one in config.tunnels] == [""]


def test_a_fault_in_a_shared_section_is_told_there_and_once() -> None:
    text = f"tls: {{cert: c, key: k, ca: 5, frob: 1}}\nstrict: true\ntunnels:\n{ONE}}}\n{TWO}}}\n"

    assert told(text) == [
        'f.yaml: tls.ca: must be a string, but YAML takes 5 for a number - quote it: "5"',
        "f.yaml: tls.frob: unknown key - it has no effect; remove it",
    ]


def test_a_fault_in_an_entry_is_told_with_its_place() -> None:
    text = f"tunnels:\n{ONE}, tls: {{cert: c, key: k}}, acl: {{allow_ip: [x]}}}}\n"

    assert told(text) == [
        "f.yaml: tunnels[0].tls.ca: is missing - the CA bundle that signs the peers",
        'f.yaml: tunnels[0].acl.allow_ip[0]: "x" is no IP address or network - write 10.1.2.3 or 10.0.0.0/8',
    ]


def test_what_belongs_to_a_tunnel_has_no_place_beside_the_list() -> None:
    text = f"mode: server\nlisten: ':1'\ntarget: 'a:1'\nrouter: {{a: b}}\n{SHARED}tunnels:\n{ONE}}}\n"

    assert told(text) == [
        "f.yaml: mode: stands beside tunnels: - write it into each entry of tunnels:",
        "f.yaml: listen: stands beside tunnels: - write it into each entry of tunnels:",
        "f.yaml: target: stands beside tunnels: - write it into each entry of tunnels:",
        "f.yaml: router: stands beside tunnels: - write it into the entry with mode: router",
    ]


def test_what_belongs_to_the_whole_file_is_unknown_in_an_entry() -> None:
    loaded = load([Source("f.yaml", f"{SHARED}tunnels:\n{ONE}, health: {{}}, allow_cn: [x]}}\n")])

    assert [str(warning) for warning in loaded.warnings] == [
        "f.yaml: tunnels[0].health: unknown key - did you mean health at the top of the file?",
        "f.yaml: tunnels[0].allow_cn: unknown key - did you mean acl.allow_cn?",
    ]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        pytest.param("- {mode: server, listen: ':1', target: 'a:1'}", "tunnels[0].name: is missing", id="no name"),
        pytest.param(
            f"{ONE.replace('one', 'One')}}}", '"One" is no tunnel name - up to 63 lower-case', id="upper case"
        ),
        pytest.param(f"{ONE.replace('one', 'x' * 64)}}}", "is no tunnel name", id="64 letters"),
        pytest.param(f"{ONE.replace('one', '7')}}}", 'YAML takes 7 for a number - quote it: "7"', id="a number"),
        pytest.param(
            f"{ONE}}}\n{TWO.replace('two', 'one')}}}",
            'tunnels[1].name: the name "one" is taken by tunnels[0].name of f.yaml',
            id="one name twice",
        ),
        pytest.param(
            f"{ONE}}}\n{TWO.replace(':2', '127.0.0.1:1')}}}",
            "tunnels[1].listen: 127.0.0.1:1 is taken by the tunnel one (:1) - give each listener a port of its own",
            id="one port twice",
        ),
    ],
)
def test_names_and_ports_are_unique(entries: str, sentence: str) -> None:
    (problem,) = told(f"{SHARED}tunnels:\n{entries}\n")

    assert sentence in problem


def test_more_tunnels_than_one_process_should_hold_are_refused() -> None:
    entries = "".join(f"- {{name: t{i}, mode: server, listen: ':{i + 1}', target: 'a:1'}}\n" for i in range(1001))

    assert told(f"{SHARED}tunnels:\n{entries}") == [
        "f.yaml: tunnels: has 1001 entries, more than 1000 - use several processes"
    ]


BRIDGE = "- {name: b, mode: bridge, listen: ':3', target: 'a:1'"


def test_the_outbound_leg_of_a_bridge_is_as_tls_where_it_says_nothing_else() -> None:
    config = configured(
        f"""\
tls: {{cert: c, key: k, ca: a, server_name: inner, min_version: TLS1.3, crl: l}}
outbound: {{ca: other, server_uri: spiffe://example.org/db}}
tunnels:
{ONE}}}
{BRIDGE}}}
{BRIDGE.replace("name: b", "name: d").replace(":3", ":4")}, outbound: {{server_name: "", cert: d}}}}
"""
    )

    legs = [
        (leg.cert, leg.key, leg.ca, leg.server_name, leg.server_uri, leg.min_version, leg.crl)
        for leg in (tunnel(config, name).outbound for name in "bd")
        if leg is not None
    ]
    assert legs == [
        ("c", "k", ("other",), "inner", ("spiffe://example.org/db",), "TLS1.3", "l"),
        ("d", "k", ("other",), "", ("spiffe://example.org/db",), "TLS1.3", "l"),
    ]
    assert tunnel(config, "one").outbound is None


def test_a_bridge_without_outbound_uses_one_set_for_both_legs() -> None:
    (bridge,) = configured(f"mode: bridge\nlisten: ':1'\ntarget: 'a:1'\n{SHARED}").tunnels

    assert bridge.outbound == bridge.tls


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param(
            f"{SHARED}tunnels:\n{ONE}, outbound: {{cert: x}}}}\n{BRIDGE}}}\n", "tunnels[0].outbound", id="own"
        ),
        pytest.param(f"{SHARED}outbound: {{cert: x}}\ntunnels:\n{ONE}}}\n{TWO}}}\n", "outbound", id="shared by none"),
    ],
)
def test_an_outbound_section_that_no_bridge_uses_is_refused(text: str, place: str) -> None:
    assert told(text) == [f"f.yaml: {place}: belongs to mode bridge - remove it, or set mode: bridge"]


def test_an_unknown_key_in_outbound_is_told() -> None:
    loaded = load([Source("f.yaml", f"mode: bridge\nlisten: ':1'\ntarget: 'a:1'\n{SHARED}outbound: {{crt: x}}\n")])

    assert [str(warning) for warning in loaded.warnings] == ["f.yaml: outbound.crt: unknown key - did you mean cert?"]


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=6))
def test_ports_clash_exactly_when_two_are_the_same_and_not_chosen_by_the_kernel(ports: list[int]) -> None:
    entries = "".join(
        f"- {{name: t{i}, mode: server, listen: 'h:{port}', target: 'a:1'}}\n" for i, port in enumerate(ports)
    )
    fixed = [port for port in ports if port]
    clashes = len(fixed) - len(set(fixed))

    try:
        load([Source("f.yaml", f"{SHARED}tunnels:\n{entries}")])
        problems = 0
    except ConfigError as error:
        problems = len(error.problems)

    assert problems == clashes
