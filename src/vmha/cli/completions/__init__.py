"""Completion scripts, a file for each shell: `vmha completion` prints them."""
