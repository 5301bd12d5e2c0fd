"""Phase two of a directory sync: applies WeCom's directory, copied by `integrations.directory`, to people here.

All copied members are compared with the accounts, not only those that the last run changed. So a policy switched on
later, an interrupted run and an account edited by hand all end in the same state, and a repeat writes nothing.
"""
