"""A host name in `listen` whose resolver does not answer: what is connected goes on meanwhile."""

from pathlib import Path

from support.clients import PING, ask, connect, talk
from support.guarded import Guarded
from support.ports import free_port, listening
from support.processes import REPOSITORY
from support.waiting import eventually

# Found by the interpreter at its start: a resolver that answers once the file `answer` is there.
RESOLVER = """
import pathlib, socket, time

here, real = pathlib.Path(__file__).parent, socket.getaddrinfo


def getaddrinfo(host, *rest, **more):
    if host == "slow.example":
        (here / "asked").touch()
        while not (here / "answer").exists():
            time.sleep(0.01)
        host = "127.0.0.1"
    return real(host, *rest, **more)


socket.getaddrinfo = getaddrinfo
"""


def test_a_reload_that_waits_for_a_resolver_holds_nobody_up(tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(RESOLVER)
    with Guarded(tmp_path, env={"PYTHONPATH": f"{hook}:{REPOSITORY / 'tunnel'}"}) as guarded:
        old, new = guarded.port, free_port()
        with connect(old, guarded.good) as kept:
            assert ask(kept) == PING
            guarded.tunnel.rewrite({"listen": f"slow.example:{new}"})
            eventually((hook / "asked").exists, "the resolver is asked")
            assert ask(kept) == PING
            assert talk(old, guarded.good) == PING
            (hook / "answer").touch()
            eventually(lambda: listening(new) and not listening(old), "it has moved")
            assert talk(new, guarded.good) == PING
            assert ask(kept) == PING


def test_a_name_that_does_not_resolve_changes_nothing(tmp_path: Path) -> None:
    with Guarded(tmp_path) as guarded:
        before = guarded.tunnel.settings["listen"]
        guarded.tunnel.rewrite({"listen": f"host.invalid:{free_port()}"})
        guarded.tunnel.wait_for_line(r"reload failed.*: host\.invalid is no address of this machine")
        guarded.tunnel.rewrite({"listen": before})
        guarded.greet()
