"""Numbers as sentences write them."""


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign; what rounds to zero is +0."""
    return f"{round(float(value), digits) + 0.0:+.{digits}f}"
