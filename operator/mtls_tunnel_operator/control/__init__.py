"""What was seen becomes work, and work becomes writes: level-triggered, one key at a time, always with a status.

    watching/    kopf's watches and our comparisons -> view; concerns (what a change asks for) -> queue
    tunnels/     one MtlsTunnel: Secrets, ConfigMaps, Service, policies
    domains/     one MtlsTrustDomain: its CA, and the rotation of it
    webhook/     the admission webhook's certificates
    pods/        which pods carry what is wanted, and whose turn it is to be made anew
    telling/     conditions, events, numbers; remedies: what to type
    clocks: whether ours is the API server's
    health, meters, series: the operator itself, as probes and Prometheus see it

Decisions are the business of `model`, `authority` and `desired`; what is decided here is only when, and in which order.
Nothing speaks to the API server but through `cluster`.
"""
