"""Trust: bytes on disk become a checked `Material`, a verified leaf becomes an `Identity`, and rules judge it.

    material     files (as bytes) -> leaf, chain, key, bundle, CRLs, checked as one; from `pem`, `decode`, `chain`
    identity     verified leaf -> the names it proves; `spiffe` knows the form of SPIFFE IDs
    policy       rules + identity -> Decision
    names        server's leaf + expected name -> match or what was there instead
    revocation   CRLs -> is this chain revoked, or is there no way to know
    judge        live peer + new material and policy -> None or why it may no longer stay
    reasons      OpenSSL's verification codes -> the words of metrics and logs, with a hint for people
    pki          a development CA
    store, watch the only files here that touch the disk

Everything but `store` and `watch` is pure: no asyncio, socket, ssl, os, time or logging, and the clock is an
argument.  Nothing here ever falls back to the system's roots or to the common name of a server.
"""
