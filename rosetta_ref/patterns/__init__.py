"""Numbers that show bugs, without Hypothesis: `blocks` of every type, `scales`, and `payloads` of whole tensors."""
