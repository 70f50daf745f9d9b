"""The API server, and nobody else speaks to it: requests, watches, the Lease, events, and who we are there.

credentials   a pod's service account, or a kubeconfig
api           requests, tried again where that helps; every write asks first whether it still may
watch         a list that stays current
lease         one active operator
events        a line on a user's object for each transition, never waited for
"""
