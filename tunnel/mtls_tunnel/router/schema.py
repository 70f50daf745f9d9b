"""The tables, the triggers that tell of changed rows, and the one query of a decision.

PURE text.  The tables are those that the router shares with other programs; nothing that exists is altered, and
everything may be applied again.  The payload of a notification is the table and the key, never the row: payloads end
at 8,000 bytes, and a key that does not fit is told as "anything may have changed".

Sources: PostgreSQL 15 documentation, NOTIFY, CREATE TRIGGER, TG_OP.
"""

CHANNEL = "mtls_tunnel_router"
LONGEST_PAYLOAD = 7999

TABLES = """\
CREATE TABLE IF NOT EXISTS backend_hosts (
    connect_id       TEXT PRIMARY KEY,
    internal_ip_addr TEXT NOT NULL,
    org_id           TEXT NOT NULL,
    user_ids         TEXT[] NOT NULL DEFAULT '{}',
    team_ids         TEXT[] NOT NULL DEFAULT '{}',
    host_user        TEXT
);
CREATE TABLE IF NOT EXISTS teams (
    team_id  TEXT PRIMARY KEY,
    org_id   TEXT NOT NULL,
    user_ids TEXT[] NOT NULL DEFAULT '{}'
);
CREATE TABLE IF NOT EXISTS users (
    user_id     TEXT PRIMARY KEY,
    org_id      TEXT NOT NULL,
    public_keys BYTEA[] NOT NULL DEFAULT '{}'
);
-- Server names are compared without regard to case, as the DNS has it: that of ASCII letters.
CREATE INDEX IF NOT EXISTS backend_hosts_connect_id_lower ON backend_hosts (lower(connect_id COLLATE "C"));
"""

_FUNCTION = f"""\
-- One notification for each changed key, at commit; both keys where a row was renamed; "*" where all may have changed.
CREATE OR REPLACE FUNCTION mtls_tunnel_router_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    key_column text := TG_ARGV[0];
    keys text[] := '{{}}';
    one text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('{CHANNEL}', TG_TABLE_NAME || ':*');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' THEN
        keys := keys || (to_jsonb(OLD) ->> key_column);
    END IF;
    IF TG_OP <> 'DELETE' THEN
        keys := keys || (to_jsonb(NEW) ->> key_column);
    END IF;
    FOREACH one IN ARRAY keys LOOP
        IF octet_length(TG_TABLE_NAME || '=' || one) > {LONGEST_PAYLOAD} THEN
            PERFORM pg_notify('{CHANNEL}', TG_TABLE_NAME || ':*');
        ELSE
            PERFORM pg_notify('{CHANNEL}', TG_TABLE_NAME || '=' || one);
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
"""

_TRIGGERS = """\
CREATE OR REPLACE TRIGGER mtls_tunnel_router_row AFTER INSERT OR UPDATE OR DELETE ON {table}
    FOR EACH ROW EXECUTE FUNCTION mtls_tunnel_router_changed('{key}');
CREATE OR REPLACE TRIGGER mtls_tunnel_router_all AFTER TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION mtls_tunnel_router_changed('{key}');
"""

KEYS = {"backend_hosts": "connect_id", "teams": "team_id", "users": "user_id"}

TRIGGERS = _FUNCTION + "".join(_TRIGGERS.format(table=table, key=key) for table, key in KEYS.items())

INIT = TABLES + TRIGGERS

# $1 the connect_id in lower case, $2 the user_id.  One statement, so that all rows are from one moment.  A row for
# each host and each team that it names; at least one row always, for the user.
QUERY = """\
SELECT u.org_id AS user_org,
       h.connect_id, h.internal_ip_addr, h.org_id AS host_org, h.user_ids, h.team_ids,
       t.team_id, t.org_id AS team_org, $2 = ANY(t.user_ids) AS member
FROM (SELECT 1) AS one
LEFT JOIN users AS u ON u.user_id = $2
LEFT JOIN (SELECT * FROM backend_hosts WHERE lower(connect_id COLLATE "C") = $1 LIMIT 2) AS h ON true
LEFT JOIN teams AS t ON t.team_id = ANY(h.team_ids)
"""
