"""The gate in pytest. `plugin` has the options and hooks, `run` what happens in each process."""
