"""What kopf is told: which kinds, with which selectors, and that it leaves nothing behind."""

from typing import Any

import pytest

from mtls_tunnel_operator.control.queue import Item, Queue
from mtls_tunnel_operator.control.view import View
from mtls_tunnel_operator.control.watching.handlers import Sight, registry_of, settings_of
from mtls_tunnel_operator.control.watching.resync import Selection
from support.clock import Clock
from support.operators import tunnel

CLUSTER = Selection(webhook="mtls-tunnel")
GET_ONLY = Selection(webhook="mtls-tunnel", namespaces=("shop",), unwatched=("secrets",))
OURS = "app.kubernetes.io/managed-by=mtls-tunnel"


async def nothing(_: Item) -> None:
    """Work of a queue that is not running."""


def seen_by() -> tuple[Sight, View, Queue[Item]]:
    clock = Clock()
    view, queue = View(), Queue(nothing, now=clock)
    return Sight(view, queue, clock), view, queue


def kinds(selection: Selection) -> set[str]:
    sight, _, _ = seen_by()
    registry = registry_of(selection, sight, lambda: None)
    return {str(handler.id).removeprefix("see-") for handler in registry._watching.get_all_handlers()}


def test_kinds_that_always_exist_are_registered_and_those_of_others_are_not() -> None:
    always = {"pods", "namespaces", "secrets", "configmaps", "services", "networkpolicies"}
    ours = {"mtlstunnels", "mtlstrustdomains", "mutatingwebhookconfigurations"}
    assert kinds(CLUSTER) == always | ours
    assert kinds(GET_ONLY) == (always | ours) - {"secrets"}


def test_only_low_level_handlers_are_registered_because_others_leave_finalizers_and_annotations() -> None:
    registry = registry_of(CLUSTER, seen_by()[0], lambda: None)
    for high in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert list(high.get_all_handlers()) == []


@pytest.mark.parametrize(
    ("plural", "labels", "fields"),
    [
        ("secrets", OURS, ""),
        ("configmaps", OURS, ""),
        ("services", OURS, ""),
        ("networkpolicies", "", ""),  # those of others matter
        ("pods", "", ""),
        ("mutatingwebhookconfigurations", "", "metadata.name=mtls-tunnel"),
    ],
)
def test_pain_18_the_api_server_selects_what_is_sent(plural: str, labels: str, fields: str) -> None:
    settings = settings_of(CLUSTER)
    assert (CLUSTER.labels(plural), CLUSTER.fields(plural)) == (labels, fields)
    set_labels = {str(key): value for key, value in settings.watching.label_selectors.items()}
    assert any(plural in key for key in set_labels) == bool(labels)


def test_kopf_asks_for_no_rights_beyond_ours_and_posts_nothing() -> None:
    settings = settings_of(CLUSTER)
    assert settings.scanning.disabled
    assert not settings.posting.enabled
    assert not settings.peering.mandatory
    assert settings.watching.chunk_size
    assert settings.queueing.worker_limit is None  # a limit below the number of objects would block


def raw(**metadata: Any) -> dict[str, Any]:
    said = tunnel()
    return {**said, "metadata": {**said["metadata"], "uid": "u", **metadata}}


def test_an_event_is_taken_into_the_view_and_asks_for_work() -> None:
    sight, view, queue = seen_by()
    sight.event("mtlstunnels", "ADDED", raw(resourceVersion="5"))
    assert (len(view.tunnels), queue.depth) == (1, 1)


def test_an_event_of_kopfs_initial_list_is_taken_like_any_other_and_says_nothing_twice() -> None:
    sight, _, queue = seen_by()
    sight.event("mtlstunnels", None, raw(resourceVersion="5"))
    sight.event("mtlstunnels", "MODIFIED", raw(resourceVersion="5"))
    assert queue.depth == 1


def test_a_deletion_is_taken_and_one_of_an_older_object_is_not() -> None:
    sight, view, _ = seen_by()
    sight.event("mtlstunnels", "ADDED", raw(resourceVersion="5"))
    sight.event("mtlstunnels", "DELETED", raw(uid="another"))
    assert len(view.tunnels) == 1
    sight.event("mtlstunnels", "DELETED", raw(resourceVersion="6"))
    assert view.tunnels == {}
