"""Single sign-on into the BI: target page, identity, key, and what blocks a person. See docs/bi-sign-on.md."""
