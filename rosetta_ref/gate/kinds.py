"""Every kind of finding, one row each: what it is about, how bad it is, and what it means for whoever uses the output.

A finding of a kind that is no row cannot be made. Summaries sort by `severity`, the reducer and chains group by `about`, reports
print `says` and `right`, and `docs/kinds.md` has an entry for each row. Kinds are an interface: people write them into
expectations and into `loses`. `names` holds those that were called otherwise before.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from rosetta_ref.errors import RosettaError, safe_line

#: Characters of a word that are looked at, and shown.
_LONGEST = 200
#: In front of a kind of failure of `verify`, in the findings of F-CONV-BE-001.
ANSWERS = "answers-"


class UnknownKindError(RosettaError):
    """A finding has a kind that is a row of the table of kinds."""


class Severity(Enum):
    """How bad it is, the worst first."""

    DAMAGE = "damage"
    CRASH = "crash"
    NO_OUTPUT = "no usable output"
    REFUSAL = "refusal or silence"
    NAMES = "names and metadata"
    PRECISION = "precision and bytes"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Severity).index(self)


class About(Enum):
    """What a finding is about."""

    NUMBERS = "the numbers of a tensor"
    LAYOUT = "how a tensor is laid out"
    TENSORS = "which tensors there are"
    NAMES = "what tensors are called"
    METADATA = "configuration and tokenizer"
    ANSWERS = "the answers of the model"
    FILE = "the files of a conversion"
    REFUSALS = "what a converter must refuse"
    RUN = "how a run ended"
    GATE = "what the gate could not compare"


@dataclass(frozen=True)
class Kind:
    """One kind of finding.

    says: the finding as a report's title has it; means: what whoever uses the output has of it; right: what a right converter
    does, where the gate's own rule does not say it; excusable: whether an entry may name it in `loses`.
    """

    name: str
    about: About
    severity: Severity
    says: str
    means: str
    right: str = ""
    excusable: bool = True


_DAMAGE, _CRASH, _NO_OUTPUT, _REFUSAL, _NAMES, _PRECISION = Severity
_VALID = "this input is valid, the reference converts it"


def _rows(about: About, *rows: tuple[Severity, str, str, str] | tuple[Severity, str, str, str, str]) -> Iterable[Kind]:
    excusable = about not in (About.FILE, About.RUN, About.GATE)
    for severity, name, says, means, *right in rows:
        yield Kind(name, about, severity, says, means, "".join(right), excusable)


_ALL = (
    *_rows(
        About.NUMBERS,
        (_DAMAGE, "values", "values are wrong", "The model loads and computes with other weights."),
        (_DAMAGE, "nan", "NaN or Inf appears", "One NaN is enough for every answer to be NaN."),
        (_DAMAGE, "out-of-range", "large values become Inf", "The weights are beyond the narrower type, and the Inf that was "
         "written makes answers NaN or Inf."),
        (_DAMAGE, "nan-lost", "NaN or Inf is lost", "A number stands where the source had none: a defect of the source is hidden."),
        (_PRECISION, "lossy-unasked", "weights are encoded anew, which nobody asked for", "Each weight is a little off, and the "
         "answers with it."),
        (_PRECISION, "error-too-large", "the encoding loses more than it has to", "The model is worse than the same type from the "
         "reference's quantiser."),
        (_PRECISION, "truncated", "floats are truncated instead of rounded", "Weights are up to one step too small."),
        (_PRECISION, "flushed", "subnormal floats become zero", "The smallest weights are gone."),
        (_PRECISION, "truncated-and-flushed", "floats are truncated, and subnormal ones become zero", "Weights are too small, and "
         "the smallest are gone."),
        (_PRECISION, "narrowed", "floats were rounded, though nothing may be lost", "The entry claims `lossless`, and a conversion "
         "back does not give the same bits."),
        (_PRECISION, "nan-payload", "NaN has other payload bits", "No number is wrong; the bytes are not carried."),
    ),
    *_rows(
        About.LAYOUT,
        (_DAMAGE, "rows-permuted", "rows of q or k stand in the wrong order", "The model loads, and attends to the wrong places.",
         "in GGUF files of llama the rows of a head of q and k stand in pairs (x0 y0 x1 y1 ...), in Hugging Face's in halves "
         "(x0 x1 ... y0 y1 ...): each head is turned by itself, q by n_head heads and k by n_kv; other architectures are "
         "not turned"),
        (_DAMAGE, "shape-not-reversed", "the shape is not reversed between GGUF and row-major", "Rows and columns are exchanged "
         "for whoever loads it.", "GGUF's ne is the row-major shape the other way round, and no byte moves"),
        (_DAMAGE, "transposed", "the data was transposed", "The matrix multiplies from the wrong side.",
         "only the order in which dimensions are written changes between formats, never that of the data"),
        (_DAMAGE, "shape", "the shape is wrong", "Loaders refuse the tensor, or read it otherwise."),
        (_DAMAGE, "size", "the data has another size than type and shape say", "A loader reads past the tensor, or misses a part."),
        (_DAMAGE, "label", "bytes stand under a wrong type", "A loader takes the bytes for numbers of another type.",
         "the type that is written is the type that the bytes are of"),
        (_PRECISION, "type", "a tensor has another type than before", "The numbers may be the same; the bytes are not."),
    ),
    *_rows(
        About.TENSORS,
        (_DAMAGE, "lost", "a tensor is lost", "A part of the model is gone; loaders that do not ask for it say nothing."),
        (_NO_OUTPUT, "twice", "a tensor stands twice in the output", "No loader takes the file, or one of the two wins by chance.",
         "each tensor is written once"),
        (_NO_OUTPUT, "overlap", "two tensors share bytes", "No loader takes the file."),
        (_NAMES, "invented", "a tensor is invented", "Loaders complain of a tensor that they do not know, or use it."),
    ),
    *_rows(
        About.NAMES,
        (_NAMES, "foreign-name", "a tensor has a name that no loader looks for", "The numbers are there, and loaders miss them."),
        (_NAMES, "fused", "q, k and v stand in one tensor", "The numbers are there, and loaders look for three tensors."),
    ),
    *_rows(
        About.METADATA,
        (_DAMAGE, "number-wrong", "a number of the configuration is wrong", "The model loads, and computes otherwise."),
        (_DAMAGE, "number-lost", "a number of the configuration is lost", "Loaders take a default in its place, or refuse."),
        (_DAMAGE, "scaling-wrong", "the rope scaling is wrong", "Long texts are read at the wrong positions."),
        (_DAMAGE, "scaling-lost", "the rope scaling is lost", "Long texts are read at the wrong positions."),
        (_DAMAGE, "head-ignored", "the model's own head is said to be its embedding", "Loaders take the embedding for the head."),
        (_DAMAGE, "words-wrong", "a part of the tokenizer is wrong", "Texts become tokens that the model was not trained on."),
        (_NO_OUTPUT, "architecture", "the architecture is lost or another one", "Loaders refuse it, or take it for another model."),
        (_NO_OUTPUT, "config-missing", "there is no config.json", "Nothing loads the directory as a model."),
        (_NO_OUTPUT, "head-missing", "the model is said to have a head, and has none", "Loaders refuse, or make one up at random."),
        (_NO_OUTPUT, "kind-wrong", "a key is of a kind that loaders refuse", "llama.cpp refuses the file."),
        (_NO_OUTPUT, "tokenizer-broken", "the tokenizer cannot be read", "Nothing turns texts into tokens."),
        (_NAMES, "tokenizer-lost", "the tokenizer is lost", "The model answers tokens only, or with another tokenizer."),
        (_NAMES, "words-lost", "a part of the tokenizer is lost", "Merges, special tokens or the chat template are missing."),
        (_NAMES, "key-twice", "a number stands under two keys", "Readers may take either, or drop all metadata."),
        (_NAMES, "key-wrong", "a metadata key has another value", "What the key says is no longer so."),
        (_NAMES, "key-lost", "a metadata key is lost", "What the key says is no longer known."),
        (_NAMES, "file-type-wrong", "the file says that it is of another type", "Tools show and choose by the wrong type."),
    ),
    *_rows(
        About.ANSWERS,
        (_DAMAGE, "answers-nan", "the logits are NaN or Inf", "The converted model says nothing of use."),
        (_DAMAGE, "answers-flat", "the logits are all the same", "The converted model says nothing of use."),
        (_DAMAGE, "answers-deaf", "the logits are the same whatever the prompt", "The converted model does not read its prompt."),
        (_DAMAGE, "answers-logits", "the logits differ", "The converted model computes something else."),
        (_DAMAGE, "answers-top1", "the best token differs", "The converted model gives other answers."),
        (_DAMAGE, "answers-text", "the answers differ", "The converted model gives other answers."),
        (_DAMAGE, "answers-numbers", "the model computes with other numbers of the configuration", "Answers differ, some only in "
         "long texts."),
        (_DAMAGE, "answers-weights", "a weight that could be the same is not", "More was changed than the types explain."),
        (_DAMAGE, "answers-tokens", "prompts are tokenized otherwise", "The model reads other tokens than it was trained on."),
        (_DAMAGE, "answers-stops", "answers end at other tokens", "Answers do not end, or end too soon."),
        (_DAMAGE, "answers-vocabulary", "the vocabulary or the chat template differs", "Tokens read otherwise, or chats are put "
         "to the model otherwise."),
        (_NO_OUTPUT, "answers-load", "no engine loads the converted model", "It cannot be used."),
        (_PRECISION, "answers-limit", "the answers are further off than rounding explains", "The model is worse than its type."),
    ),
    *_rows(
        About.FILE,
        (_DAMAGE, "touched", "the input is changed", "The source is no longer what it was.", "an input is read, and never written"),
        (_NO_OUTPUT, "unreadable", "the output cannot be read", "Nothing loads the file.",
         "what is written is a whole file of the target format, which any reader of it takes"),
        (_NO_OUTPUT, "metadata-unreadable", "the metadata cannot be read", "Loaders refuse the file, whatever its weights are.",
         "each key is written once, and each value as the format has it"),
        (_NO_OUTPUT, "stale", "the output is an old one", "An earlier output is taken for this one.",
         "an output is written by the run that says so"),
        (_NO_OUTPUT, "copied", "the output is the input once more", "The file has a suffix of one format and holds another.",
         "an output is of the format that was asked for, not the input once more"),
        (_NO_OUTPUT, "linked", "the output is the input itself", "Who changes or removes the one changes or removes the other.",
         "an output is a file of its own"),
        (_NO_OUTPUT, "irregular", "the output is no regular file", "A reader may wait for ever, or read something else."),
        (_NO_OUTPUT, "too-large", "the output is larger than its input can become", "It fills the disk of whoever keeps it."),
        (_NO_OUTPUT, "changed-after-exit", "the output is written to after the run has ended", "Who reads it at once has a part."),
        (_PRECISION, "not-encoded", "no tensor has the type that was asked for", "The file is not what was asked for."),
        (_PRECISION, "not-deterministic", "the same conversion gives other bytes", "Digests of two runs cannot be compared."),
    ),
    *_rows(
        About.REFUSALS,
        (_DAMAGE, "accepted-wrongly", "a broken file is accepted, and something else comes of it", "A damaged download becomes a "
         "model that is wrong."),
        (_REFUSAL, "accepted", "a broken file is accepted", "A damaged or hostile file is taken for a model."),
        (_REFUSAL, "refused-by-traceback", "a broken file ends in a Python traceback", "It is refused, in words for whoever wrote "
         "the converter; the next broken file may end otherwise.", "what cannot be converted is refused with a message"),
        (_REFUSAL, "no-message", "a file is refused without a word", "Nobody learns what is wrong with it."),
    ),
    *_rows(
        About.RUN,
        (_CRASH, "crashed", "it crashes", "There is no output, and no message that helps.",
         "this input is valid, and the reference converts it; what cannot be converted is refused with a message"),
        (_CRASH, "timeout", "it does not end", "There is no output in time.",
         "this input is valid, and the reference converts it at once"),
        (_NO_OUTPUT, "missing", "there is no output", "The converter says that all is well, and no file is there.",
         "a run that says that all is well leaves the file that it was asked for"),
        (_NO_OUTPUT, "empty", "the output is empty", "The converter says that all is well, and no weights are there.",
         "a run that says that all is well leaves a file with all of its tensors"),
        (_REFUSAL, "refused", "a valid file is refused", "The model cannot be converted.",
         f"{_VALID}, and nothing says that it may be refused"),
        (_REFUSAL, "left-behind", "a run that failed leaves a file", "A broken file may be taken for an output."),
        (_REFUSAL, "not-verified", "the two models could not be asked", "Nothing is known of its answers."),
        (_REFUSAL, "unstated", "a failure without a finding", "The reason of the result says what happened."),
    ),
    *_rows(
        About.GATE,
        (_REFUSAL, "nothing-compared", "nothing could be compared", "Nothing is known of the output."),
        (_REFUSAL, "not-all-compared", "not everything could be compared", "Of a part of the output nothing is known."),
        (_REFUSAL, "not-judged", "the source's own words cannot be read", "Nothing is known of configuration and tokenizer."),
        (_REFUSAL, "unknown-type", "the output has a type that the gate cannot judge", "How much the type loses is not known: "
         "the case is skipped, unless something else is wrong."),
    ),
)  # fmt: skip

#: Every kind by its name.
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
#: The kind of a failure that has no finding: valid input was refused, say.
UNSTATED = "unstated"


def kind_of(name: str) -> Kind:
    """The row of a kind. Raises UnknownKindError, which says what may be meant.

    >>> kind_of("nan-payload").severity.value
    'precision and bytes'
    """
    found = KINDS.get(name)
    if found is None:
        raise UnknownKindError(f"unknown kind {shown(name)}", hint=meant(name, KINDS))
    return found


def named(*about: About) -> frozenset[str]:
    """The names of the kinds about that."""
    return frozenset(name for name, kind in KINDS.items() if kind.about in about)


def meant(word: str, known: Iterable[str]) -> str:
    """What somebody may have meant who wrote a word that is unknown."""
    word, listed = word[:_LONGEST].lower(), {each.lower(): each for each in known}
    close = difflib.get_close_matches(word, listed, 1)
    close += [each for each in listed if len(word) > 2 and word in each]
    return f"Did you mean {listed[close[0]]!r}?" if close else "Kinds and gates are listed in docs/kinds.md."


def shown(word: str) -> str:
    """A word of a file in a message: in one line, cut, quoted."""
    return repr(safe_line(word, _LONGEST))
