"""The story at scale, in the order in which a cluster lives it: it fills, pods come, more tunnels come, pods are
admitted at a rate, the operator is restarted, and then nothing happens for a while.
"""

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.admission import both, histogram
from bench.fleet import crowd
from bench.fleet.audit import Request, refused, writes
from bench.fleet.stage import Operator, Stage, cpu, memory_mb, until
from mtls_tunnel_operator import names
from mtls_tunnel_operator.cluster.api import Api
from mtls_tunnel_operator.model.kinds import Ref
from support.raw_pods import admission_review, raw_pod
from support.scrape import Samples

WEBHOOK_SECONDS = "apiserver_admission_webhook_admission_duration_seconds"
ROTATING = "rotating"  # the trust domain of the tunnels that come later; and the beginning of their names
LATE_PER_SECOND = 4.0
DAMAGE = 20  # of each sort, while the operator is away
Found = dict[str, float]


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything."""

    tunnels: int = 800  # at once
    late: int = 200  # one after the other; it is these whose CA is rotated
    pods: int = 5000
    rate: float = 50.0
    admission_seconds: float = 20.0
    steady_seconds: float = 960.0  # the comparison after ten minutes, and the looks that follow it, are within
    propagation_seconds: int = 20
    issuing_seconds: int = 60

    @property
    def all_tunnels(self) -> int:
        return self.tunnels + self.late


QUICK = Sizes(60, 20, 200, 50.0, 4.0, 15.0, 5, 10)


class Story:
    """One stage, one set of sizes; each chapter returns its figures."""

    def __init__(self, stage: Stage, sizes: Sizes, say: Callable[[str], None]) -> None:
        self._stage = stage
        self._sizes = sizes
        self._say = say

    async def tell(self) -> Found:
        """All chapters."""
        stage, found = self._stage, Found()
        async with stage.api() as api:
            await crowd.all_of(api.create, map(crowd.namespace, crowd.spaces()))
            stage.start_operator()
            stage.start_injector()
            rotation = (self._sizes.propagation_seconds, self._sizes.issuing_seconds)
            await api.create(crowd.domain(ROTATING, *rotation))
            for chapter in (self._fill, self._pods, self._late, self._admission):
                self._say(chapter.__name__.strip("_"))
                found |= await chapter(api)
            found |= await self._restarts(api)
            self._say("steady state")
            found |= self._steady()
        return found

    def refused(self) -> list[str]:
        """What RBAC did not allow, in words: there should be nothing."""
        lines = self._stage.audit.since(0, *map(Stage.account, ("operator", "injector")))
        found = [one for part in ("operator", "injector") for one in refused(lines, Stage.account(part))]
        return [f"{one.user} {one.verb} {one.resource} {one.namespace}/{one.name}" for one in found]

    # Chapters.

    async def _fill(self, api: Api) -> Found:
        stage, mark, began = self._stage, self._stage.audit.mark(), time.time()
        before = stage.operator.samples()
        await crowd.all_of(api.create, map(crowd.tunnel, range(self._sizes.tunnels)))
        made = await self._secrets_of(mark, {_key(crowd.tunnel(n)) for n in range(self._sizes.tunnels)})
        self._rest()
        after = stage.operator.samples()
        requests = _requests(after) - _requests(before)
        return {
            "fill_seconds": max(made.values()) - began,
            "requests_per_new_tunnel": requests / self._sizes.tunnels,
        }

    async def _pods(self, api: Api) -> Found:
        stage, sizes = self._stage, self._sizes
        mark, told = stage.audit.mark(), stage.metrics()
        began = time.perf_counter()
        await crowd.all_of(api.create, (crowd.pod(n, sizes.tunnels) for n in range(sizes.pods)), rate=sizes.rate)
        seconds = time.perf_counter() - began
        mean, bound = histogram(told, stage.metrics(), WEBHOOK_SECONDS, name="inject.mtlstunnel.dev")
        asked = [one for one in stage.audit.since(mark, '"create"') if one.resource == "pods" and one.code == 201]
        until(lambda: self._counted() >= sizes.pods, "all pods are in the statuses", [stage.operator.child], 5.0)
        until(self._all_run, "all pods run")
        self._rest()
        waits = sorted(one.answered - one.arrived for one in asked)
        return {
            "pods_per_second": sizes.pods / seconds,
            "pods_injected": self._counted(),
            "webhook_mean_ms": mean * 1000,
            "webhook_p99_below_ms": bound * 1000,
            "pod_created_p50_ms": _quantile(waits, 0.5) * 1000,
            "pod_created_p99_ms": _quantile(waits, 0.99) * 1000,
        }

    async def _late(self, api: Api) -> Found:
        """Tunnels that come one after the other into the full cluster."""
        stage, mark = self._stage, self._stage.audit.mark()
        issuer = {"certificate": {"issuerRef": {"kind": "MtlsTrustDomain", "name": ROTATING}}}
        late = [crowd.tunnel(n, ROTATING, **issuer) for n in range(self._sizes.late)]
        await crowd.all_of(api.create, late, rate=LATE_PER_SECOND)
        made = await self._secrets_of(mark, set(map(_key, late)))
        lines = stage.audit.since(mark, names.TUNNELS)
        asked = {(one.namespace, one.name): one.arrived for one in lines if one.verb == "create" and one.code == 201}
        waits = sorted(made[key] - asked[key] for key in made)
        self._rest()
        return {
            "created_p50_ms": _quantile(waits, 0.5) * 1000,
            "created_p99_ms": _quantile(waits, 0.99) * 1000,
            "created_worst_ms": waits[-1] * 1000,
        }

    async def _admission(self, _: Api) -> Found:
        """The injector alone, called as the API server calls it."""
        sizes, stage = self._sizes, self._stage
        bodies = [_review(number) for number in range(min(200, sizes.tunnels))]
        runs = both(
            stage.injector,
            stage.context(),
            bodies,
            tunnels=sizes.all_tunnels,
            rate=sizes.rate,
            seconds=sizes.admission_seconds,
        )
        found: Found = {}
        for run in runs:
            for figure in ("p50_ms", "p99_ms", "own_mean_ms", "own_p99_below_ms", "cpu_ms"):
                found[f"admission_{run.connections}_{figure}"] = getattr(run, figure)
        now, peak = memory_mb(stage.injector.child.pid)
        return {**found, "injector_rss_mb": now, "injector_peak_mb": peak}

    async def _restarts(self, api: Api) -> Found:
        """In order with nothing changed; in order with damage done meanwhile; killed."""
        stage, found = self._stage, Found()
        self._say("restart")
        stage.operator.end()
        mark = stage.audit.mark()
        found["restart_seconds"] = self._converged(stage.start_operator())
        found["restart_working_seconds"] = stage.operator.working_seconds
        found["restart_cpu_seconds"] = cpu(stage.operator.child)
        found["operator_rss_mb"], found["operator_peak_mb"] = memory_mb(stage.operator.pid)
        after = stage.operator.samples()
        found["requests_per_look"] = _requests(after) / _looks(after)
        found["restart_writes"] = len(self._writes(mark))
        self._say("restart after damage")
        stage.operator.end()
        damaged = await self._damage(api)
        found["repaired_seconds"] = self._converged(stage.start_operator())
        found["repaired"] = await self._repaired(api, damaged)
        self._say("restart after SIGKILL")
        stage.operator.end(signal.SIGKILL)
        found["killed_seconds"] = self._converged(stage.start_operator())
        return found

    def _steady(self) -> Found:
        """What happens while nothing happens."""
        stage, seconds = self._stage, self._sizes.steady_seconds
        self._rest()
        mark, before = stage.audit.mark(), stage.operator.samples()
        children = {"operator": stage.operator.child, "injector": stage.injector.child}
        spent = {part: cpu(child) for part, child in children.items()}
        time.sleep(seconds)
        after = stage.operator.samples()
        found = {
            f"steady_{part}_cpu_ms_per_second": 1000 * (cpu(children[part]) - spent[part]) / seconds
            for part in children
        }
        written = self._writes(mark)
        for one in written[:5]:
            self._say(f"a write: {one.verb} {one.resource} {one.namespace}/{one.name}")
        now, peak = memory_mb(stage.operator.pid)
        return {
            **found,
            "steady_seconds": seconds,
            "steady_writes": len(written),
            "steady_looks": _looks(after) - _looks(before),
            "steady_requests_per_minute": 60 * (_requests(after) - _requests(before)) / seconds,
            "steady_operator_rss_mb": now,
            "steady_operator_peak_mb": peak,
            "steady_injector_rss_mb": memory_mb(stage.injector.child.pid)[0],
        }

    # What they ask.

    async def _secrets_of(self, mark: int, wanted: set[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """When the last Secret of each tunnel was written, by the API server's clock."""
        times: dict[tuple[str, str], list[float]] = {}

        def complete() -> bool:
            times.clear()
            for one in self._stage.audit.since(mark, '"secrets"'):
                owner = (one.namespace, one.name.partition("-mtls-")[0])
                if one.user == Stage.account("operator") and one.is_write and one.code < 300 and owner in wanted:
                    times.setdefault(owner, []).append(one.answered)
            return len(times) == len(wanted) and all(len(each) >= 2 for each in times.values())

        until(complete, "all Secrets", [self._stage.operator.child])
        return {owner: max(each[:2]) for owner, each in times.items()}

    def _converged(self, operator: Operator) -> float:
        """Seconds from its start until each tunnel was looked at and nothing is left to do."""

        def done() -> bool:
            said = operator.samples()
            return _looks(said) >= self._sizes.all_tunnels and said.value(_name("workqueue_depth")) == 0

        until(done, "each tunnel is looked at", [operator.child], 0.5)
        return time.perf_counter() - operator.began

    def _rest(self) -> None:
        """Wait until nothing was written for some seconds."""
        while True:
            mark = self._stage.audit.mark()
            time.sleep(3.0)
            if not self._writes(mark):
                return

    def _writes(self, mark: int) -> list[Request]:
        user = Stage.account("operator")
        return writes(self._stage.audit.since(mark, user), user)

    def _counted(self) -> float:
        return self._stage.operator.samples().value(_name("pods"), state="updated")

    def _all_run(self) -> bool:
        """Whether the pretended nodes have said so of every pod, and say no more."""
        waiting = self._stage.kube("get", "--raw", "/api/v1/pods?limit=1&fieldSelector=status.phase!=Running")
        mark = self._stage.audit.mark()
        time.sleep(3.0)
        said = [one for one in self._stage.audit.since(mark, '"pods"') if one.resource == "pods/status"]
        return not json.loads(waiting)["items"] and not said

    async def _damage(self, api: Api) -> list[tuple[Ref, str]]:
        """Delete Secrets, ConfigMaps and Services; each with the UID that it had."""
        done = []
        chosen = random.Random(4).sample(range(self._sizes.tunnels), DAMAGE)
        for number in chosen:
            namespace, name = _key(crowd.tunnel(number))
            own = f"{name}-mtls-server"
            for ref in (
                Ref("secrets", namespace, own),
                Ref("configmaps", namespace, own),
                Ref("services", namespace, name),
            ):
                done.append((ref, (await api.get(ref))["metadata"]["uid"]))
                await api.delete(ref)
        return done

    @staticmethod
    async def _repaired(api: Api, damaged: Iterable[tuple[Ref, str]]) -> float:
        """The share that is there anew."""
        found = await asyncio.gather(*(api.get(ref) for ref, _ in damaged), return_exceptions=True)
        back = [
            isinstance(raw, dict) and raw["metadata"]["uid"] != uid
            for raw, (_, uid) in zip(found, damaged, strict=True)
        ]
        return sum(map(bool, back)) / len(back)


def _key(tunnel: crowd.Raw) -> tuple[str, str]:
    return tunnel["metadata"]["namespace"], tunnel["metadata"]["name"]


def _review(number: int) -> bytes:
    """A pod of usual size, 4 KB, of a namespace whose tunnel selects it."""
    pod = raw_pod(f"app-{number}-server")
    pod["spec"]["containers"][0]["env"] = [{"name": f"SETTING_{n}", "value": "x" * 40} for n in range(40)]
    return json.dumps(admission_review(pod, crowd.tunnel(number)["metadata"]["namespace"])).encode()


def _name(suffix: str) -> str:
    return f"mtls_tunnel_operator_{suffix}"


def _requests(said: Samples) -> float:
    """Everything it asked the API server for, but its Lease."""
    name = _name("api_requests_total")
    return said.value(name) - said.value(name, resource="leases")


def _looks(said: Samples) -> float:
    return said.value(_name("reconcile_total"), kind="tunnel")


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
