"""What some measurements compute with, and the product does not: where it is not installed they end with what to do."""

import sys

try:
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp  # type: ignore[import-untyped]
except ImportError as error:
    print(f"this measurement needs {error.name}: make dev-ready, or pip install 'vmha[dev]'", file=sys.stderr)
    raise SystemExit(2) from None

__all__ = ["Bounds", "LinearConstraint", "milp", "np"]
