"""Into the BI: where a person goes, as whom, with which key, and what stands in the way. See docs/bi-sign-on.md."""
