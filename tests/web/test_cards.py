"""A card shows what the JSON of a hit says, as plain text."""

from __future__ import annotations

from typing import Any

from answers import answer, hit

from hcq_cli.web.cards import answer_of, templates


def cards(document: dict[str, Any]) -> Any:
    return answer_of(document, lambda hit: {"video": "./" + hit["id"]})


def test_a_card_names_file_folder_and_second() -> None:
    whole, part = cards(answer([hit(1), {**hit(2), "id": "a/b.mp4#t=65,70", "time_s": 65.0, "end_s": 70.0}])).cards
    assert (whole.title, whole.folder, whole.time) == ("beach 1.mp4", "holiday", "")
    assert (part.title, part.folder, part.time, part.end_s) == ("b.mp4", "a", "1:05", 70.0)


def test_what_is_unsure_is_folded_behind_the_best_three() -> None:
    found = cards(answer([hit(at, confidence=0.1) for at in range(1, 6)], note="nothing here fits well"))
    assert [card.rank for card in found.cards] == [1, 2, 3] and [card.rank for card in found.folded] == [4, 5]
    assert found.note == "nothing here fits well"


def test_further_pages_of_what_is_unsure_stay_folded() -> None:
    macros = templates().get_template("cards.html").make_module()
    for confidence, first in ((0.1, "<details>"), (0.9, 'class="more"')):
        hits = [hit(at, confidence=confidence) for at in range(1, 6)]
        document = answer(hits, note="nothing here fits well" if confidence < 0.5 else "")
        page = macros.answer(answer_of(document, lambda hit: {"video": "./a"}, "/?q=a&offset=48"))
        assert first in page and page.rindex('class="more"') > page.rindex('class="card"')
        assert page.rstrip().endswith("</details>") == (confidence < 0.5)


def test_one_sure_hit_is_enough_to_show_all() -> None:
    found = cards(answer([hit(1, confidence=0.9), hit(2, confidence=0.1)]))
    assert len(found.cards) == 2 and not found.folded


def test_who_says_it_is_shown_with_the_sentence_and_is_not_folded() -> None:
    said = {"text": "happy birthday", "source": "speech", "start_s": 7.0}
    found = cards(answer([hit(at, confidence=0.1, words=said, found_by={"words": 1}) for at in range(1, 6)]))
    assert len(found.cards) == 5 and (found.cards[0].words, found.cards[0].reason) == ("happy birthday", "words")
    named = answer([hit(at, confidence=0.1, words={**said, "source": "name"}) for at in range(1, 6)])
    assert len(cards({**named, "note": "nothing here fits well"}).folded) == 2
    assert not cards(named).folded  # a page of an answer that fits


def test_what_steers_is_shown_as_an_escape() -> None:
    (card,) = cards(answer([{**hit(1), "id": "\u202egpj.exe\n\udcff.mp4", "path": "/v/\x1b[31m"}])).cards
    assert (card.title, card.path) == ("\\u202egpj.exe\\n\\xff.mp4", "/v/\\x1b[31m")
