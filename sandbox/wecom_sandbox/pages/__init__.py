"""The pages that people see: authorise, QR, phone, console. They use Django's templates and translations."""
