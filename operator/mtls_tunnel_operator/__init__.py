"""mtls-tunnel-operator: certificates and sidecars for the tunnel, on Kubernetes.

It may borrow the tunnel's nouns (`mtls_tunnel.config`, `mtls_tunnel.trust`), never its sockets; the tunnel
never imports from here.  The folder `operator/` above must not become a package: it would shadow the
standard library's `operator`.
"""

__version__ = "0.1.0"
