from evodistill.record import split


def test_alpaca_reads_a_file_in_its_form(real):
    usable, rejected = split(real("alpaca", "alpaca_gpt4_demo/alpaca_en_demo.json"))
    assert (len(usable), len(rejected)) == (985, 14)
    assert {record.fault.reason for record in rejected} == {"duplicate"}
    assert usable[0].instruction == "Describe a process of making crepes."


def test_alpaca_seed_tasks_are_read_through_the_column_map(real):
    records = real("jsonl", "alpaca_seed_tasks/seed_tasks.jsonl", columns={"input": None, "output": None})
    assert len(records) == 175
    assert records[0].extra["id"] == "seed_task_0"
