"""The mail door: takes mails of other systems by SMTP and makes messages of them."""
