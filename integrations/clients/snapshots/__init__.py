"""Pictures of a BI's pages, taken by a Chromium of our own. Plain Python; needs playwright to take one."""
