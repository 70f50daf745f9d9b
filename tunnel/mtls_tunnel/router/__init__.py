"""The server name and the identity of a connection become the backend that it may reach, or a refusal.

    decision  who asks, for what, and whether the rows allow it                                  PURE
    rows      what a store holds: hosts, teams, users                                            PURE
    routes    a YAML file of them -> rows, with all faults at once                               PURE
    cache     answers that are kept for a while, and forgotten at once when a row has changed     PURE
    schema    the tables, the triggers and the one query                                         PURE
    store     what both stores promise; `file_store` and `postgresql` are the two
    guide     what a session asks (`flow.guide.Guide`): looks up, logs, counts, judges live sessions again

Nothing that a client has sent becomes SQL text, and none of it is a label of a metric.
"""
