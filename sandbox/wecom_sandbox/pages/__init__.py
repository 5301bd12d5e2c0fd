"""The pages that people see: authorise, QR, phone, console. Jinja2 draws them, in Chinese and English."""
