"""The cluster as it changes: watches and comparisons become a `View`, and each change becomes work in the queue.

    handlers (kopf, events only; lean_kopf: without what it would import besides) -> view, concerns -> queue
    resync         everything, listed: at the start and each ten minutes, for what no watch has told
    installation   the defaults of the chart, followed while they change

Nothing is decided here, and nothing written.
"""
