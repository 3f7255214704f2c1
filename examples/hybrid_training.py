"""Train with hybrid batches in your own script, with the stock trainer of sentence-transformers.

``python examples/hybrid_training.py [OUTPUT] [STEPS]``

Replace the rows with your own: records with an id that translations share, a language, a query and a passage.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
    losses,
)
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

import hbt_bench
from hbt_bench.data import cldr
from hbt_bench.training.sources import collection_items

LANGUAGES = ["de", "en", "sw"]


def facts() -> Iterator[dict[str, str]]:
    """Yield the training facts that are built into hbt-bench, for example the currency of a country."""
    for item in collection_items(cldr.read("train", LANGUAGES)):
        for code, question in item.queries.items():
            yield {"id": item.id, "lang": code, "question": question, "context": item.passages[code]}


def small_model(texts: list[str]) -> SentenceTransformer:
    """Return an untrained bag of subwords; any SentenceTransformer takes its place."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=2000, special_tokens=["[UNK]"]))
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=64)], device="cpu")


def main(output: str = "hybrid-model", steps: str = "200") -> None:
    """Train, and print the scores of the chosen checkpoint."""
    rows = list(facts())
    data = hbt_bench.hybrid_dataset(
        rows,
        query="question",
        passage="context",
        language_field="lang",
        alpha=0.5,
        batch_size=32,
        steps=int(steps),
    )
    evaluator = hbt_bench.CollectionEvaluator("cldr-facts", primary="AP", languages=LANGUAGES)
    every = max(1, int(steps) // 4)
    arguments = SentenceTransformerTrainingArguments(
        output,
        max_steps=int(steps),
        per_device_train_batch_size=32,
        batch_sampler=hbt_bench.PlanBatchSampler,
        learning_rate=0.05,
        eval_strategy="steps",
        eval_steps=every,
        save_steps=every,
        load_best_model_at_end=True,
        metric_for_best_model=f"eval_{evaluator.primary_metric}",
        greater_is_better=evaluator.greater_is_better,
        report_to=[],
    )
    model = small_model([row[key] for row in rows for key in ("question", "context")])
    loss = losses.MultipleNegativesRankingLoss(model)
    trainer = SentenceTransformerTrainer(model, arguments, train_dataset=data, loss=loss, evaluator=evaluator)
    trainer.train()
    model.save_pretrained(output)
    print({name: round(value, 4) for name, value in evaluator(model).items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
