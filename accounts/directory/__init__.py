"""The second half of a directory sync: applies WeCom's directory, as copied by `integrations.directory`, to people
here.

Each run compares all copied members with the accounts, not only the members that have just changed. So the result is
the same after an interrupted run, after a change by hand, and for a policy that is switched on later. A repeat writes
nothing.
"""
