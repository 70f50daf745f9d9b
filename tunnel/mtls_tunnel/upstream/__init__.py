"""Reaching the upstream: an address becomes a connected socket, or an `UpstreamError` that says why not.

Nothing is known here of TLS, tunnels or sessions.
"""
