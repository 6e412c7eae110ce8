"""How long the tests look: three Hypothesis profiles, chosen by HYPOTHESIS_PROFILE."""

import os

from hypothesis import HealthCheck, settings

# At a desk: quick. The deadline keeps a slow function from slipping in.
settings.register_profile("desk", max_examples=50, deadline=400)
# In CI: the same examples at every run, and a blob that repeats a failure at a desk.
settings.register_profile(
    "ci",
    max_examples=200,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],  # its machines are shared
)
settings.register_profile(
    "night", max_examples=5_000, stateful_step_count=200, deadline=None, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "desk"))
