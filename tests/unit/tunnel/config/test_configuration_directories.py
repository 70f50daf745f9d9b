"""Several files as one configuration: names, relative paths, and who has the say in process-wide sections."""

import pytest

from mtls_tunnel.config.load import Source, load
from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import ConfigError
from support.configs import MINIMAL

OTHER = MINIMAL.replace("8443", "8444")
PAIR = MINIMAL.replace("mode: server", "").replace('listen: "0.0.0.0:8443"', "").replace('target: "127.0.0.1:8080"', "")
TWO = f"{PAIR}tunnels:\n- {{name: x, mode: server, listen: ':1', target: 'a:1'}}\n"


def in_directory(path: str, text: str) -> Source:
    return Source.of_directory(path, text.encode())


def told(*sources: Source, process: Source | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(sources, process=process)
    return str(caught.value).split("\n")


@pytest.mark.parametrize(
    ("path", "name", "base"),
    [
        ("/etc/t/db.yaml", "db", "/etc/t"),
        ("/etc/t/3f2a/tunnel.yaml", "3f2a", "/etc/t/3f2a"),
        ("conf.d/db.v2.yaml", "db.v2", "conf.d"),
        ("db.yaml", "db", "."),
        ("tunnel.yaml", "tunnel", "."),
    ],
)
def test_a_tunnel_is_named_after_its_file_or_folder(path: str, name: str, base: str) -> None:
    (tunnel,) = load([in_directory(path, MINIMAL)]).config.tunnels

    assert (tunnel.name, tunnel.tls.cert, tunnel.tls.ca) == (name, f"{base}/server.pem", (f"{base}/ca.pem",))


def test_every_path_of_a_file_is_relative_to_it_and_absolute_ones_stay() -> None:
    text = """\
mode: bridge
listen: ":1"
target: a:1
tls: {cert: c, key: /k, ca: [a, /b], crl: crls, trust: [{domain: d, ca: t}]}
outbound: {cert: o, ca: p}
"""
    (tunnel,) = load([in_directory("/etc/t/db.yaml", text)]).config.tunnels

    assert tunnel.outbound is not None
    assert (tunnel.tls.cert, tunnel.tls.key, tunnel.tls.ca) == ("/etc/t/c", "/k", ("/etc/t/a", "/b"))
    assert (tunnel.tls.crl, tunnel.tls.trust[0].ca) == ("/etc/t/crls", ("/etc/t/t",))
    assert (tunnel.outbound.cert, tunnel.outbound.key, tunnel.outbound.ca) == ("/etc/t/o", "/k", ("/etc/t/p",))


def test_paths_of_a_file_on_the_command_line_stay_as_they_are_written() -> None:
    (tunnel,) = load([Source.of("/etc/t/server.yaml", MINIMAL.encode())]).config.tunnels

    assert (tunnel.name, tunnel.tls.cert) == ("", "server.pem")


def test_files_with_one_and_with_several_tunnels_make_one_configuration() -> None:
    config = load([in_directory("d/a.yaml", MINIMAL), in_directory("d/b.yaml", TWO)]).config

    assert [tunnel.name for tunnel in config.tunnels] == ["a", "x"]


def test_the_first_file_that_has_a_process_wide_section_has_the_say() -> None:
    config = load(
        [
            in_directory("d/a.yaml", MINIMAL + "metrics: {prefix: first}\n"),
            in_directory("d/b.yaml", OTHER + "metrics: {prefix: second}\nlogging: {level: debug}\nstrict: true\n"),
        ]
    ).config

    assert (config.metrics.prefix, config.logging.level, config.strict) == ("first", "debug", True)


def test_the_file_of_the_process_goes_before_all_others() -> None:
    config = load(
        [in_directory("d/a.yaml", MINIMAL + "health: {enabled: true, listen: ':1'}\nexpiry: {warn_days: 9}\n")],
        process=Source("process.yaml", "health: {enabled: true, listen: ':15020'}\n"),
    ).config

    assert (config.health.listen, config.expiry.warn_days) == (Address("", 15020), 9)


def test_a_file_of_a_directory_may_hold_process_wide_sections_only() -> None:
    config = load([in_directory("d/00.yaml", "logging: {level: warn}\n"), in_directory("d/a.yaml", MINIMAL)]).config

    assert ([tunnel.name for tunnel in config.tunnels], config.logging.level) == (["a"], "warn")


def test_an_empty_mapping_is_no_file_of_process_wide_sections() -> None:
    lines = told(in_directory("d/00.yaml", "{}\n"), in_directory("d/a.yaml", MINIMAL))

    assert [line.split(" - ")[0] for line in lines] == [
        "d/00.yaml: mode: is missing",
        "d/00.yaml: listen: is missing",
        "d/00.yaml: target: is missing",
        "d/00.yaml: tls.cert: is missing",
        "d/00.yaml: tls.key: is missing",
        "d/00.yaml: tls.ca: is missing",
    ]


def test_strict_counts_for_every_file() -> None:
    sources = (in_directory("d/a.yaml", MINIMAL + "frob: 1\n"), in_directory("d/b.yaml", OTHER + "strict: true\n"))

    assert told(*sources) == ["d/a.yaml: frob: unknown key - it has no effect; remove it"]


def test_all_faults_of_all_files_are_told_the_process_file_first() -> None:
    assert told(
        in_directory("d/a.yaml", MINIMAL + "strict: 3\n"),
        in_directory("d/b.yaml", "mode: [\n"),
        in_directory("d/c.yaml", OTHER + "expiry: 3\n"),
        process=Source("p.yaml", "logging: 1\n"),
    ) == [
        "p.yaml: logging: must be a mapping of keys - put its settings below it, indented",
        'd/a.yaml: strict: must be true or false, found "3"',
        "d/b.yaml: line 2: is not valid YAML: did not find expected node content"
        " - check indentation, colons, brackets and quotes there",
        "d/c.yaml: expiry: must be a mapping of keys - put its settings below it, indented",
    ]


def test_names_and_ports_are_unique_over_all_files() -> None:
    again = TWO.replace("name: x", "name: a").replace(":1'", ":8443'")

    assert told(in_directory("d/a.yaml", MINIMAL), in_directory("d/b.yaml", again)) == [
        'd/b.yaml: tunnels[0].name: the name "a" is taken by d/a.yaml - each tunnel needs a name of its own',
        "d/b.yaml: tunnels[0].listen: :8443 is taken by the tunnel a (0.0.0.0:8443)"
        " - give each listener a port of its own",
    ]


def test_two_files_that_name_their_tunnel_alike_are_refused() -> None:
    assert told(in_directory("d/a.yaml", MINIMAL), in_directory("d/a/tunnel.yaml", OTHER)) == [
        'd/a/tunnel.yaml: the name "a" is taken by d/a.yaml - each tunnel needs a name of its own'
    ]


def test_a_file_whose_name_cannot_name_a_tunnel_is_refused() -> None:
    assert told(in_directory("d/My Tunnel.yaml", MINIMAL)) == [
        'd/My Tunnel.yaml: its tunnel cannot be named "My Tunnel" after it'
        " - rename the file: up to 63 lower-case letters, digits, . - and _"
    ]


def test_the_file_of_the_process_has_no_tunnel() -> None:
    assert told(Source("f.yaml", MINIMAL), process=Source("p.yaml", "mode: server\ntls: {}\nacl: {}\n")) == [
        "p.yaml: mode: belongs to a tunnel, not to the whole process - move it to the file of -c",
        "p.yaml: tls: belongs to a tunnel, not to the whole process - move it to the file of -c",
        "p.yaml: acl: belongs to a tunnel, not to the whole process - move it to the file of -c",
    ]


@pytest.mark.parametrize(
    ("sources", "line"),
    [
        pytest.param([], "no configuration file was found - name one with -c FILE", id="none"),
        pytest.param(
            [in_directory("d/a.yaml", "strict: true\n"), in_directory("d/b.yaml", "strict: true\n")],
            "d/a.yaml: has no tunnel, and no other file has one - add mode, listen, target and tls",
            id="only process-wide sections",
        ),
        pytest.param(
            [Source.of("f.yaml", b"\xff\xfem\0")], "f.yaml: line 1: is not UTF-8 - save the file", id="UTF-16"
        ),
        pytest.param([Source.of("f.yaml", b"\xef\xbb\xbf")], "f.yaml: is empty - it needs at least", id="only a mark"),
    ],
)
def test_without_a_tunnel_there_is_nothing_to_run(sources: list[Source], line: str) -> None:
    (problem,) = told(*sources)

    assert problem.startswith(line)


def test_a_byte_order_mark_is_skipped() -> None:
    assert load([Source.of("f.yaml", b"\xef\xbb\xbf" + MINIMAL.encode())]) == load([Source("f.yaml", MINIMAL)])
