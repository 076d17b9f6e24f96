"""What each type loses on SmolLM2-135M, as `verify` measures it: `python benchmarks/lossy.py [--types Q4_K_M Q8_0] [--text FILE]`.

llama.cpp's quantiser makes each type of the F32 file, so that the limits in `rosetta_ref/verify/limits.py` are not taken from what
they are to judge. The limits are about twice these figures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from rosetta_ref.verify import verify
from rosetta_ref.verify.limits import FIGURES
from tests.support import llama, smollm

#: llama.cpp's mixes; Q4_0 and its kin are nearly pure, the K mixes are of several types.
TYPES = (
    *(
        "F16",
        "BF16",
        "Q8_0",
        "Q6_K",
        "Q5_K_M",
        "Q5_1",
        "Q5_0",
        "Q4_K_M",
        "Q4_1",
        "Q4_0",
        "IQ4_XS",
        "IQ4_NL",
        "MXFP4_MOE",
    ),
    *("Q3_K_M", "IQ3_S", "Q2_K", "TQ2_0"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--types", nargs="+", default=TYPES, metavar="TYPE")
    parser.add_argument("--text", type=Path, help="a text whose logits count, too")
    options = parser.parse_args()
    source = smollm.variant("F32")
    print(f"{'type':10}{'most of it':>12}" + "".join(f"{name:>12}" for name in FIGURES))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.types:
            target = Path(folder) / f"{name}.gguf"
            llama.quantize(source, target, name)
            report = verify(source, target, count=1, lossless=False, blame=False, text=options.text)
            figures = report.figures["numpy"]
            print(f"{name:10}{report.claim[7:-1]:>12}" + "".join(f"{figures[f]:12.4g}" for f in FIGURES), flush=True)
            target.unlink()
    print(f"{report.counts['positions']} positions, {report.counts['logits']:,} logits a type")


if __name__ == "__main__":
    main()
