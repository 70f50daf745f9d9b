"""What the API server holds becomes frozen values, and questions about them get answers.

`reading` is the door for what comes in (an MtlsTunnel, an MtlsTrustDomain, a pod, a namespace) and refuses
what cannot be; the values are in `resources` and `pods`.  `selectors` (label selectors), `parts` (which
tunnels concern a pod, and as what), `revision` (what a pod would carry), `conditions` (status, with
transition times), `kinds` (names of objects of the API), `moments` (times as Kubernetes writes them).
Inside: `fields` and `metadata` (raw mappings), `checks` (what spans the fields of a tunnel).

PURE: no I/O, no clock.
"""
