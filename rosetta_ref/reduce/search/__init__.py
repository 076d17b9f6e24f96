"""The search: one candidate, what makes two failures the same, and the smallest so far.

Read `failure` (what makes two failures the same one; `complaint` and `claims` help), `input` (an input in parts that can be
taken away), `candidate` (one candidate: written, converted, judged), `search` (the candidates so far and what they cost),
`subsets` (delta debugging), `naming` (which failure is followed), `generated` (where nobody has a file that fails).
"""
