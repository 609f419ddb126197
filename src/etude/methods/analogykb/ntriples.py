"""N-Triples (RDF 1.1) in SQL: one line is a triple of URIs or literals; Wikidata's ids become labels.

A URI is read as the words of its last part; `rdfs:label` statements of the same file, or a table, rename it.
"""

from __future__ import annotations

_TRIPLE = (
    r"^\s*<([^>]*)>\s+<([^>]*)>\s+(?:<([^>]*)>|"
    r"\"((?:[^\"\\]|\\.)*)\"(?:@([A-Za-z0-9-]+)|\^\^<[^>]*>)?)\s*\.\s*(?:#.*)?$"
)
_LABEL = "http://www.w3.org/2000/01/rdf-schema#label"
_SITELINKS = "http://wikiba.se/ontology#sitelinks"
_ENTITY = r"^https?://www\.wikidata\.org/(?:entity|prop/direct)/([QP][0-9]+)$"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def parsed(lines: str) -> str:
    """The lines as `s, p, o` (URIs), `literal` and `lang`; a line that is no triple raises in DuckDB.

    Args:
        lines: A table function with the one column `line`.
    """
    return (
        "SELECT m.s, m.p, nullif(m.o, '') AS o, m.literal, m.lang FROM (SELECT CASE "
        f"WHEN regexp_matches(line, {_literal(_TRIPLE)}) "
        f"THEN regexp_extract(line, {_literal(_TRIPLE)}, ['s', 'p', 'o', 'literal', 'lang']) "
        "ELSE error('not an N-Triples line: ' || line[:80]) END AS m "
        f"FROM {lines} WHERE line IS NOT NULL AND trim(line) <> '' AND NOT starts_with(ltrim(line), '#'))"
    )


def _key(uri: str) -> str:
    """A Wikidata id, or the URI itself."""
    found = f"regexp_extract({uri}, {_literal(_ENTITY)}, 1)"
    return f"CASE WHEN {found} <> '' THEN {found} ELSE {uri} END"


def _unescaped(literal: str) -> str:
    """The text of a literal: its escapes are JSON's, but for the apostrophe's and eight-digit code points."""
    eight = f"regexp_matches({literal}, {_literal(chr(92) * 2 + 'U')})"
    asjson = f"json_extract_string('\"' || replace({literal}, '\\''', '''') || '\"', '$')"
    return f"CASE WHEN NOT contains({literal}, '\\') THEN {literal} WHEN {eight} THEN NULL ELSE {asjson} END"


def _words(uri: str) -> str:
    """The last part of a URI as words."""
    return f"replace(url_decode(regexp_extract({uri}, '([^/#]+)[/#]?$', 1)), '_', ' ')"


def labels_query(lines: str, table: str | None, language: str) -> str:
    """`id, label`: from the file's own labels, or from a table, which wins.

    Args:
        lines: As for `parsed`.
        table: A query for `id, label`, or None.
        language: Of the labels (`en` also takes `en-gb`; labels without a language are taken).
    """
    own = (
        f"SELECT {_key('s')} AS id, min({_unescaped('literal')}) AS label FROM ({parsed(lines)}) "
        f"WHERE p = {_literal(_LABEL)} AND (lang = '' OR lang IS NULL OR lang = {_literal(language)} "
        f"OR starts_with(lang, {_literal(language + '-')})) GROUP BY 1"
    )
    if table is None:
        return own
    return (
        f"SELECT id, arg_min(label, place) AS label FROM (SELECT id, label, 0 AS place FROM ({table}) "
        f"UNION ALL SELECT id, label, 1 FROM ({own})) GROUP BY id"
    )


def ntriples_query(lines: str, names: str, source: str) -> str:
    """`source, rel, head, tail` of the statements between two resources.

    Wikidata's entities without a label are left out; other URIs without one are read as words.

    Args:
        lines: As for `parsed`.
        names: A query for `id, label`.
        source: What the source column says.
    """

    def labelled(alias: str, uri: str) -> str:
        bare = f"regexp_matches({uri}, {_literal(_ENTITY)})"
        return f"coalesce({alias}.label, CASE WHEN NOT {bare} THEN {_words(uri)} END)"

    return (
        f"WITH names AS MATERIALIZED ({names}) SELECT {_literal(source)} AS source, "
        f"coalesce(r.label, CASE WHEN regexp_matches(g.p, {_literal(_ENTITY)}) "
        f"THEN {_key('g.p')} ELSE {_words('g.p')} END) AS rel, "
        f"{labelled('h', 'g.s')} AS head, {labelled('t', 'g.o')} AS tail FROM ({parsed(lines)}) g "
        f"LEFT JOIN names h ON h.id = {_key('g.s')} LEFT JOIN names t ON t.id = {_key('g.o')} "
        f"LEFT JOIN names r ON r.id = {_key('g.p')} "
        f"WHERE g.o IS NOT NULL AND g.p <> {_literal(_LABEL)}"
    )


def sitelinks_query(lines: str, names: str, least: int) -> str:
    """`term` of entities with at least so many sitelinks."""
    return (
        f"SELECT n.label AS term FROM ({parsed(lines)}) g JOIN ({names}) n ON n.id = {_key('g.s')} "
        f"WHERE g.p = {_literal(_SITELINKS)} AND TRY_CAST(g.literal AS INTEGER) >= {int(least)}"
    )
