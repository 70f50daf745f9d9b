"""The file of routes: the columns of the tables, all faults at once, and nothing taken that is misspelt."""

import pytest

from mtls_tunnel.errors import ConfigError
from mtls_tunnel.router.cache import Question
from mtls_tunnel.router.routes import Routes, parse
from mtls_tunnel.router.rows import Found, Host, Team, User

FILE = """
backend_hosts:
- {connect_id: Host-1, internal_ip_addr: "10.0.0.1:22", org_id: o, user_ids: [u], team_ids: [t, gone], host_user: root}
- {connect_id: host-2, internal_ip_addr: host2.internal, org_id: o}
teams:
- {team_id: t, org_id: o, user_ids: [v]}
users:
- {user_id: u, org_id: o, public_keys: [AAAA]}
- {user_id: v, org_id: o}
"""


def read(text: str) -> Routes:
    return parse(text, "routes.yaml", default_port=22)


def told(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_question_finds_the_rows_that_it_needs() -> None:
    routes = read(FILE)

    assert routes.find(Question("host-1", "v")) == Found(
        (Host("Host-1", "10.0.0.1:22", "o", frozenset({"u"}), frozenset({"t", "gone"})),),
        (Team("t", "o", frozenset({"v"})),),
        User("v", "o"),
    )
    assert routes.find(Question("host-3", "w")) == Found()


def test_hosts_that_differ_in_case_only_are_both_found_so_that_neither_is_reached() -> None:
    routes = read(FILE + "").hosts | {}
    twice = read(FILE.replace("host-2", "HOST-1"))

    assert len(routes["host-1"]) == 1
    assert [host.connect_id for host in twice.find(Question("host-1", "u")).hosts] == ["Host-1", "HOST-1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "routes.yaml: is empty - "),
        ("[]", "routes.yaml: "),
        ("backend_hosts: {}", "routes.yaml: backend_hosts: must be a list"),
        ("users: [{user_id: u}]", "routes.yaml: users[0].org_id: is missing"),
        ("users: [{user_id: '', org_id: o}]", "routes.yaml: users[0].user_id: is empty"),
        ("users: [{user_id: u, org_id: o, publick_keys: []}]", "routes.yaml: users[0].publick_keys: unknown key"),
        (
            "users: [{user_id: u, org_id: o, public_keys: ['?']}]",
            'routes.yaml: users[0].public_keys[0]: "?" is no base64',
        ),
        (
            "users: [{user_id: u, org_id: o}, {user_id: u, org_id: p}]",
            'routes.yaml: users[1].user_id: "u" stands twice',
        ),
        ("users: []\nuser: []", "routes.yaml: user: unknown key - did you mean users?"),
        ("users: []\nusers: []", "routes.yaml: users: "),
        ("users: [{user_id: 7, org_id: o}]", "routes.yaml: users[0].user_id: must be a string, but YAML takes 7"),
        (
            "backend_hosts: [{connect_id: h, internal_ip_addr: 'a b', org_id: o}]",
            "routes.yaml: backend_hosts[0].internal_ip_addr: ",
        ),
    ],
)
def test_each_fault_is_told_at_its_place(text: str, sentence: str) -> None:
    problems = told(text)

    assert problems[0].startswith(sentence)


def test_all_faults_are_told_at_once() -> None:
    assert len(told("users: [{user_id: u}, {org_id: o}]\nteams: [{}]")) == 4


def test_empty_lists_are_a_file_in_which_nobody_may_go_anywhere() -> None:
    assert read("backend_hosts: []").find(Question("h", "u")) == Found()
