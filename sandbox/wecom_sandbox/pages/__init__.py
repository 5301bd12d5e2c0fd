"""Pages for people: authorise, QR, phone, console. Rendered by Jinja2, in Chinese and English."""
