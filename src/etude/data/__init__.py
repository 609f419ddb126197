"""Records in and out, with exact errors; the text every installation has."""

from etude.data.documents import Document, prose, read_documents
from etude.data.frames import read_frame
from etude.data.records import read_lines, read_records, read_rows, write_records

__all__ = [
    "Document",
    "prose",
    "read_documents",
    "read_frame",
    "read_lines",
    "read_records",
    "read_rows",
    "write_records",
]
