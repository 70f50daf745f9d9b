"""Connections: what is accepted on one side is proved, dialled on and carried, until both directions are over.

    loop      the event loop, and the poll that serves the descriptors of pumps without a detour through asyncio
    route     where a tunnel's connections go and what is asked on the way: values and callables, asked late
    listener  bind, take a slot, accept, back off
    ground    what all sessions of a loop share
    greeting  the ClientHello, read before the handshake, for a route whose target depends on it
    guide     who says where each connection goes, where that is not the same for all
    overdue   which time limit a session has reached
    progress  whether anything has moved since the last look
    session   one connection as a story: handshake, identity, policy, dial, pump, close
    pump      the one hot path: two directions, one buffer each, half-close, resets
    stream    a plain socket with the four verbs of `tls.engine.Engine`
    steps     a coroutine that goes on where its events happen: the first half of a session
    handshake waiting for a handshake, and for a farewell
    story     the log lines of a connection
    timers    deadlines of thousands of sessions without a timer for each
    registry  the live sessions of a tunnel: counted, shown, judged again, cut

No certificate is read here and no rule decided: contexts, policies and dials come in through the route.
"""
