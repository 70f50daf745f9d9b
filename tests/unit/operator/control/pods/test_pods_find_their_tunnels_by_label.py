"""The index that finds tunnels for a pod leaves none out, and its answers follow what changes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mtls_tunnel_operator.control.pods.expectations import Expectations, Reach
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.model.parts import parts_of
from mtls_tunnel_operator.model.resources import Tunnel
from mtls_tunnel_operator.settings import Defaults
from support.tunnel_resources import pod, space, space_raw, tunnel, tunnel_raw

KEYS, VALUES, SPACES = ("app", "tier"), ("a", "b", "c"), ("shop", "bi")
DEFAULTS = Defaults(sidecar_image="registry.example/mtls-tunnel:1")

expressions = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": sorted(values)},
        st.sampled_from(KEYS),
        st.sampled_from(["In", "NotIn"]),
        st.sets(st.sampled_from(VALUES), min_size=1),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(KEYS),
        st.sampled_from(["Exists", "DoesNotExist"]),
    ),
)
selectors = st.builds(lambda found: {"matchExpressions": found}, st.lists(expressions, min_size=1, max_size=3))
places = st.sampled_from(
    [
        {"from": "Same"},
        {"from": "Names", "names": ["bi"]},
        {"from": "Selector", "selector": {"matchExpressions": [{"key": "any", "operator": "DoesNotExist"}]}},
    ]
)


def _tunnel(number: int, home: str, server: Any, client: Any, where: Any) -> Tunnel:
    ports = [{"name": "pg", "targetPort": 5432, "tlsPort": 15432 + number}]
    listeners = [{"port": "pg", "localPort": 20000 + number}]
    clients = [{"name": "c", "selector": client, "namespaces": where, "listeners": listeners}]
    return tunnel(f"t{number}", home, server={"workload": {"selector": server}, "ports": ports}, clients=clients)


@given(
    st.lists(st.tuples(st.sampled_from(SPACES), selectors, selectors, places), max_size=6),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.sampled_from(SPACES),
)
def test_no_tunnel_that_concerns_a_pod_is_left_out(made: list[Any], labels: dict[str, str], where: str) -> None:
    tunnels = [_tunnel(number, *fields) for number, fields in enumerate(made)]
    home = space(where, accepts=SPACES)
    found = Reach(tunnels).of(where, labels)
    assert parts_of(home, labels, "default", found) == parts_of(home, labels, "default", tunnels)


def test_an_answer_is_forgotten_when_a_tunnel_changes() -> None:
    view = View()
    view.put("namespaces", space_raw("shop"))
    expectations = Expectations(view, lambda: DEFAULTS)
    expectations.refresh()
    assert expectations.of(pod()).parts == ()
    view.put("mtlstunnels", tunnel_raw(uid="u"))
    expectations.refresh()
    before = expectations.of(pod())
    assert [part.role for part in before.parts] == ["server"]
    view.put("mtlstunnels", {**tunnel_raw(uid="u", observability={"adminPort": 16000}), "status": {}})
    expectations.refresh()
    assert expectations.of(pod()).revision != before.revision


def test_a_status_that_is_written_forgets_nothing() -> None:
    view = View()
    view.put("namespaces", space_raw("shop"))
    view.put("mtlstunnels", tunnel_raw(uid="u"))
    expectations = Expectations(view, lambda: DEFAULTS)
    expectations.refresh()
    before = expectations.of(pod())
    view.put("mtlstunnels", {**tunnel_raw(uid="u"), "status": {"observedGeneration": 1}})
    expectations.refresh()
    assert expectations.of(pod()) is before
