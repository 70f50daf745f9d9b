"""A pod that the API server is about to make gets its sidecar: raw dict in, JSON patch out.

`shape` (a raw pod is looked at, never turned into a typed model: fields of newer versions survive),
`verdict` (inject, leave alone, refuse), `sidecar` (the container and volumes of a pod's parts), `patch` (the
operations).  These four are PURE.  `world` (what is known of tunnels and namespaces), `cache` (keeps it
current), `review` (AdmissionReview in, AdmissionReview out), `serving` (the certificate that is swapped in
place), `guard` (connections that only wait), `server` (the HTTPS endpoint), `meters`.

Nothing here imports kopf or kubernetes: the injector is a small process of its own.
"""
