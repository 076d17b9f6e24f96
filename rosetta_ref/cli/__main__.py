"""`python -m rosetta_ref.cli`."""

from rosetta_ref.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
