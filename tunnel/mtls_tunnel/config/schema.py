"""What a configuration means once it has been read: frozen values, complete, with units in the names.

`load` makes these from YAML and `dump` turns them back; nothing else constructs them outside tests.
Every default of the product stands here and nowhere else.  Paths are kept as written (relative to the
working directory, or made relative to their file by `load` for a configuration directory).
"""

from dataclasses import dataclass, field
from typing import Literal

Mode = Literal["server", "client", "bridge", "router"]
ClientAuth = Literal["required", "optional", "none"]
MinVersion = Literal["TLS1.2", "TLS1.3"]
Level = Literal["debug", "info", "warn", "error"]


@dataclass(frozen=True, slots=True)
class Address:
    """HOST:PORT.  An empty host means every address when listening, the loopback when dialling."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TrustDomain:
    """Leaves with a SPIFFE ID of `domain` must chain to a CA of the files `ca`, and to no other."""

    domain: str
    ca: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """One side's certificate set and what it demands of the peer."""

    cert: str
    key: str
    ca: tuple[str, ...]
    client_auth: ClientAuth = "required"
    server_name: str = ""  # client leg: the name in the server's SANs and the SNI; "" = host of the target
    min_version: MinVersion = "TLS1.2"  # mtlsd's default; what the operator renders says TLS1.3
    server_uri: tuple[str, ...] = ()  # client leg: any of these URI SANs, in place of the DNS name
    trust: tuple[TrustDomain, ...] = ()
    require_close_notify: bool = False
    crl: str = ""  # a file or a directory
    crl_check: Literal["leaf", "chain"] = "leaf"
    reload_interval_seconds: float = 30.0  # 0 = file watch and SIGHUP only


@dataclass(frozen=True, slots=True)
class Rules:
    """Name patterns, OR-ed.  All empty means "no rules", which is not "nobody"."""

    cn: tuple[str, ...] = ()
    org: tuple[str, ...] = ()
    ou: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()
    fingerprint: tuple[str, ...] = ()  # lower-case hex of SHA-256, no colons
    role: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


@dataclass(frozen=True, slots=True)
class Acl:
    """Who may pass, and what happens to those who may no longer."""

    default: Literal["allow", "deny"] = "allow"
    allow: Rules = Rules()
    deny: Rules = Rules()
    mode: Literal["enforce", "audit"] = "enforce"
    reauthorize: Literal["close", "log", "off"] = "close"
    on_expiry: Literal["close", "log"] = "log"
    on_ca_removed: Literal["close", "log"] = "close"


@dataclass(frozen=True, slots=True)
class Proxy:
    """Limits of one tunnel.  Zero seconds means "no limit" where the contract allows it."""

    dial_timeout_seconds: float = 10.0
    idle_timeout_seconds: float = 90.0
    max_connections: int = 1000
    handshake_timeout_seconds: float = 10.0  # `load` fills it from dial_timeout
    half_close_timeout_seconds: float = 60.0
    max_lifetime_seconds: float = 0.0
    shutdown_timeout_seconds: float = 0.0  # 0 = wait for the last connection, as mtlsd does


@dataclass(frozen=True, slots=True)
class Store:
    """Where it is written down who may go where.  `dsn` "" means: the database of the `db_*` values."""

    type: Literal["file", "postgresql"] = "file"
    file: str = ""
    dsn: str = field(default="", repr=False)
    db_host: str = "127.0.0.1"
    db_port: int = 5432
    db_user: str = "tinyscale"
    # None: PGPASSWORD, else a pgpass file, else the same word as the user: the order of libpq, and a default.
    db_password: str | None = field(default=None, repr=False)
    db_name: str = "tinyscale-ssh"
    cache_seconds: float = 5.0
    stale_seconds: float = 60.0  # how long a decision is used after it expired, with the database away; 0 = never


@dataclass(frozen=True, slots=True)
class Router:
    """What mode router has in place of a target."""

    domain: str = "connect.tinyscale.com"  # the server name is <connect_id>.<domain>
    issuer: str = "tinyscale.com"  # the SPIFFE trust domain of the users
    store: Store = Store()
    default_port: int = 22  # for an internal_ip_addr without a port


@dataclass(frozen=True, slots=True)
class Tunnel:
    """One listener and where it leads; `target` is without a port in mode router, which has `router`."""

    name: str  # "" for the only tunnel of a file without `tunnels:`
    mode: Mode
    listen: Address
    target: Address
    tls: Tls
    outbound: Tls | None = None  # bridge only: the outbound leg, defaults already filled from tls
    acl: Acl = Acl()
    roles: tuple[tuple[str, Rules], ...] = ()
    proxy: Proxy = Proxy()
    router: Router | None = None  # mode router only


@dataclass(frozen=True, slots=True)
class Health:
    enabled: bool = False
    listen: Address = Address("127.0.0.1", 9000)


@dataclass(frozen=True, slots=True)
class Metrics:
    enabled: bool = False
    listen: Address = Address("127.0.0.1", 9001)
    prefix: str = "mtlsd"


@dataclass(frozen=True, slots=True)
class Logging:
    level: Level = "info"
    format: Literal["text", "json"] = "text"
    access: Literal["all", "denied", "none"] = "denied"


@dataclass(frozen=True, slots=True)
class Expiry:
    warn_days: int = 30
    critical_days: int = 7


@dataclass(frozen=True, slots=True)
class Config:
    """A whole process: its tunnels and what they share."""

    tunnels: tuple[Tunnel, ...]
    health: Health = field(default_factory=Health)
    metrics: Metrics = field(default_factory=Metrics)
    logging: Logging = field(default_factory=Logging)
    expiry: Expiry = field(default_factory=Expiry)
    strict: bool = False
