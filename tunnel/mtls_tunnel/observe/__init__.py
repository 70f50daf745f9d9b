"""What others may see of the tunnel: events become log lines, counts become metrics, state becomes answers.

    logs         emit(level, msg, attributes) -> one line, in the shapes of Go's slog
    metrics      plain numbers, counted per tunnel -> Prometheus text or OpenMetrics
    health       state -> (status, body) of /healthz, /readyz, /certz                    PURE
    status_page  state -> the body of /statusz                                           PURE
    admin        a small HTTP server for these, on its own listener

Nothing here decides anything about a connection, and nothing here ever slows one down: a log reader
that stalls loses lines, a scraper that stalls loses its connection.  Private keys are never passed in.
"""
