"""Addresses that cannot be bound: one plain sentence, and nothing half open."""

import asyncio
import os
import socket

import pytest

from mtls_tunnel.config.schema import Address
from mtls_tunnel.errors import ListenError
from mtls_tunnel.observe.admin import Admin
from support.procfs import descriptors


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def start_and_stop(listen: Address, setting: str = "health.listen") -> Address:
    async def run() -> Address:
        admin = Admin(listen, {}, setting=setting)
        await admin.start()
        await admin.stop()
        return admin.listen

    return asyncio.run(run())


def test_a_port_in_use_is_named_with_its_setting_and_a_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            start_and_stop(Address("127.0.0.1", port), "metrics.listen")
    assert str(caught.value) == (
        f"metrics.listen: cannot listen on 127.0.0.1:{port}: "
        "the port is in use - choose another, or stop what listens there"
    )


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["", "::"])
def test_every_address_is_both_families(host: str) -> None:
    async def run() -> None:
        admin = Admin(Address(host, 0), {})
        await admin.start()
        try:
            for one in ("127.0.0.1", "::1"):
                _, writer = await asyncio.open_connection(one, admin.listen.port)
                writer.close()
                await writer.wait_closed()
        finally:
            await admin.stop()

    asyncio.run(run())


def test_two_admin_listeners_do_not_share_a_port() -> None:
    async def run() -> None:
        first = Admin(Address("127.0.0.1", 0), {})
        await first.start()
        try:
            with pytest.raises(ListenError, match="the port is in use"):
                await Admin(first.listen, {}).start()
        finally:
            await first.stop()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        pytest.param("192.0.2.77", "this machine has no such address", id="an address of another machine"),
        pytest.param("no-such-host.invalid", "the host name does not resolve", id="a name that does not exist"),
    ],
)
def test_an_impossible_address_is_said_in_words(host: str, sentence: str) -> None:
    with pytest.raises(ListenError, match=sentence):
        start_and_stop(Address(host, 9000))


def test_an_empty_host_means_every_address_on_one_port() -> None:
    async def run() -> None:
        admin = Admin(Address("", 0), {})
        await admin.start()
        for host in ("127.0.0.1", *(["::1"] if has_ipv6() else [])):
            _, writer = await asyncio.open_connection(host, admin.listen.port)
            writer.close()
            await writer.wait_closed()
        await admin.stop()

    asyncio.run(run())


def test_starting_and_stopping_leaves_no_descriptor_behind() -> None:
    start_and_stop(Address("127.0.0.1", 0))
    before = descriptors(os.getpid())
    for _ in range(5):
        start_and_stop(Address("127.0.0.1", 0))
    assert descriptors(os.getpid()) == before
