"""What browsers see: the login pages (pages), the way through WeCom and back (wecom), refusals (refusals)."""
