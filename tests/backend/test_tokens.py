import pytest

from evodistill import RunError
from evodistill.backend.tokens import bos, encode, encode_parts
from evodistill.weights import Weights

SMOLLM = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nName a tea.<|im_end|>\n<|im_start|>assistant\n"
)
SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nName a tea.<|im_end|>\n<|im_start|>assistant\n"
ASK = [{"role": "user", "content": "Name a tea."}]


@pytest.fixture
def tokenizer(smollm2: Weights):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm2.folder)  # anew for every test: some change it


def test_a_chat_is_rendered_by_the_models_own_template(tokenizer) -> None:
    assert tokenizer.decode(encode(tokenizer, ASK)) == SMOLLM
    assert tokenizer.decode(encode(tokenizer, [{"role": "system", "content": "Be brief."}, *ASK])) == SYSTEM


def test_no_bos_is_added_to_that_of_the_template(tokenizer) -> None:
    from tokenizers.processors import TemplateProcessing

    # a tokenizer that puts a BOS before every text, as Llama's does
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
    )
    assert tokenizer("tea")["input_ids"][0] == tokenizer.bos_token_id
    ids = encode(tokenizer, ASK)
    assert ids[0] == tokenizer.bos_token_id != ids[1]
    (first, second, *_), _ = encode_parts(tokenizer, ["tea", "pot"])
    assert first == tokenizer.bos_token_id != second
    assert encode_parts(tokenizer, ["tea", "pot"])[0].count(tokenizer.bos_token_id) == 1


def test_a_part_has_the_same_ids_alone_and_behind_another_IFD2(tokenizer) -> None:
    question, answer = "Complete: I drink ", "tea\n"
    ids, (_, (start, end)) = encode_parts(tokenizer, [question, answer])
    alone, ((first, last),) = encode_parts(tokenizer, [answer])
    assert ids[start:end] == alone[first:last]
    # in one piece a token may reach over the border: IFD1
    assert tokenizer(question + answer)["input_ids"] != ids[1:]


def test_an_empty_part_spans_nothing(tokenizer) -> None:
    ids, spans = encode_parts(tokenizer, ["", "tea", ""])
    assert spans == [(1, 1), (1, len(ids)), (len(ids), len(ids))]


def test_without_a_bos_texts_start_behind_the_end_of_text(tokenizer) -> None:
    tokenizer.bos_token = None
    assert bos(tokenizer) == tokenizer.convert_tokens_to_ids("<|endoftext|>")


def test_a_model_without_a_template_is_named_with_the_cure(tokenizer, smollm2: Weights) -> None:
    tokenizer.chat_template = None
    with pytest.raises(RunError, match=r"no chat template.*instruction-tuned") as error:
        encode(tokenizer, ASK)
    assert str(smollm2.folder) in str(error.value)


def test_a_template_that_refuses_a_role_is_one_clear_line(tokenizer) -> None:
    tokenizer.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(RunError, match=r"refuses the roles system, user: no system role"):
        encode(tokenizer, [{"role": "system", "content": "Be brief."}, *ASK])


def test_lone_surrogates_are_replaced(tokenizer) -> None:
    assert encode_parts(tokenizer, ["a\ud83db"]) == encode_parts(tokenizer, ["a\ufffdb"])
    assert encode_parts(tokenizer, ["\ud83d\ude00"]) == encode_parts(tokenizer, ["😀"])
