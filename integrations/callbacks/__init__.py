"""Events of WeCom on their way to those who act on them: stored with one row of work for each consumer, worked off in
the background, one worker at a time for each company and consumer.

Order of calls: `registry.consumers.register` in AppConfig.ready(); `lanes.add_work` in the transaction that stores an
event; after its commit `consuming.work_through` in a worker; `lanes.due_lanes` every few seconds finds what was lost.
"""
