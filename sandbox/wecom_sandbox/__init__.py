"""A stand-in for WeCom (企业微信) to integrate with where the real one cannot be reached.

One process with its state in memory: the server API, the authorise page, the QR page, a phone, a console, and faults on
request. It is an independent implementation of WeCom's contract and imports nothing of guanwecom, whose client it
tests. The modules of its state and API are plain Python and know no web server.
"""

__version__ = "0.1.0"
