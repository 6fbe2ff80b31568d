"""What is done to a document: extract its text, analyse it, store the result."""

import json
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

# Frequent short words are enough to tell these languages apart. They are never top terms.
STOP_WORDS = {
    "english": {"a", "and", "are", "for", "in", "is", "it", "of", "that", "the", "to", "with"},
    "french": {"dans", "de", "des", "du", "est", "et", "la", "le", "les", "pour", "que", "une"},
    "german": {"das", "den", "der", "die", "ein", "für", "im", "ist", "mit", "nicht", "und", "von"},
    "spanish": {"con", "de", "del", "el", "en", "la", "los", "para", "por", "que", "una", "y"},
}
WORD = re.compile(r"[^\W\d_]+")
TERM_LENGTH = range(4, 41)
TOP_TERMS = 5


@dataclass(frozen=True)
class Analysis:
    """What is known about a document once it is processed."""

    words: int
    language: str
    top_terms: list[str]
    """The most frequent words of interest, the most frequent first."""


class DocumentActivities:
    """The activities of the pipeline and what they need.

    They are plain functions that run in threads, because they compute, sleep and write files: as
    coroutines they would block everything else in the worker.
    """

    def __init__(self, results: Path, document_seconds: float) -> None:
        """Write to the folder `results`; take `document_seconds` seconds for each document."""
        self.results = results
        self.document_seconds = document_seconds

    @activity.defn
    def extract_text(self, document: bytes) -> bytes:
        """Return the words of the document, separated by single spaces, as UTF-8.

        The result is bytes because Temporal stores bytes as they are. Text can become six times as
        long when it is written as JSON, and then be larger than a payload may be.
        """
        time.sleep(self.document_seconds * 0.4)  # as long as a slow format takes, such as a scan
        try:
            text = document.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            # The document is at fault: a retry cannot help, and a traceback would not either.
            raise ApplicationError(
                "the document is not UTF-8 text",
                type="NotText",
                non_retryable=True,
                category=ApplicationErrorCategory.BENIGN,
            ) from error
        return " ".join(text.split()).encode()

    @activity.defn
    def analyze_content(self, text: bytes) -> Analysis:
        """Count words, guess the language and find the most frequent terms."""
        time.sleep(self.document_seconds * 0.6)  # as long as a model takes
        return analyze(text.decode())

    @activity.defn
    def store_results(self, document_id: str, analysis: Analysis) -> None:
        """Write the analysis as JSON. Writing it twice leaves the same file."""
        self.results.mkdir(parents=True, exist_ok=True)
        # The rename is atomic: an attempt that dies half-way leaves no partial result.
        unfinished = self.results / f".{document_id}.{activity.info().attempt}"
        unfinished.write_text(json.dumps(asdict(analysis), ensure_ascii=False), encoding="utf-8")
        unfinished.replace(self.results / f"{document_id}.json")


def analyze(text: str) -> Analysis:
    """Count the words; the language is the one with most of its stop words among them."""
    counts = Counter(WORD.findall(text.lower()))
    hits = {name: sum(counts[word] for word in words) for name, words in STOP_WORDS.items()}
    language = max(hits, key=hits.__getitem__) if any(hits.values()) else "unknown"
    common = set[str]().union(*STOP_WORDS.values())
    terms = [word for word, _ in counts.most_common() if len(word) in TERM_LENGTH]
    top_terms = [word for word in terms if word not in common][:TOP_TERMS]
    return Analysis(counts.total(), language, top_terms)
