"""The reliability sweep leaves no verb out."""

from tests.reliability.table import MORE, script, table

from etude.catalogue import CARDS


def test_every_verb_of_the_catalogue_has_a_command_that_is_swept():
    wanted = {f"{card.name} {verb}" for card in CARDS.values() for verb in card.verbs}
    assert set(table()) == wanted


def test_a_command_that_no_page_shows_is_there_because_no_page_shows_it():
    for method, lines in MORE.items():
        shown = {command.verb for command in script(method) if command.line.split(" ", 2)[2] not in lines}
        for line in lines:
            assert f"{method} {line.split()[0]}" not in shown
