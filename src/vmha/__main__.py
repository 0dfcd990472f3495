"""``python -m vmha`` is ``vmha``."""

from vmha.cli.main import main

if __name__ == "__main__":
    main()
