"""The boards, by name."""

from .benchmarks import BENCHMARKS
from .models import MODELS
from .overview import OVERVIEW
from .pool import POOL

BOARDS = {"overview": OVERVIEW, "pool": POOL, "models": MODELS, "benchmarks": BENCHMARKS}
