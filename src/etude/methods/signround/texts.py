"""The built-in texts: where calibration text comes from, and what a quantized model is judged on, when none
is given.

In domain is the end of the prose of the Python installation, whose beginning is the built-in calibration
text; out of domain are scikit-learn's descriptions of its data sets. An evaluation always reports its sources
apart.
"""

from importlib import resources

from etude.data import Document, prose

HELD_OUT = 0.1  # share of the prose that is kept for evaluation
PIECE = 4000  # characters per document


def calibration_documents() -> list[Document]:
    """The beginning of Python's prose, in pieces of about 4,000 characters."""
    text = prose()
    return cut(text[: int(len(text) * (1 - HELD_OUT))], "python-prose")


def evaluation_documents() -> list[Document]:
    """The end of Python's prose (in domain) and scikit-learn's data set descriptions (out of domain)."""
    text = prose()
    held_out = cut(text[int(len(text) * (1 - HELD_OUT)) :], "python-prose")
    folder = resources.files("sklearn.datasets.descr")
    files = sorted(
        (file for file in folder.iterdir() if file.name.endswith(".rst")), key=lambda file: file.name
    )
    other = [
        document for file in files for document in cut(file.read_text(encoding="utf-8"), "sklearn-datasets")
    ]
    return held_out + other


def cut(text: str, source: str) -> list[Document]:
    """Cut text into documents at blank lines."""
    pieces, piece = [], ""
    for paragraph in text.split("\n\n"):
        piece += paragraph + "\n\n"
        if len(piece) >= PIECE:
            pieces.append(piece)
            piece = ""
    if piece.strip():
        pieces.append(piece)
    return [Document(id=f"{source}-{i}", text=piece.strip(), source=source) for i, piece in enumerate(pieces)]
