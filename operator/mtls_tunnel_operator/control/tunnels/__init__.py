"""One MtlsTunnel, brought about: read, decide, write, and always a status.

    reconcile      the order of the steps; what fails in one of them; `look` is what is known so far
    surroundings   the places and peers of a tunnel; signers: who signs for it, or what stands in the way
    leaves         its Secrets, issued and renewed; requests: where cert-manager issues them
    writing        what is wanted and differs; ownership: whose an object is; copies: those in other namespaces
    served         which kinds the cluster has

What is wanted is decided in `desired`, when a leaf is due in `authority`: here it is carried out.
"""
