"""A fleet under a CA rotation, without a cluster: stored CAs, managed Secrets, and pods that read them late.

    fleet = Fleet(random, secrets=4)
    fleet.ask("1"); fleet.run(2000)

The operator is `rotation.decide` and nothing else: its steps are taken in any order, some are lost, some are taken
twice, and it forgets everything whenever it likes.  Every pod reads a written Secret up to `PROPAGATION` seconds
later, each at its own pace.  After each second that matters, `refused` says which pairs of pods would not accept
each other.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random

from mtls_tunnel_operator.authority import ca, rotation, state
from mtls_tunnel_operator.authority.ca import Pair
from mtls_tunnel_operator.authority.rotation import Decision, Holder, Holders, Make, Remove, Step
from mtls_tunnel_operator.authority.state import Authority, Memory, Progress, State
from mtls_tunnel_operator.model.resources import CaSpec, Rotation, TrustDomain
from support.clock import NOW

PROPAGATION, ISSUING, TICK = 100, 60, 10
YEAR = 31_536_000


@cache
def pair(number: int) -> Pair:
    """The *number*-th CA of a fleet: made once, since only what it is called matters."""
    return ca.make_root(CaSpec(duration_seconds=10 * YEAR), "cluster.local", NOW - 3600)


def domain(**changes: object) -> TrustDomain:
    """A trust domain with short waits."""
    waits = Rotation(PROPAGATION, ISSUING)
    return TrustDomain(
        name="default",
        uid="u",
        generation=1,
        created=NOW,
        trust_domain="cluster.local",
        rotation=waits,
        **changes,  # type: ignore[arg-type]
    )


@dataclass(frozen=True)
class Content:
    """What a Secret holds, or a pod has read."""

    issuer: str
    bundle: tuple[str, ...]

    def accepts(self, other: "Content") -> bool:
        return other.issuer in self.bundle


@dataclass
class Pod:
    has: Content
    coming: list[tuple[float, Content]] = field(default_factory=list)  # in the order in which it reads them


@dataclass
class Secret:
    content: Content
    pods: list[Pod]
    bundle_since: float
    issuer_since: float
    rotate_at: float = 0.0
    gone: bool = False


class Fleet:
    def __init__(self, random: Random, *, secrets: int = 3, source: str = "SelfSigned") -> None:
        self.random = random
        self.now = NOW
        self.clock = 0.0  # what the operator's clock adds to it
        self.domain = domain(ca=CaSpec(duration_seconds=10 * YEAR))
        self.stored: dict[int, Authority] = {}
        self.memories: tuple[Memory, ...] = ()
        self.made = 0
        self.started = self.now
        self.lost_keys: set[str] = set()
        self.phases: list[str] = []
        self.findings: set[str] = set()
        self._read: tuple[object, State] | None = None
        while self.state.current is None:
            self.operate()
        self.secrets = [self.new_secret() for _ in range(secrets)]

    # What happens.

    def ask(self, request: str) -> None:
        self.domain = replace(self.domain, rotate_request=request)

    def name_compromised(self, *fingerprints: str) -> None:
        self.domain = replace(self.domain, compromised=fingerprints)

    def run(self, seconds: float) -> Iterator[float]:
        """Let time pass; after each tick whoever called may look."""
        end = self.now + seconds
        while self.now < end:
            self.now += TICK
            self.deliver()
            self.operate()
            for secret in self.secrets:
                if self.random.random() < 0.7:  # its turn in the queue comes soon, not at once
                    self.tend(secret)
            self.deliver()
            yield self.now

    def rest(self, seconds: float = 8000) -> Iterator[float]:
        """Let time pass until nothing moves any more."""
        for now in self.run(seconds):
            yield now
            if self.rests and self.domain.rotate_request in ("", self.state.progress.request):
                return

    def settle(self, seconds: float = 4000) -> None:
        for _ in self.run(seconds):
            pass

    def restart(self) -> None:
        """The operator forgets what it has seen."""
        self.started = self.now
        for secret in self.secrets:
            secret.bundle_since = secret.issuer_since = self.now

    def lose_key(self, role: str) -> None:
        """Somebody deletes a CA's Secret; the bundle still remembers it."""
        for sequence, one in list(self.stored.items()):
            if one.role == role:
                self.lost_keys.add(one.fingerprint)
                del self.stored[sequence]

    # The operator.

    @property
    def state(self) -> State:
        """What is stored, as a process reads it that has just started."""
        told = (tuple(self.stored.values()), self.memories, self.domain.compromised)
        if self._read is None or self._read[0] != told:
            self._read = (told, state.assemble(*told))
        return self._read[1]

    @property
    def rests(self) -> bool:
        """Nothing is under way, in no pod."""
        known = self.state
        calm = known.progress.phase == "Stable" and len(known.authorities) == 1
        wanted = Content(known.fingerprints[0], known.fingerprints)
        return calm and all(pod.has == wanted and not pod.coming for secret in self.secrets for pod in secret.pods)

    def decide(self) -> Decision:
        secrets = getattr(self, "secrets", [])
        held = tuple(
            Holder(
                f"shop/{number}",
                one.content.issuer,
                self.digest(one.content.bundle),
                one.bundle_since + self.clock,
                one.issuer_since + self.clock,
            )
            for number, one in enumerate(secrets)
            if not one.gone
        )
        gone = tuple(f"shop/{number}" for number, one in enumerate(secrets) if one.gone)
        holders = Holders(held, gone, self.started + self.clock)
        return rotation.decide(self.state, self.domain, holders, self.now + self.clock)

    def operate(self) -> None:
        """Decide and take steps, as far as it gets."""
        for _ in range(12):
            decision = self.decide()
            self.findings |= {one.reason for one in decision.findings}
            if not decision.steps:
                break
            steps = list(decision.steps)
            self.random.shuffle(steps)
            if self.random.random() < 0.3:
                steps = steps[: self.random.randrange(len(steps) + 1)]  # killed in the middle
            for step in steps:
                for _ in range(self.random.choice((1, 1, 2))):  # an answer was lost: once more
                    self.take(step)
            if self.random.random() < 0.2:
                break
        self.remember()

    def take(self, step: Step) -> None:
        match step:
            case Make():
                if step.sequence in self.stored:
                    return  # 409: reuse what is there
                self.made += 1
                progress = step.progress or Progress()
                role: state.Role = "Current" if step.first else "Next"
                made = Authority(step.sequence, role, pair(self.made), progress=progress, stored_role=role)
                self.stored[step.sequence] = made
            case Remove():
                found = self.stored.get(step.authority.sequence)
                if found is not None and found.fingerprint == step.authority.fingerprint:
                    del self.stored[step.authority.sequence]
            case _:
                one = step.authority
                self.stored[one.sequence] = replace(one, stored_role=one.role, distrusted=False)

    def remember(self) -> None:
        """What the bundle's ConfigMap does: everything that is known, in the state that it is in."""
        known = self.state
        if known.current is None:
            return
        if not self.phases or self.phases[-1] != known.progress.phase:
            self.phases.append(known.progress.phase)
        trusted = set(known.fingerprints)
        self.memories = tuple(
            Memory(one.pair.certificate, one.role, one.sequence, known.progress)
            for one in known.authorities
            if one.fingerprint in trusted
        )

    # Secrets and pods.

    def new_secret(self) -> Secret:
        """A new tunnel: its pods read what is there when they start."""
        content = self.wanted(None)
        pods = [Pod(content) for _ in range(2)]
        return Secret(content, pods, 0.0, 0.0)

    def wanted(self, old: Content | None) -> Content:
        known = self.state
        current = known.current
        assert current is not None
        keep = old is not None and (old.issuer in known.fingerprints) and not self.is_due(old)
        issuer = old.issuer if keep and old is not None else current.fingerprint
        if not current.signs and old is not None:
            issuer = old.issuer
        return Content(issuer, known.fingerprints)

    def is_due(self, content: Content) -> bool:
        known = self.state
        if known.current is None or content.issuer == known.current.fingerprint:
            return False
        if known.progress.phase == "Issuing" and not known.progress.emergency:
            return self.random.random() < TICK / ISSUING
        return known.progress.phase != "Distributing"

    def tend(self, secret: Secret) -> None:
        """What the operator does about one Secret."""
        if secret.gone:
            secret.gone = False
            self.write(secret, self.wanted(None), again=True)
        else:
            self.write(secret, self.wanted(secret.content))

    def write(self, secret: Secret, content: Content, *, again: bool = False) -> None:
        if content == secret.content and not again:
            return
        if again or content.bundle != secret.content.bundle:
            secret.bundle_since = self.now
        if again or content.issuer != secret.content.issuer:
            secret.issuer_since = self.now
        secret.content = content
        for pod in secret.pods:
            earliest = max([self.now, *(at for at, _ in pod.coming)])
            arrival = min(self.now + self.random.uniform(0, PROPAGATION), self.now + PROPAGATION)
            pod.coming.append((max(earliest, arrival), content))

    def deliver(self) -> None:
        for secret in self.secrets:
            for pod in secret.pods:
                while pod.coming and pod.coming[0][0] <= self.now:
                    pod.has = pod.coming.pop(0)[1]

    # What is looked at.

    def refused(self) -> list[tuple[int, int]]:
        """Pairs of pods of which one does not accept the other."""
        pods = [pod for secret in self.secrets for pod in secret.pods]
        held = {pod.has for pod in pods}
        if all(one.accepts(other) for one in held for other in held):
            return []
        return [(i, j) for i, one in enumerate(pods) for j, other in enumerate(pods) if not one.has.accepts(other.has)]

    def unconfirmed(self) -> list[int]:
        """Secrets whose leaf some other Secret's bundle does not verify."""
        held = [secret.content for secret in self.secrets if not secret.gone]
        return [i for i, one in enumerate(held) if not all(other.accepts(one) for other in held)]

    def digest(self, fingerprints: tuple[str, ...]) -> str:
        """The bundle's fingerprint, as `ca.bundle_fingerprint` makes it."""
        import hashlib

        return hashlib.sha256(b"".join(bytes.fromhex(one) for one in fingerprints)).hexdigest()
