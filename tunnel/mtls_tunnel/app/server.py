"""A judged configuration becomes a running process: the only place where things are wired together.

    start     prepare -> bind every listener -> health, metrics -> watch the files
    reload    prepare a whole new generation -> bind what is new -> publish -> re-judge live sessions
    end       not ready -> stop accepting -> let sessions finish -> stop health and metrics

A reload that fails at any point changes nothing.  Signals and file changes only ask for a reload; one
task performs them, one after the other.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from mtls_tunnel import __version__, tls
from mtls_tunnel.app import figures, generation, sources, status_state, watching
from mtls_tunnel.app.admin_pages import Pages
from mtls_tunnel.app.expiry import DAY_SECONDS, due
from mtls_tunnel.app.generation import Generation, Prepared
from mtls_tunnel.app.lane import Lane
from mtls_tunnel.app.watching import Request, Requests
from mtls_tunnel.config.load import Loaded
from mtls_tunnel.config.schema import Config
from mtls_tunnel.errors import ConfigError, ListenError, MaterialError, Problem, TunnelError
from mtls_tunnel.flow.listener import Offers
from mtls_tunnel.flow.loop import new_event_loop
from mtls_tunnel.observe import logs
from mtls_tunnel.observe.health import Snapshot
from mtls_tunnel.observe.logs import emit
from mtls_tunnel.observe.metrics import Meters
from mtls_tunnel.observe.status_page import ReloadState

# After a failure that no file change will announce the end of: a port in use, no free descriptor.
RETRY_SECONDS = 30.0


def run(path: str, process: str, loaded: Loaded) -> int:
    """Serve the configuration *loaded* from *path* until a signal ends it; returns the exit code.

    Raises:
        MaterialError: certificates that cannot be used, before anything was opened.
        ListenError: an address that cannot be bound.
    """
    logs.configure(loaded.config.logging)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(Server(path, process, loaded).serve())


class Server:
    """The process: one generation in use, a lane for each tunnel, the admin listeners.  Owns all of them."""

    def __init__(self, path: str, process: str, loaded: Loaded, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._process = process
        self._loaded = loaded
        self._now = now
        self._began = now()
        self._generation = Generation(loaded.config, {})
        self._lanes: dict[str, Lane] = {}
        self._leaving: tuple[Lane, ...] = ()
        self._farewells: set[asyncio.Task[None]] = set()
        self._meters = _new_meters(loaded.config)
        self._reloads = ReloadState()
        self._requests = Requests()
        self._stop = asyncio.Event()
        self._pages = Pages(snapshot=self._snapshot, status=self._status, meters=lambda: self._meters, now=now)

    async def serve(self) -> int:
        """Start, serve, drain.  Raises what `run` raises."""
        self._install_signals()
        try:
            await self._start()
            chores = asyncio.create_task(self._chores(), name="chores")
            stopped = asyncio.create_task(self._stop.wait(), name="wait for a signal")
            await asyncio.wait({chores, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if chores.done():  # they never end by themselves: this raises what went wrong
                await chores
            chores.cancel()
            await asyncio.wait({chores})
            await self._drain()
        finally:
            for lane in (*self._lanes.values(), *self._leaving):
                lane.stop()
                await lane.close()
            await self._pages.stop()
        return 0

    async def _start(self) -> None:
        config = self._loaded.config
        emit(logging.INFO, "mtlsd starting", mode=",".join(dict.fromkeys(tunnel.mode for tunnel in config.tunnels)))
        figures.log_config_warnings(self._loaded.warnings)
        self._generation = made = generation.prepare(config, now=self._now)
        figures.log_loaded(made)
        figures.log_cautions(made)
        self._lanes = await self._bound_lanes(made, self._meters)
        for lane in self._lanes.values():
            lane.start()
            figures.log_serving(lane.current, lane.address)
        await self._pages.serve(config)
        watching.announce(made)
        figures.publish(self._meters, made)
        self._log_expiry()
        # What was made so far lives as long as the process: keep the collector from walking it.
        gc.collect()
        gc.freeze()

    # -- reload ------------------------------------------------------------------------------

    async def _chores(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._requests.follow(self._watched), name="watch files")
            tasks.create_task(self._reload_forever(), name="reload")
            tasks.create_task(self._warn_daily(), name="expiry warnings")

    async def _reload_forever(self) -> None:
        while True:
            request = await self._requests.next(retry_seconds=RETRY_SECONDS if self._reloads.last_error else None)
            if request.signalled:
                emit(logging.INFO, "received SIGHUP, reloading certificates")
            for path in sorted(request.changed):
                emit(logging.DEBUG, "certstore: file changed, scheduling reload", file=path)
            try:
                changed = await self._reload(reread=request.concerns(sources.watched(self._path, self._process)))
            except (ConfigError, ListenError) as error:
                self._refuse(request, "config: reload failed, keeping the configuration in use", error)
            except MaterialError as error:
                self._refuse(request, "certstore: reload failed, keeping the certificates in use", error)
            else:
                self._reloaded(request, changed)
            await self._rejudge_removed()

    async def _rejudge_removed(self) -> None:
        """Sessions of tunnels that are configured no more: by their last rules, and by what the files of those say."""
        for lane in self._leaving:
            if self._successor(lane) is not None:
                continue  # judged with the tunnel of its name
            last = lane.current
            renewed = await asyncio.to_thread(generation.renewed, last, now=self._now)
            if renewed != last:
                lane.take(renewed, self._generation.config)
                await lane.rejudge()

    def _reloaded(self, request: Request, changed: bool) -> None:
        if request.signalled:
            emit(logging.INFO, "certificates reloaded successfully")
        elif changed:
            emit(logging.INFO, "certstore: certificates reloaded successfully")
        elif self._reloads.last_error:
            emit(logging.INFO, "reload: the files are as they are in use again")
        if request.signalled or changed:
            self._meters.reloaded("ok")
            self._reloads = replace(self._reloads, ok=self._reloads.ok + 1, last_at=self._now())
        self._reloads = replace(self._reloads, last_error="")

    def _refuse(self, request: Request, msg: str, error: TunnelError) -> None:
        text = "; ".join(str(error).splitlines())
        if request.unasked and text == self._reloads.last_error:
            return  # a silent retry that met what is known already
        self._meters.reloaded("failed")
        self._reloads = replace(self._reloads, failed=self._reloads.failed + 1, last_at=self._now(), last_error=text)
        emit(logging.ERROR, msg, error=text)

    async def _reload(self, *, reread: bool) -> bool:
        before = self._generation
        try:
            loaded, made = await asyncio.to_thread(self._prepare, reread)
        except TunnelError:
            raise
        except Exception as error:  # a root: what nobody foresaw in a file must not end a process that serves
            raise ConfigError(
                Problem("", "", f"{type(error).__name__}: {error}", "this is a defect: report it")
            ) from error
        if made == before:
            return False
        # Another prefix or label set is another set of series: what still drains keeps the old ones.
        meters = self._meters if _series(loaded.config) == _series(before.config) else _new_meters(loaded.config)
        lanes = await self._bound_lanes(made, meters)
        try:
            await self._pages.serve(loaded.config)
        except (ListenError, asyncio.CancelledError):
            self._give_back(lanes)
            raise
        if loaded.warnings != self._loaded.warnings:
            figures.log_config_warnings(loaded.warnings)
        self._loaded, self._generation, self._meters = loaded, made, meters
        await self._publish(lanes)
        return True

    def _prepare(self, reread: bool) -> tuple[Loaded, Generation]:
        loaded = sources.read(self._path, self._process) if reread and self._path else self._loaded
        return loaded, generation.prepare(loaded.config, now=self._now, previous=self._generation.prepared)

    async def _publish(self, lanes: dict[str, Lane]) -> None:
        made, before = self._generation, self._lanes
        logs.configure(made.config.logging)
        self._lanes = lanes
        for name, lane in lanes.items():
            lane.take(made.prepared[name], made.config)
            if lane.start():
                figures.log_serving(lane.current, lane.address)
        retired = [lane for name, lane in before.items() if lanes.get(name) is not lane]
        for lane in retired:
            lane.stop()
        for lane in retired:
            self._leaving = (*self._leaving, lane)
            farewell = asyncio.create_task(self._see_off(lane), name=f"see off {lane.name}")
            self._farewells.add(farewell)
            farewell.add_done_callback(self._farewells.discard)
        await asyncio.sleep(0)  # whoever has no session any more is gone by now
        self._requests.watch_anew()
        figures.log_cautions(made)
        figures.publish(self._meters, made)
        self._log_expiry()
        for lane in (*lanes.values(), *self._succeeded()):
            await lane.rejudge()

    def _succeeded(self) -> list[Lane]:
        """Lanes that only drain, of tunnels that are still configured: their sessions are judged by what is so now."""
        found = []
        for lane in self._leaving:
            if (prepared := self._successor(lane)) is not None:
                with contextlib.suppress(ConfigError):  # its successor has just read it: gone this very moment
                    lane.make_ready(prepared)
                lane.take(prepared, self._generation.config)
                found.append(lane)
        return found

    def _successor(self, lane: Lane) -> Prepared | None:
        prepared = self._generation.prepared.get(lane.name)
        return prepared if prepared is not None and lane.can_take(prepared) else None

    async def _see_off(self, lane: Lane) -> None:
        """Once its last session is over: it holds nothing any more."""
        await lane.registry.drained()
        self._leaving = tuple(other for other in self._leaving if other is not lane)
        lane.retire()
        self._requests.watch_anew()
        await lane.close()

    async def _bound_lanes(self, made: Generation, meters: Meters) -> dict[str, Lane]:
        """A lane for each tunnel, bound: the one in use where it can go on, else a new one.  All or none.

        Raises:
            ListenError: one address cannot be bound; whatever was bound for the others is given back.
            ConfigError: the store of a router cannot be used; likewise.
        """
        lanes: dict[str, Lane] = {}
        try:
            for name, prepared in made.prepared.items():
                lane = self._lanes.get(name)
                if lane is None or meters is not self._meters or not lane.can_take(prepared):
                    lane = Lane(prepared, made.config, meters.tunnel(name), self._now)
                lanes[name] = lane
                lane.make_ready(prepared)
            offers = self._offers(lanes, made)
            for name, lane in lanes.items():
                await lane.bind(made.prepared[name].tunnel.listen, offers)
        except (TunnelError, asyncio.CancelledError):  # a signal may end the wait for a name
            self._give_back(lanes)
            raise
        return lanes

    def _offers(self, lanes: dict[str, Lane], made: Generation) -> Offers:
        """The sockets in use that will be closed once *lanes* serve."""
        found: Offers = {}
        for name, lane in self._lanes.items():
            goes_on = lanes.get(name) is lane
            found |= lane.offers(made.prepared[name].tunnel.listen if goes_on else None)
        return found

    def _give_back(self, lanes: dict[str, Lane]) -> None:
        for name, lane in lanes.items():
            if lane is self._lanes.get(name):
                lane.give_back()
            else:
                lane.stop()
                lane.retire()

    # -- end ---------------------------------------------------------------------------------

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._requests.signal)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number)

    def _end(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            emit(logging.WARNING, "second signal, ending at once", signal=number.name)
            os._exit(1)
        emit(logging.INFO, "received signal, shutting down", signal=number.name)
        self._stop.set()

    async def _drain(self) -> None:
        lanes = (*self._lanes.values(), *self._leaving)
        for lane in lanes:
            lane.stop()
        cut = sum(await asyncio.gather(*(lane.drain() for lane in lanes)))
        if cut:
            emit(logging.WARNING, "shutdown timeout: connections cut", connections=cut)
        emit(logging.INFO, "shutdown complete")

    # -- what others ask for -----------------------------------------------------------------

    def _snapshot(self) -> Snapshot:
        listening = bool(self._lanes) and all(lane.listening for lane in self._lanes.values())
        reason = next((lane.fault for lane in self._lanes.values() if lane.fault), "")
        return Snapshot(listening, self._stop.is_set(), reason, figures.certificate_states(self._generation))

    def _status(self) -> bytes:
        lanes, snapshot = self._lanes.values(), self._snapshot()
        return status_state.body(lanes, self._leaving, snapshot, self._reloads, began=self._began, now=self._now())

    def _watched(self) -> watching.Watched:
        leaving = [lane.current for lane in self._leaving]
        return watching.watched(self._path, self._process, (*self._generation.prepared.values(), *leaving))

    async def _warn_daily(self) -> None:
        while True:
            await asyncio.sleep(DAY_SECONDS)
            self._log_expiry()

    def _log_expiry(self) -> None:
        materials = [one for prepared in self._generation.prepared.values() for one in prepared.materials()]
        for level, attributes in due(materials, self._generation.config.expiry, self._now()):
            emit(level, "certificate expires soon", **attributes)


def _series(config: Config) -> tuple[str, bool]:
    return config.metrics.prefix, any(tunnel.name for tunnel in config.tunnels)


def _new_meters(config: Config) -> Meters:
    prefix, labelled = _series(config)
    build = {"version": __version__, "python": ".".join(map(str, sys.version_info[:3])), "openssl": tls.versions()}
    return Meters(prefix, labelled=labelled, build=build)
