"""A rolling update: no request is lost while the injector goes away."""

import signal
import threading
import time
from pathlib import Path

from support.injectors import Injector
from support.raw_pods import raw_pod
from support.waiting import eventually


def test_requests_go_on_being_answered_until_nobody_is_sent_here_any_more(tmp_path: Path) -> None:
    with Injector(tmp_path, None, "--drain-seconds=2") as injector:
        kept = injector.connect()
        kept.review(raw_pod())
        failures: list[Exception] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    injector.review(raw_pod())
                except (OSError, AssertionError) as error:
                    failures.append(error)

        asker = threading.Thread(target=ask)
        asker.start()
        injector.child.signal(signal.SIGTERM)
        injector.child.wait_for_line("injector draining")
        assert injector.readiness() == (503, '{"status": "not ready", "reason": "draining"}')
        kept.request("GET", "/")  # any answer now asks to go elsewhere
        assert kept.getresponse().status == 404
        begun = time.monotonic()
        stop_at = begun + 1
        eventually(lambda: time.monotonic() > stop_at, "half of the drain")
        stop.set()
        asker.join()

        assert injector.child.wait() == 0
        assert failures == []
        injector.child.wait_for_line("injector stopped")
        kept.close()


def test_during_the_drain_connections_are_asked_to_go_elsewhere(tmp_path: Path) -> None:
    with Injector(tmp_path, None, "--drain-seconds=2") as injector:
        kept = injector.connect()
        kept.review(raw_pod())
        injector.child.signal(signal.SIGTERM)
        injector.child.wait_for_line("injector draining")
        kept.request("POST", "/mutate", b"{}")
        response = kept.getresponse()
        assert response.headers["Connection"] == "close"
        kept.close()
        assert injector.child.wait() == 0


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with Injector(tmp_path, None, "--drain-seconds=60") as injector:
        injector.child.signal(signal.SIGTERM)
        injector.child.wait_for_line("injector draining")
        injector.child.signal(signal.SIGTERM)
        assert injector.child.wait() == -signal.SIGTERM


def test_a_port_in_use_is_said_in_one_line(tmp_path: Path) -> None:
    with Injector(tmp_path) as injector, injector.another() as second:
        assert second.wait() == 1
        (line,) = second.lines
        assert "injector cannot run" in line
        assert "address already in use" in line
