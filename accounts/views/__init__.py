"""Views of accounts: login, WeCom's OAuth, the QR panel, people's own pages, the entrance to the BI, error pages."""
