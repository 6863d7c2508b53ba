from evodistill.plan import describe


def test_the_plan_counts_what_a_run_asks(cfg):
    text = describe(cfg("+experiment=smoke", "dataset.limit=10", "evolution.rounds=2"))
    assert "dataset: 0 records in, up to 10 out, 0 rejected" in text
    assert "evolution: 10 records in, up to 30 out" in text
    assert "evolver = fake: 20 requests" in text
    assert "metric ifd: 30 records of respond" in text


def test_no_model_is_asked_or_built(cfg):
    """A model that could not even be loaded is planned for."""
    text = describe(cfg("+experiment=smoke", "dataset.limit=2", "model@evolver=llama31-70b", "evolver.path=/nowhere"))
    assert "evolver = llama31-70b: 6 requests" in text and "No model was asked" in text


def test_cost_follows_from_prices(cfg):
    text = describe(
        cfg(
            "+experiment=smoke",
            "dataset.limit=10",
            "evolution.rounds=1",
            "+evolver.price={prompt: 0, completion: 1000}",
        )
    )
    # 10 requests of at most 2,048 tokens at 1,000 USD per million
    assert "at most 20.48 USD" in text


def test_the_first_prompt_of_each_step_is_shown(cfg):
    text = describe(cfg("+experiment=smoke", "dataset.limit=3"))
    for part in (
        "first prompt of evolution (evolver)",
        "first prompt of respond (teacher)",
        "first prompt of metric complexity_rate (judge)",
    ):
        assert part in text


def test_a_missing_key_is_a_warning_of_the_plan(cfg, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = describe(cfg("+experiment=smoke", "dataset.limit=2", "model@judge=gpt-4"))
    assert "WARNING, a run would stop: model gpt-4: set the environment variable OPENAI_API_KEY" in text
    assert "judge = gpt-4: " in text
