"""A first talk with a converter: what it takes. `attempt` is one conversion, `smoke` all of them."""
