"""The event loop of the data path: asyncio's, over a poll that calls the hot descriptors itself.

asyncio wraps each event into a handle and runs it one turn later, which costs 4 us per event.  `Poll` is an ordinary
selector for asyncio's own descriptors; what is given to `watch` is called from inside `select`, at once, and asyncio
does not learn of it.  Bounded: after some rounds, at asyncio's next timer, or as soon as a callback has scheduled
anything on the loop, control goes back.

Callbacks of `watch` must not raise and must not block.  Public API only: `asyncio.SelectorEventLoop` takes a selector.
"""

import asyncio
import contextlib
import select
import selectors
import time
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
FAULT = select.EPOLLERR | select.EPOLLHUP
MOST_EVENTS = 256  # per poll
MOST_ROUNDS = 64  # polls within one select, so that asyncio's own callbacks wait a few milliseconds at most

Watcher = Callable[[int], None]
_Ts = TypeVarTuple("_Ts")


class Poll(selectors.BaseSelector):
    """epoll with two kinds of clients: asyncio's through `register`, and hot ones through `watch`."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._watchers: dict[int, Watcher] = {}
        self.called_back = False  # something was scheduled on the loop since `select` began

    def watch(self, descriptor: int, mask: int, watcher: Watcher) -> None:
        """Call *watcher* with the mask of what happened, level-triggered, until `forget`."""
        self._epoll.register(descriptor, mask)
        self._watchers[descriptor] = watcher

    def retarget(self, descriptor: int, mask: int, watcher: Watcher) -> None:
        """Another mask and another watcher for a descriptor that is being watched."""
        self._epoll.modify(descriptor, mask)
        self._watchers[descriptor] = watcher

    def change(self, descriptor: int, mask: int) -> None:
        """Another mask; FAULT is reported whatever the mask."""
        self._epoll.modify(descriptor, mask)

    def forget(self, descriptor: int) -> None:
        """Stop watching; nothing happens if it was not.  To be called before the descriptor is closed."""
        if self._watchers.pop(descriptor, None) is not None:
            self._epoll.unregister(descriptor)

    @property
    def watched(self) -> int:
        """How many descriptors are watched."""
        return len(self._watchers)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, _descriptor(fileobj), events, data)
        if key.fd in self._keys:
            raise KeyError(f"{fileobj!r} (FD {key.fd}) is already registered")
        self._epoll.register(key.fd, _mask(events))
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        key = self._keys.pop(_descriptor(fileobj))
        with contextlib.suppress(OSError):  # closed before: epoll has forgotten it by itself
            self._epoll.unregister(key.fd)
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        old = self._keys[_descriptor(fileobj)]
        if events != old.events:
            self._epoll.modify(old.fd, _mask(events))
        key = old._replace(events=events, data=data)
        self._keys[old.fd] = key
        return key

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[_descriptor(fileobj)]

    def close(self) -> None:
        self._epoll.close()
        self._keys.clear()
        self._watchers.clear()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve the watchers until asyncio has something to do: an event of its own, a callback, or *timeout*."""
        wait = -1.0 if timeout is None else max(timeout, 0.0)
        end = time.monotonic() + wait if wait > 0 else 0.0
        poll, watchers = self._epoll.poll, self._watchers
        ready: list[tuple[selectors.SelectorKey, int]] = []
        self.called_back = False
        for _ in range(MOST_ROUNDS):
            try:
                events = poll(wait, MOST_EVENTS)
            except InterruptedError:
                return ready
            for descriptor, mask in events:
                watcher = watchers.get(descriptor)
                if watcher is not None:
                    watcher(mask)
                else:
                    self._add(ready, descriptor, mask)
            if ready or self.called_back or not events or wait == 0:
                return ready
            if wait > 0:
                wait = end - time.monotonic()
                if wait <= 0:
                    return ready
        return ready

    def _add(self, ready: list[tuple[selectors.SelectorKey, int]], descriptor: int, mask: int) -> None:
        key = self._keys.get(descriptor)
        if key is None:
            return  # forgotten by a watcher that was called just before
        events = (selectors.EVENT_READ if mask & ~WRITE else 0) | (selectors.EVENT_WRITE if mask & ~READ else 0)
        if events & key.events:
            ready.append((key, events & key.events))


class Loop(asyncio.SelectorEventLoop):
    """An asyncio loop that tells its poll when there is something to come back for."""

    def __init__(self) -> None:
        self.poll = Poll()
        super().__init__(self.poll)

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        self.poll.called_back = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.poll.called_back = True
        return super().call_at(when, callback, *args, context=context)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """The loop to run a tunnel on: ``asyncio.Runner(loop_factory=new_event_loop)``."""
    return Loop()


def running_poll() -> Poll:
    """The poll of the running loop.

    Raises:
        RuntimeError: the running loop is not one of `new_event_loop`.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, Loop):
        raise RuntimeError("the data path runs on a loop of mtls_tunnel.flow.loop.new_event_loop")
    return loop.poll


def _descriptor(fileobj: Any) -> int:
    return fileobj if isinstance(fileobj, int) else int(fileobj.fileno())


def _mask(events: int) -> int:
    return (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0)
