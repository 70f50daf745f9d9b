"""The pods of a tunnel: which carry what is wanted of them, and whose turn it is to be made anew.

census (pods -> standings, PURE), expectations (what each pod should carry)
turns (a decision, PURE) -> rollout (restarts and evictions, a few at a time)
"""
