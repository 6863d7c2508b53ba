def test_code_alpaca_reads_a_file_in_its_form(real):
    records = real("code_alpaca", "code_alpaca/code_alpaca_2k.json")
    assert len(records) == 2017 and not any(record.fault for record in records)
    assert sum(bool(record.input) for record in records) == 1006
