"""Pictures and files of messages: made apart, uploaded per delivery, or linked."""
