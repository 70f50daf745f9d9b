"""mtls-tunnel: mutual TLS for any TCP service, without a change to the application.

The rooms, in the order in which a connection or its configuration walks through them: `config`,
`trust`, `tls`, `protocols`, `upstream`, `flow`, `observe`, `app`.  A room may import only those
before it; `errors` stands below all of them.  The command `tunnel` starts in `app.cli`.
"""

__version__ = "0.1.0"
