"""What every process of the product needs, whatever it does."""
