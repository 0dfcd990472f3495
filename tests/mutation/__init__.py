"""Safety checks of the product, taken out one at a time: each must be missed by somebody."""
