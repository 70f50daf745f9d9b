"""The admission webhook is kept callable: its CA, the injector's serving certificate, the caBundle.

trust (a decision: which of the three changes next, PURE) -> reconcile (takes the steps)
"""
