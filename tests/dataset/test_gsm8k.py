def test_gsm8k_keeps_question_and_raw_answer(real):
    records = real("gsm8k", "gsm8k/train_first6473.jsonl")
    assert len(records) == 6473 and not any(record.fault for record in records)
    assert records[0].instruction.startswith("Natalia sold clips") and records[0].input == ""
    assert "<<48/2=24>>" in records[0].output and records[0].output.endswith("#### 72")
