"""Single sign-on into the BI: target page, identity, key, and what blocks a person. See docs/en/bi-sign-on.md."""
