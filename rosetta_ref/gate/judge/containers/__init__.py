"""What the judge finds in a file of each container, a module each; `judge.container` says how they are asked."""
