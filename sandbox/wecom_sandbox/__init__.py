"""A stand-in for WeCom (企业微信), for development and tests without the real one.

It is one process with its state in memory: WeCom's API, the authorise page, the QR page, a phone, a console, and faults
on request. It implements WeCom's contract independently and imports nothing of guanwecom, whose client it tests. The
packages `state` and `api` are plain Python and do not depend on a web server.
"""

__version__ = "0.1.0"
