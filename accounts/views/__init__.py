"""Views of accounts: login, WeCom's OAuth, the QR panel, a person's own pages, the way into the BI, error pages."""
