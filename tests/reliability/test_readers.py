"""Damaged files give records or an `EtudeError`, from every reader."""

import pytest
from tests.reliability.fuzzing import accepts_its_sample, fuzz
from tests.reliability.mutations import damaged
from tests.reliability.readers import all_readers, data_readers


@pytest.mark.parametrize("reader", data_readers(), ids=lambda reader: reader.name)
def test_the_data_room_reads_damaged_files_or_says_why_not(reader, tmp_path):
    assert accepts_its_sample(reader, tmp_path) is None
    found = fuzz(reader, 60, tmp_path)
    assert not found.bugs, found.example
    assert found.read and found.refused


@pytest.mark.slow
def test_every_reader_of_every_method_reads_damaged_files_or_says_why_not(tmp_path):
    bugs = {}
    for at, reader in enumerate(all_readers()):
        folder = tmp_path / str(at)
        folder.mkdir()
        found = fuzz(reader, 60, folder)
        bugs |= {(reader.name, kind): example for kind, example in found.example.items()}
    assert not bugs


def test_damage_depends_on_the_seed_alone():
    import random

    reader = next(data_readers())
    assert damaged(reader.sample, random.Random(3)) == damaged(reader.sample, random.Random(3))
