"""What WeCom's directory means for people here (phase two; `integrations.directory` has copied it in phase one).

Everybody of the copy is compared with the accounts, not only what the last run changed: so a policy that was switched
on later, a run that was cut off and an account edited by hand all end in the same state, and a repeat writes nothing.
"""
