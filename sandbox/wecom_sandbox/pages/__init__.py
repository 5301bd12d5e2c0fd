"""Pages for people: authorise, QR, phone, console. Jinja2 draws them, in Chinese and English."""
