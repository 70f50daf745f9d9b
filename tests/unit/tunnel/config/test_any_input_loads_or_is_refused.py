"""What the fuzzer checks, on what hypothesis finds; `make fuzz` goes further, guided by coverage."""

from hypothesis import given
from hypothesis import strategies as st

from support.config_oracles import PLACES, check_duration, check_file

KEYS = ["mode", "listen", "target", "tls", "acl", "roles", "proxy", "outbound", "tunnels", "name", "cert", "key", "ca"]
INNER = ["trust", "domain", "allow_cn", "deny_uri", "allow_role", "strict", "health", "enabled", "<<", "&a k"]
VALUES = ["server", "bridge", ":8443", "a:1", "1h", "0", "yes", "[a, b]", "{}", "~", '""', "&x [1]", "*x", "!t u", "x"]
LINES = st.builds(
    "{}{}: {}\n".format,
    st.sampled_from(["", "", "  ", "- ", "    "]),
    st.sampled_from(KEYS + INNER),
    st.sampled_from(["", *VALUES]),
)


@given(st.binary(max_size=200))
def test_any_bytes_load_or_are_refused(content: bytes) -> None:
    check_file(content)


@given(st.integers(0, PLACES - 1), st.lists(LINES, max_size=8))
def test_any_lines_of_the_known_keys_load_or_are_refused(place: int, lines: list[str]) -> None:
    check_file(bytes([place]) + "".join(lines).encode())


@given(st.binary(max_size=30))
def test_any_bytes_are_a_duration_or_are_refused(content: bytes) -> None:
    check_duration(content)
