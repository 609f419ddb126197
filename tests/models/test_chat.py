import pytest
import torch

from etude.errors import EtudeError
from etude.models import chat_model, image_part, register_scripted, text_part
from etude.models.chat import Parameters, Reply
from etude.models.local import LocalEngine, render

QUESTIONS = ("the cat sat", "the dog ran on the mat", "yes no yes", "w1 w2 w3 w4 w5 w6 w7 w8")


@pytest.fixture
def chat(tiny_directory):
    return chat_model(str(tiny_directory), store=None)


def prompt(lm, conversation) -> list[int]:
    text = lm.tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    return lm.tokenizer.encode(text, add_special_tokens=False)


def test_replies_are_what_plain_generate_writes_after_the_template(chat, tiny, user):
    replies = chat.generate([user(text) for text in QUESTIONS], max_tokens=10)
    for text, reply in zip(QUESTIONS, replies, strict=True):
        ids = torch.tensor([prompt(tiny, user(text))])
        made = tiny.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=10, do_sample=False
        )
        assert reply.text == tiny.tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True)
        assert reply.prompt_tokens == ids.shape[1]
        assert reply.stop_reason in ("stop", "length")


def test_scores_are_sums_of_plain_log_probabilities(chat, tiny, user):
    options = [["yes", "no", "the cat sat"]] * len(QUESTIONS)
    scores = chat.score([user(text) for text in QUESTIONS], options)
    for text, row in zip(QUESTIONS, scores, strict=True):
        before = prompt(tiny, user(text))
        for option, score in zip(options[0], row, strict=True):
            answer = tiny.tokenizer.encode(option, add_special_tokens=False)
            with torch.inference_mode():
                logprobs = tiny.model(torch.tensor([before + answer])).logits[0].log_softmax(-1)
            expected = sum(float(logprobs[len(before) - 1 + i, token]) for i, token in enumerate(answer))
            assert score == pytest.approx(expected, abs=5e-5)


def test_samples_depend_on_the_seed_and_not_on_what_else_is_asked(chat, user):
    conversations = [user(text) for text in QUESTIONS]
    together = chat.generate(conversations, max_tokens=10, temperature=1.0, seed=3)
    alone = [chat.generate([one], max_tokens=10, temperature=1.0, seed=3)[0] for one in conversations]
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    other = chat.generate(conversations, max_tokens=10, temperature=1.0, seed=4)
    assert [reply.text for reply in other] != [reply.text for reply in together]


def test_a_long_shared_beginning_is_read_once(chat, user, tiny):
    head = " ".join(f"w{i}" for i in range(60))
    replies = chat.generate([user(f"{head} {text}") for text in QUESTIONS], max_tokens=5)
    assert sum(reply.cached_tokens > 60 for reply in replies) == len(QUESTIONS) - 1
    alone = chat.generate([user(f"{head} {QUESTIONS[1]}")], max_tokens=5)
    assert alone[0].text == replies[1].text
    assert alone[0].cached_tokens == 0


def test_groups_that_share_different_texts_are_answered_as_alone(tiny_directory, user, monkeypatch):
    monkeypatch.setattr("etude.models.sharing.WORTH", 20)
    chat = chat_model(str(tiny_directory), store=None)
    texts = [" ".join(f"w{(i * k) % 100}" for i in range(40)) for k in (1, 3, 7)]
    conversations = [user(f"{text} {question}") for text in texts for question in QUESTIONS[:2]]
    together = chat.generate(conversations, max_tokens=6)
    assert [reply.text for reply in together] == [
        chat.generate([c], max_tokens=6)[0].text for c in conversations
    ]
    assert sum(reply.cached_tokens > 40 for reply in together) == 3
    options = [["yes", "no"]] * len(conversations)
    alone = [chat.score([c], [["yes", "no"]])[0] for c in conversations]
    for one, other in zip(chat.score(conversations, options), alone, strict=True):
        assert one == pytest.approx(other, abs=5e-5)


def test_a_prompt_longer_than_the_context_is_an_error_of_its_own(chat, user):
    long = user(" ".join(["cat"] * 300))
    replies = chat.generate([user("yes"), long], max_tokens=5)
    assert replies[0].error is None
    assert replies[1].stop_reason == "error"
    assert "context is 256" in replies[1].error
    with pytest.raises(EtudeError, match="reads 256"):
        chat.score([long], [["yes"]])


def test_an_answer_that_was_begun_is_continued(tiny, user):
    begun = [*user("the cat"), {"role": "assistant", "content": "yes the"}]
    ids = render(tiny.tokenizer, begun, "tiny")
    assert tiny.tokenizer.convert_ids_to_tokens(ids[-2:]) == ["yes", "the"]


def test_a_base_model_without_a_template_reads_plain_text(tmp_path, user, save_tiny_model):
    chat = chat_model(str(save_tiny_model(tmp_path / "base", template=None)), store=None)
    reply = chat.generate([user("the cat sat")], max_tokens=4)[0]
    assert reply.prompt_tokens == 3
    assert reply.output_tokens <= 4


def test_a_template_that_refuses_is_explained(tmp_path, user, save_tiny_model):
    strict = "{{ raise_exception('no system messages here') }}"
    chat = chat_model(str(save_tiny_model(tmp_path / "strict", template=strict)), store=None)
    with pytest.raises(EtudeError, match="no system messages here"):
        chat.generate([user("yes")], max_tokens=4)


def test_pictures_are_refused_by_a_model_that_reads_text(chat):
    seen = [{"role": "user", "content": [text_part("What is this?"), image_part(b"\x89PNG")]}]
    with pytest.raises(EtudeError, match="text only"):
        chat.generate([seen], max_tokens=4)
    told = [{"role": "user", "content": [text_part("yes"), text_part("no")]}]
    assert chat.generate([told], max_tokens=4)[0].prompt_tokens == 7


def test_an_image_part_carries_the_picture_itself(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"abc")
    assert image_part(tmp_path / "a.jpg")["image_url"]["url"] == "data:image/jpeg;base64,YWJj"
    with pytest.raises(EtudeError, match="not a picture"):
        image_part(tmp_path / "a.txt")
    with pytest.raises(EtudeError, match="cannot be read"):
        image_part(tmp_path / "missing.png")


@pytest.mark.parametrize(
    ("conversations", "problem"),
    [
        ([[]], "has no messages"),
        ([["hello"]], "is not a message"),
        ([[{"role": "robot", "content": "x"}]], "is not a message"),
        ([[{"role": "user", "content": 3}]], "content is a int"),
    ],
)
def test_malformed_conversations_are_refused_before_any_is_answered(chat, conversations, problem):
    with pytest.raises(EtudeError, match=problem):
        chat.generate(conversations, max_tokens=4)


def test_parameters_and_options_that_cannot_be_are_refused(chat, user):
    for wrong in ({"max_tokens": 0}, {"max_tokens": 4, "temperature": -1}, {"max_tokens": 4, "stop": [""]}):
        with pytest.raises(EtudeError, match="cannot be"):
            chat.generate([user("yes")], **wrong)
    with pytest.raises(EtudeError, match="one list each"):
        chat.score([user("yes")], [])
    for options in ([[]], [[""]], ["yes"]):
        with pytest.raises(EtudeError, match="options of conversation 0"):
            chat.score([user("yes")], options)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("openai/", "names no model"),
        ("inspect/", "names no model"),
        ("scripted/nobody", "no scripted model 'nobody'"),
        ("minilm", "sentence encoder"),
        ("smollm3", "no model 'smollm3'"),
    ],
)
def test_names_that_mean_no_chat_model_are_explained(name, problem):
    with pytest.raises(EtudeError, match=problem):
        chat_model(name)


def test_a_base_url_is_not_for_local_models(tiny_directory):
    with pytest.raises(EtudeError, match="is a local model"):
        chat_model(str(tiny_directory), base_url="http://127.0.0.1:1")


def test_the_store_knows_a_local_model_by_its_content_and_loads_nothing_for_stored_replies(
    tiny_directory, tmp_path, user, monkeypatch
):
    chat = chat_model(str(tiny_directory), store=tmp_path / "r.sqlite")
    first = chat.generate([user("yes")], max_tokens=4)
    monkeypatch.setattr(LocalEngine, "lm", property(lambda self: pytest.fail("the model was loaded")))
    assert (
        chat_model(str(tiny_directory), store=tmp_path / "r.sqlite").generate([user("yes")], max_tokens=4)
        == first
    )


def test_scripted_models_answer_score_and_keep_to_stop_strings_and_length(user):
    register_scripted("echo", lambda c: c[-1]["content"], score=lambda c, option: -1.0 * len(option))
    chat = chat_model("echo")
    replies = chat.generate([user("one two three"), user("one; two")], max_tokens=2, stop=[";"])
    assert [(reply.text, reply.stop_reason) for reply in replies] == [("one two", "length"), ("one", "stop")]
    assert chat.score([user("x")], [["a", "bb"]]) == [[-1.0, -2.0]]
    register_scripted("whole", lambda c: Reply("no", "refused"))
    assert chat_model("scripted/whole").generate([user("x")], max_tokens=2)[0].stop_reason == "refused"
    with pytest.raises(EtudeError, match="cannot score"):
        chat_model("whole").score([user("x")], [["a"]])


@pytest.fixture
def inspect_provider():
    """A provider registered with Inspect itself, which tells what reached it."""
    model = pytest.importorskip("inspect_ai.model")

    @model.modelapi(name="telling")
    class Telling(model.ModelAPI):
        async def generate(self, input, tools, tool_choice, config):
            last = input[-1]
            parts = last.content if isinstance(last.content, list) else []
            if last.text == "forbidden":
                return model.ModelOutput.from_content(self.model_name, "", stop_reason="content_filter")
            if last.text == "break":
                raise ValueError("broken")
            told = f"{len(input)} {last.role} {last.text} {[part.type for part in parts]} {config.max_tokens}"
            output = model.ModelOutput.from_content(self.model_name, told)
            output.usage = model.ModelUsage(input_tokens=7, output_tokens=3, input_tokens_cache_read=2)
            return output


def test_inspect_providers_answer_through_the_same_face(user, tmp_path, inspect_provider):
    chat = chat_model("inspect/telling/model", store=tmp_path / "r.sqlite", max_connections=2)
    begun = [{"role": "system", "content": "s"}, *user("hello"), {"role": "assistant", "content": "x"}]
    seen = [{"role": "user", "content": [text_part("what?"), image_part(b"\x89PNG")]}]
    replies = chat.generate([begun, seen, user("forbidden"), user("break"), user("a")], max_tokens=4)
    assert replies[0].text == "3 assistant x [] 4"
    assert replies[1].text == "1 user what? ['text', 'image'] 4"
    assert [reply.stop_reason for reply in replies] == ["stop", "stop", "refused", "error", "stop"]
    assert (replies[4].prompt_tokens, replies[4].cached_tokens, replies[4].output_tokens) == (7, 2, 3)
    assert "broken" in replies[3].error
    assert len(chat.store) == 4
    with pytest.raises(EtudeError, match="no log-probabilities"):
        chat.score([user("x")], [["a"]])


def test_an_inspect_provider_that_is_not_there_is_one_clear_error(user):
    pytest.importorskip("inspect_ai")
    with pytest.raises(EtudeError, match="cannot be used"):
        chat_model("inspect/nobody/model", store=None).generate([user("x")], max_tokens=4)


def test_parameters_without_sampling_do_not_depend_on_the_seed():
    assert Parameters(3, seed=1).to_json() == Parameters(3, seed=2).to_json()
    assert Parameters(3, 0.5, seed=1).to_json() != Parameters(3, 0.5, seed=2).to_json()


def test_half_a_character_in_an_answer_is_replaced():
    from etude.models.chat import Reply

    assert Reply("good \ud800 bad \N{GRINNING FACE}", "stop").text == "good ? bad \N{GRINNING FACE}"
