"""What the API server holds becomes frozen values, and questions about them get answers.

`resources` (an MtlsTunnel or MtlsTrustDomain -> values), `pods` (a pod or namespace, reduced to what is
kept), `selectors` (label selectors), `parts` (which tunnels concern a pod, and as what), `revision` (what a
pod would carry), `conditions` (status, with transition times).  PURE: no I/O, no clock.
"""
