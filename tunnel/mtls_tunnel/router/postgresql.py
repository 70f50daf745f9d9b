"""The PostgreSQL store: a small pool that answers, and one session that listens for changed rows.

The listening session is also the pulse: it asks the query every second, so that a database that is gone, stands
still or has taken a right away is known within seconds, without traffic.  When it is lost everything is connected
anew, with back-off.  Read-only rights are enough.  Every statement ends after 2 s on the server and 3 s on our side,
because a stopped server ends nothing.

Whether changes are told is tried, not assumed: the triggers must be there, and a notification that another session
sends must arrive.  Behind a pooler in transaction mode it does not; there, each statement gets a transaction around
it, which the pooler keeps together.

Sources: PostgreSQL 15 documentation (LISTEN, NOTIFY, statement_timeout); asyncpg's API reference; pgbouncer(5).
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg

from mtls_tunnel.config import schema as config
from mtls_tunnel.observe.logs import ERROR, INFO, WARN, emit
from mtls_tunnel.router import schema
from mtls_tunnel.router.cache import Change, Question
from mtls_tunnel.router.credentials import password_of
from mtls_tunnel.router.rows import Found, Host, Team, User
from mtls_tunnel.router.store import Changed, StoreError

SERVER_SECONDS = 2.0
OUR_SECONDS = 3.0
PULSE_SECONDS = 1.0
PULSE_WAIT_SECONDS = 2.0
ECHO_SECONDS = 2.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.25, 5.0
MOST_CONNECTIONS = 10
_COUNT_TRIGGERS = """\
SELECT count(*) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
WHERE t.tgname = 'mtls_tunnel_router_row' AND t.tgenabled <> 'D'
  AND c.oid IN (SELECT to_regclass(name) FROM unnest($1::text[]) AS name)
"""
_LIMIT = str(round(SERVER_SECONDS * 1000))
_NOBODY = Question("", "")
_TOLD = "router: notifications do not arrive: a withdrawn access counts when its cached answer expires"
_FAILURES = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class PostgresStore:
    """A `router.store.Store`; connects when started, and again whenever it has to."""

    def __init__(self, told: config.Store) -> None:
        self._told = told
        self._fault = "it has not been reached yet"
        self._tells = False
        self._pooled = False  # a pooler stands between: sessions are not what they seem
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._task: asyncio.Task[None] | None = None
        self._changed: Changed = lambda change: None
        self._lost: Callable[[], None] = lambda: None
        self._echo = ""
        self._echoed = asyncio.Event()

    @property
    def fault(self) -> str:
        return self._fault

    @property
    def tells(self) -> bool:
        return self._tells

    def start(self, changed: Changed, lost: Callable[[], None]) -> None:
        self._changed, self._lost = changed, lost
        self._task = asyncio.get_running_loop().create_task(self._live(), name="router store")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def find(self, question: Question) -> Found:
        pool = self._pool
        if pool is None:
            raise StoreError(self._fault)
        try:
            async with asyncio.timeout(OUR_SECONDS):
                connection = await pool.acquire()
                try:
                    return found_in(await self._ask(connection, question), question)
                except BaseException:
                    connection.terminate()  # to give it back would mean to wait for a server that may stand still
                    raise
                finally:
                    await pool.release(connection)
        except _FAILURES as error:
            raise StoreError(_words(error)) from error

    async def _ask(self, connection: Any, question: Question) -> list[Any]:
        async with self._together(connection):
            return list(await connection.fetch(schema.QUERY, *question))

    @contextlib.asynccontextmanager
    async def _together(self, connection: Any) -> AsyncIterator[None]:
        """Preparing a statement and running it are two messages: a pooler could send them to two servers."""
        if not self._pooled:
            yield
            return
        await connection.execute(f"BEGIN READ ONLY; SET LOCAL statement_timeout = {_LIMIT}")
        yield
        await connection.execute("COMMIT")

    # The life of the connections

    async def _live(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with contextlib.AsyncExitStack() as owned:
                    listening, lost = await self._connect(owned)
                    pause = FIRST_PAUSE_SECONDS
                    await self._beat(listening, lost)
            except asyncpg.ProtocolViolationError as error:
                self._down(_words(error))
                if not self._pooled and "startup parameter" in str(error):
                    self._pooled = True  # it refuses the limits that we set for a session
                    continue
            except _FAILURES as error:
                self._down(_words(error))
            except Exception as error:  # a root: what cannot even be tried; such words may quote the dsn
                self._down(f"the database cannot be used ({type(error).__name__})")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _connect(self, owned: contextlib.AsyncExitStack) -> tuple[Any, asyncio.Event]:
        """The listening session and when it is lost; it and the pool are ended with *owned*."""
        lost = asyncio.Event()
        async with asyncio.timeout(2 * OUR_SECONDS):
            listening = await asyncpg.connect(**self._arguments())
            owned.callback(listening.terminate)
            listening.add_termination_listener(lambda _: lost.set())
            pool = await asyncpg.create_pool(
                min_size=1, max_size=MOST_CONNECTIONS, reset=_as_it_is, **self._arguments()
            )
            owned.callback(pool.terminate)
            owned.callback(self._closed)
            heard = await self._hears(listening, pool)
            self._pooled = self._pooled or not heard
            tells = heard and await self._has_triggers(listening)
            await self._ask(listening, _NOBODY)  # the tables are there and may be read
        self._pool, self._tells, self._fault = pool, tells, ""
        # What was kept may have changed while nobody listened.
        self._changed(None)
        emit(INFO, "router: store connected", notifications=tells)
        return listening, lost

    async def _beat(self, listening: Any, lost: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PULSE_SECONDS):
                    await lost.wait()
            async with asyncio.timeout(PULSE_WAIT_SECONDS):
                await self._ask(listening, _NOBODY)

    async def _hears(self, listening: Any, pool: Any) -> bool:
        """Whether what another session notifies arrives at the one that listens."""
        self._echoed.clear()
        self._echo = secrets.token_hex(8)
        try:
            await listening.add_listener(schema.CHANNEL, self._notified)
        except asyncpg.ReadOnlySQLTransactionError:
            emit(WARN, _TOLD, remedy="connect to the primary: a standby passes no notifications on")
            return False
        # Plain text, in one message: nothing of it comes from anywhere but here.
        await pool.execute(f"SELECT pg_notify('{schema.CHANNEL}', '?{self._echo}')")
        try:
            await asyncio.wait_for(self._echoed.wait(), ECHO_SECONDS)
        except TimeoutError:
            emit(WARN, _TOLD, remedy="connect to the database itself: a pooler in transaction mode passes no LISTEN on")
            return False
        return True

    async def _has_triggers(self, listening: Any) -> bool:
        async with self._together(listening):
            count = await listening.fetchval(_COUNT_TRIGGERS, list(schema.KEYS))
        if count == len(schema.KEYS):
            return True
        emit(
            WARN,
            "router: the store tells of no changes: a withdrawn access counts when its cached answer expires",
            remedy="install the triggers: tunnel router init-db --apply",
        )
        return False

    def _closed(self) -> None:
        self._pool, self._tells = None, False

    def _down(self, why: str) -> None:
        why = why or "the connection was lost"
        if why != self._fault:
            emit(ERROR, "router: store unavailable", error=why)
        self._fault = why
        self._lost()

    def _notified(self, connection: object, pid: int, channel: str, payload: object) -> None:
        text = str(payload)
        if text.startswith("?"):
            if text[1:] == self._echo:
                self._echoed.set()
            return
        self._changed(change_in(text))

    def _arguments(self) -> dict[str, Any]:
        """What asyncpg is told.  No prepared statements are kept: poolers mix them up."""
        limits = {} if self._pooled else {"statement_timeout": _LIMIT, "default_transaction_read_only": "on"}
        return {
            **_where(self._told),
            "timeout": OUR_SECONDS,
            "command_timeout": OUR_SECONDS,
            "statement_cache_size": 0,
            "server_settings": {"application_name": "mtls-tunnel router", **limits},
        }


async def _as_it_is(connection: Any) -> None:
    """What the pool does to a connection that comes back: nothing, for nothing was set."""


async def apply(told: config.Store, statements: str) -> None:
    """Run *statements*, all or none, in the database of *told*.

    Raises:
        StoreError: with the words of the server or the system.
    """
    try:
        connection = await asyncpg.connect(**_where(told), timeout=2 * OUR_SECONDS)
        try:
            async with connection.transaction():
                await connection.execute(statements)
        finally:
            await connection.close(timeout=OUR_SECONDS)
    except _FAILURES as error:
        raise StoreError(_words(error)) from error


def _where(told: config.Store) -> dict[str, Any]:
    if told.dsn:
        return {"dsn": told.dsn}
    where = {"host": told.db_host, "port": told.db_port, "user": told.db_user, "database": told.db_name}
    return {**where, "password": password_of(told)}


def found_in(records: list[Any], question: Question) -> Found:
    """The rows of `schema.QUERY` -> what they say."""
    hosts: dict[str, Host] = {}
    teams: dict[str, Team] = {}
    user = None
    for record in records:
        if record["user_org"] is not None:
            user = User(question.user_id, record["user_org"])
        if record["connect_id"] is not None:
            hosts[record["connect_id"]] = Host(
                record["connect_id"],
                record["internal_ip_addr"],
                record["host_org"],
                frozenset(record["user_ids"] or ()),  # a table of others may allow NULL
                frozenset(record["team_ids"] or ()),
            )
        if record["team_id"] is not None:
            members = frozenset({question.user_id} if record["member"] else ())
            teams[record["team_id"]] = Team(record["team_id"], record["team_org"], members)
    return Found(tuple(hosts.values()), tuple(teams.values()), user)


def change_in(payload: str) -> Change | None:
    """``table=key`` -> the row; None, anything may have changed, for whatever else is sent on the channel."""
    table, equals, key = payload.partition("=")
    if equals and table in schema.KEYS:
        return Change(table, key)  # type: ignore[arg-type]  # one of the literals, by the line above
    return None


def _words(error: BaseException) -> str:
    """One line for the log; never with a password, which no message of the server or the system holds."""
    if isinstance(error, TimeoutError):
        return f"no answer within {OUR_SECONDS:g} s"
    text = " ".join(str(error).split())
    return text or type(error).__name__
