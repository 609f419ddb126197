"""The prompt-speech mixer: where the speech stands, what is learned, what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from etude.errors import EtudeError
from etude.methods.speech_translation.design import MixerBlock
from etude.methods.speech_translation.language_models import LanguageModel, load_language_model
from etude.methods.speech_translation.mixing import Prompt, PromptMixer, fill_template, templates_of
from etude.methods.speech_translation.tasks import target_text, translation_of
from etude.methods.speech_translation.utterances import Utterance

U = Utterance(id="x", audio="a.wav", source_lang="en", target_lang="de", transcript="red", translation="rot")


@pytest.fixture(scope="module")
def language(llm_folder: str) -> LanguageModel:
    return load_language_model(llm_folder)


def test_labels_are_minus_100_but_at_the_target_and_its_end_token(language: LanguageModel) -> None:
    mixer = PromptMixer(MixerBlock(templates={"st": ("a{speech}b=",)}), language)
    prompt, target = mixer.prompt(U, "st"), mixer.target("rot")
    x, mask, labels = mixer(torch.randn(1, 4, 16), torch.tensor([3]), [prompt], language.embeddings, [target])
    assert target[-1] == language.end and len(target) == 4
    assert labels[0].tolist() == [-100] * (2 + 3 + 2) + target  # begin token, a, speech, b, =
    assert mask.sum() == x.shape[1] == 11


@pytest.mark.parametrize("template", ["no slot", "{speech} and {speech}"])
def test_a_prompt_without_its_slot_or_with_two_is_refused(template: str, language: LanguageModel) -> None:
    found = template.count("{speech}")
    with pytest.raises(EtudeError, match=f"has {found} places"):
        templates_of(MixerBlock(templates={"st": (template,)}), "st")
    with pytest.raises(EtudeError, match=f"has {found} places"):
        PromptMixer(MixerBlock(), language).prompt(U, "st", template=template)


def test_the_prompt_stands_before_after_or_around_the_speech() -> None:
    before, after, around = (
        templates_of(MixerBlock(position=p), "asr")[0].partition("{speech}")
        for p in ("before", "after", "around")
    )
    assert before[0].strip() and not before[2].strip()
    assert after[2].strip() and not after[0].strip()
    assert around[0].strip() and around[2].strip()
    assert templates_of(MixerBlock(kind="none"), "st") == ("{speech}",)
    assert len(templates_of(MixerBlock(kind="sampled"), "st")) > 1
    assert "<translate>" in templates_of(MixerBlock(kind="tags"), "st")[0]


def test_a_question_cannot_bring_a_slot_of_its_own() -> None:
    asked = U.model_copy(update={"question": "what is {speech}?"})
    text = fill_template("{speech}\n{question}", asked)
    assert text.count("{speech}") == 1


def test_an_absent_target_language_is_refused() -> None:
    with pytest.raises(EtudeError, match="no target language"):
        fill_template("{speech} into {target}", U.model_copy(update={"target_lang": None}))


def test_the_chat_template_is_used_where_there_is_one(language: LanguageModel, llm_folder: str) -> None:
    mine = load_language_model(llm_folder)
    mine.tokenizer.chat_template = "{% for m in messages %}a{{ m.content }}b{% endfor %}="
    mixer = PromptMixer(MixerBlock(templates={"st": ("x{speech}y",)}), mine)
    prompt = mixer.prompt(U, "st")
    decode = mine.tokenizer.decode
    assert (decode(prompt.before), decode(prompt.after)) == ("ax", "yb=")
    plain = PromptMixer(MixerBlock(templates={"st": ("x{speech}y",)}, chat=False), mine).prompt(U, "st")
    assert plain.before[0] == mine.tokenizer.bos_token_id and decode(plain.after) == "y"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(0, 4)), min_size=1, max_size=4))
def test_padding_on_the_left_and_on_the_right_holds_the_same_rows(sizes: list[tuple[int, int, int]]) -> None:
    embed = torch.nn.Embedding(20, 6)
    mixer = PromptMixer.__new__(PromptMixer)
    torch.nn.Module.__init__(mixer)
    speech = torch.randn(len(sizes), 5, 6)
    lengths = torch.tensor([n for _, n, _ in sizes])
    prompts = [Prompt(list(range(a)), list(range(10, 10 + b))) for a, _, b in sizes]
    targets = [[1, 2]] * len(sizes)
    right, mask_r, labels_r = mixer(speech, lengths, prompts, embed, targets)
    left, mask_l, labels_l = mixer(speech, lengths, prompts, embed, targets, left=True)
    for b, (before, n, after) in enumerate(sizes):
        total = before + n + after + 2
        assert int(mask_r[b].sum()) == int(mask_l[b].sum()) == total
        torch.testing.assert_close(right[b, :total], left[b, left.shape[1] - total :])
        torch.testing.assert_close(labels_r[b, :total], labels_l[b, left.shape[1] - total :])
        torch.testing.assert_close(right[b, before : before + n], speech[b, :n])


def test_a_chain_writes_the_transcript_first_and_gives_back_the_translation() -> None:
    assert target_text(U, "chain") == "red\nrot"
    assert translation_of("red\nrot", "chain") == "rot"
    assert translation_of("red", "chain") == ""
    assert translation_of("rot", "st") == "rot"


def test_the_loss_is_the_mean_cross_entropy_of_the_target_tokens(language: LanguageModel) -> None:
    mixer = PromptMixer(MixerBlock(templates={"st": ("{speech}=",)}), language)
    speech, lengths = torch.randn(2, 3, 16), torch.tensor([3, 2])
    targets = [mixer.target("rot"), mixer.target("weiß")]
    prompts = [mixer.prompt(U, "st")] * 2
    given_, mask, labels = mixer(speech, lengths, prompts, language.embeddings, targets)
    with torch.no_grad():
        loss = float(language(given_, mask, labels))
        total, count = 0.0, 0
        for b, target in enumerate(targets):
            one, _, _ = mixer(
                speech[b : b + 1], lengths[b : b + 1], prompts[:1], language.embeddings, [target]
            )
            scores = language.model(inputs_embeds=one).logits[0].log_softmax(-1)
            at = one.shape[1] - len(target) - 1
            total -= sum(float(scores[at + i, t]) for i, t in enumerate(target))
            count += len(target)
    assert loss == pytest.approx(total / count, rel=1e-4)
