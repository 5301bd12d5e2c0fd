"""Work queue of WeCom's events: one row for each event and consumer, one worker at a time per company and consumer.

Order of calls: `registry.consumers.register` in AppConfig.ready(); `queue.add_work` in the transaction that stores the
event; after its commit `worker.work_through` in a worker; `queue.due_lanes` every few seconds finds what was lost.
"""
