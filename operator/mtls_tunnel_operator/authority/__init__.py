"""Certificates and the CAs that sign them: values and a clock become keys, certificates and decisions.

    ca         a CA made, read and judged; the one place that says which CA certificates may sign for us
    signer     what a tunnel's leaves are made with: the CA that signs now, the bundle, the waits
    leaf       names + Signer -> a leaf with its key; a stored leaf -> facts
    renewal    facts + Signer -> when the leaf is due and why
    state      the CAs of one trust domain with their roles, as stored on their Secrets
    rotation   state + what the managed Secrets hold -> the next step of a rotation, or how long to wait

PURE but for the random numbers of the cryptography package: no asyncio, socket, ssl, os, time or logging;
`now` is always an argument, in epoch seconds.  Nothing here decides who may have which name beyond this: a
signer signs no SPIFFE ID of a foreign trust domain and no DNS name that is none.
"""
