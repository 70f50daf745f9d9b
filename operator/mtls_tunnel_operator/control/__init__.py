"""What was seen becomes work, and work becomes writes: level-triggered, one key at a time, always with a status.

    watching     handlers (kopf), lean_kopf, served, resync, installation -> view; concerns (what a change asks for)
    working      queue -> reconcile (one tunnel: look, surroundings, signers -> leaves, requests, writing, copies,
                 ownership) and domains (one trust domain: domain_sources, domain_store, domain_holders, domain_steps)
    telling      picture -> verdicts, pod_verdict, remedies -> status, reporting; domain_status; census, expectations
    pods         turns (whose turn it is) -> rollout (stamps, evictions)
    webhook      webhook_trust (a decision) -> webhook (the CA, the serving certificate, the caBundle in order)
    itself       health, meters, series

Decisions are the business of `model`, `authority` and `desired`; what is decided here is only when, and in which order.
Nothing speaks to the API server but through `cluster`.
"""
