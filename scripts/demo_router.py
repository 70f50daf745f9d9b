"""`make demo-router`: one mTLS port, two users, three hosts; who gets where, and an access that is withdrawn.

The files are those of tunnel/examples/router, in a temporary folder and on ports that are free.  Everything is gone
afterwards; exit code 1 if a step does not happen as promised.
"""

import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "tunnel" / "examples"
TUNNEL = Path(sys.executable).with_name("tunnel")
SECONDS = 30.0
CERTIFICATES = (
    ("init", "certs"),
    ("issue", "certs", "router", "--dns", "*.connect.tinyscale.com", "--server"),
    ("issue", "certs", "user-456", "--uri", "spiffe://tinyscale.com/orgs/org-123/users/user-456", "--client"),
    ("issue", "certs", "user-789", "--uri", "spiffe://tinyscale.com/orgs/org-123/users/user-789", "--client"),
)
WISHES = (
    ("test-host-01", "user-456", True, "listed for the host"),
    ("test-host-02", "user-789", True, "in a team that is listed for the host"),
    ("test-host-02", "user-456", False, "neither"),
    ("test-host-03", "user-456", False, "there is no such host; from outside it looks the same"),
)


class Broken(Exception):
    """Something did not come as promised."""


def main() -> int:
    """Tell the story; 0 when every step held."""
    try:
        with tempfile.TemporaryDirectory(prefix="tunnel-demo-") as name:
            tell_all(Path(shutil.copytree(EXAMPLES / "router", Path(name) / "router")))
    except Broken as broken:
        print(f"not as promised: {broken}", file=sys.stderr)
        return 1
    return 0


def tell_all(folder: Path) -> None:
    router, echo = free_ports(folder)
    for words in CERTIFICATES:
        ended = subprocess.run([TUNNEL, "certs", *words], cwd=folder, capture_output=True, text=True, check=False)
        expect(ended.returncode == 0, ended.stderr)
    tell("a CA, a certificate for *.connect.tinyscale.com, one for each of two users")
    with ExitStack() as running:
        hosts = [sys.executable, str(EXAMPLES / "echo-server.py"), "-addr", f"127.0.0.1:{echo}"]
        running.enter_context(child(hosts, folder))
        running.enter_context(child([str(TUNNEL), "run", "-c", "router.yaml"], folder))
        until(lambda: all(map(listens, (router, echo))), "router and host listen")
        tell(f"one port, 127.0.0.1:{router}; the hosts stand on a plain echo server behind it")
        for host, user, allowed, why in WISHES:
            expect(gets_through(folder, router, host, user) is allowed, f"{user} at {host}")
            tell(f"{user} {'reaches' if allowed else 'is refused at'} {host}: {why}")
        withdraw(folder, router)


def withdraw(folder: Path, router: int) -> None:
    words = [sys.executable, "client.py", "test-host-01", "user-456", "--router", f"127.0.0.1:{router}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe) as live:
        assert live.stdin is not None
        assert live.stdout is not None
        live.stdin.write(b"hello\n")
        live.stdin.flush()
        expect(live.stdout.readline() == b"echo: hello\n", "a live connection")
        tell("user-456 has a live connection to test-host-01; now routes.yaml no longer lists them")
        routes = folder / "routes.yaml"
        new = folder / "routes.new"
        new.write_text(routes.read_text().replace("user_ids: [user-456]", "user_ids: []"))
        new.rename(routes)
        until(lambda: not gets_through(folder, router, "test-host-01", "user-456"), "new connections are refused")
        live.communicate(b"still there?\n", timeout=SECONDS)
        expect(live.returncode != 0, "the live connection is closed")
    tell("new connections are refused, and the live one was closed")


def gets_through(folder: Path, router: int, host: str, user: str) -> bool:
    words = [sys.executable, "client.py", host, user, "--router", f"127.0.0.1:{router}"]
    ended = subprocess.run(words, cwd=folder, input="hello\n", capture_output=True, text=True, check=False)
    return ended.stdout == "echo: hello\n"


def free_ports(folder: Path) -> tuple[int, int]:
    """Move the example to ports that are free; the router's and the hosts' are returned."""
    with ExitStack() as held:
        moved: dict[str, int] = {}
        for name in ("8443", "8080", "9000", "9001"):
            sock = held.enter_context(socket.socket())
            sock.bind(("127.0.0.1", 0))
            moved[name] = sock.getsockname()[1]
    for file in ("router.yaml", "routes.yaml"):
        path = folder / file
        path.write_text(re.sub(r"127\.0\.0\.1:(\d+)", lambda match: f"127.0.0.1:{moved[match[1]]}", path.read_text()))
    return moved["8443"], moved["8080"]


@contextmanager
def child(words: Sequence[str], folder: Path) -> Iterator[None]:
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as started:
        try:
            yield
        finally:
            started.terminate()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        expect(time.monotonic() < deadline, what)
        time.sleep(0.1)


def expect(held: bool, what: str) -> None:
    if not held:
        raise Broken(what)


def tell(text: str) -> None:
    print(f"* {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
