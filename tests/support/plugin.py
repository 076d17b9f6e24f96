"""How to give pytest the plugin of the gate: by its entry point where the project is installed, by name elsewhere."""

from importlib.metadata import entry_points

PLUGIN = [] if entry_points(group="pytest11", name="rosetta-ref") else ["-p", "rosetta_ref_pytest"]
