"""The page of a fit, with its figures."""

from nwbdyn import cache

cache.replace_unwritable()
