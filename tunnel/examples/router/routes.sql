-- The same rows for PostgreSQL.  An empty ARRAY[] has no type of its own: without the cast it is an error.
INSERT INTO backend_hosts (connect_id, internal_ip_addr, org_id, user_ids, team_ids)
VALUES ('test-host-01', '127.0.0.1:8080', 'org-123', ARRAY['user-456'], ARRAY[]::TEXT[]),
       ('test-host-02', '127.0.0.1:8080', 'org-123', ARRAY[]::TEXT[], ARRAY['operators']);
INSERT INTO teams (team_id, org_id, user_ids)
VALUES ('operators', 'org-123', ARRAY['user-789']);
INSERT INTO users (user_id, org_id, public_keys)
VALUES ('user-456', 'org-123', ARRAY[]::BYTEA[]),
       ('user-789', 'org-123', ARRAY[]::BYTEA[]);
