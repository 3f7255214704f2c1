"""The models that training starts from: a checkpoint, or one of random weights with a tokenizer made here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.checkpoint import Checkpoint

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    from hbt_bench.training.recipe import Recipe

_SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_TOKENIZERS = frozenset(
    {"tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"}
)
_HEAD = 32
_LONGEST = 128


def check(init: str) -> None:
    """Raise `UsageError` or `ModelError` when there can be no such model, before anything is loaded."""
    if _built(init):
        return
    if Path(init).is_dir():
        checkpoint = Checkpoint.at(Path(init))
        if not checkpoint.dense:
            raise ModelError(
                f"{init} is a {checkpoint.kind}: training starts from a model that gives one vector a text"
            )
        # without one, transformers would quietly make an empty tokenizer that knows no word
        if not any(path.name in _TOKENIZERS for path in Path(init).rglob("*")):
            raise ModelError(f"the init {init} has no tokenizer: save one beside its weights")
    elif init.count("/") > 1 or init.startswith((".", "/", "~")):
        raise UsageError(f"there is no folder {init}: give --init a folder, a hub name, static:DIM or tiny:LAYERSxDIM")


def load(recipe: Recipe, texts: Iterable[str]) -> SentenceTransformer:
    """The model to train, with the recipe's prefixes as its prompts; `texts` are for a tokenizer made here.

    Weights depend on torch's seed. Raises `ModelError` for a model that cannot be loaded.
    """
    kind, _, size = recipe.init.partition(":")
    if _built(recipe.init):
        numbers = [int(number) for number in size.split("x")]
        tokenizer = subwords(texts, recipe.vocabulary)
        modules = _static(tokenizer, *numbers) if kind == "static" else _tiny(tokenizer, recipe, *numbers)
        model = _model(modules=modules)
    else:
        model = _loaded(recipe)
    if recipe.max_length and not recipe.init.startswith("static:"):
        model.max_seq_length = recipe.max_length
    model.prompts = {"query": recipe.query_prefix, "document": recipe.passage_prefix}
    return model


def _built(init: str) -> bool:
    return init.partition(":")[0] in ("static", "tiny") and ":" in init


def _model(**arguments: Any) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(similarity_fn_name="cosine", **arguments)


def _loaded(recipe: Recipe) -> SentenceTransformer:
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = Path(recipe.init)
    plain = folder.is_dir() and Checkpoint.at(folder).kind == "transformers"
    try:
        if plain or recipe.init in _PLAIN:
            transformer: Any = Transformer(recipe.init)
            model = _model(modules=[transformer, Pooling(transformer.get_embedding_dimension(), recipe.pooling)])
        else:
            model = _model(model_name_or_path=recipe.init)
    except Exception as error:  # libraries and the hub raise anything
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the init {recipe.init} cannot be loaded ({type(error).__name__}: {reason}): check name and network"
        ) from error
    return model


#: Plain transformers by the names that the papers use, which have no pooling of their own.
_PLAIN = frozenset(
    {"xlm-roberta-base", "xlm-roberta-large", "FacebookAI/xlm-roberta-base", "FacebookAI/xlm-roberta-large"}
)


def _static(tokenizer: Tokenizer, dimensions: int) -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return [StaticEmbedding(tokenizer, embedding_dim=dimensions)]


def _tiny(tokenizer: Tokenizer, recipe: Recipe, layers: int, dimensions: int) -> list[Any]:
    """A DistilBERT of random weights, which has no part that goes unused; saved and loaded, as others are."""
    import tempfile

    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers.processors import TemplateProcessing
    from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    ends = [(_SPECIAL[name], tokenizer.token_to_id(_SPECIAL[name])) for name in ("cls_token", "sep_token")]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{ends[0][0]} $A {ends[1][0]}",
        pair=f"{ends[0][0]} $A {ends[1][0]} $B:1 {ends[1][0]}:1",
        special_tokens=ends,
    )
    longest = recipe.max_length or _LONGEST
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=longest, **_SPECIAL)
    configuration = DistilBertConfig(
        vocab_size=len(fast),
        dim=dimensions,
        hidden_dim=4 * dimensions,
        n_layers=layers,
        n_heads=dimensions // _HEAD,
        max_position_embeddings=longest,
        pad_token_id=fast.pad_token_id,
    )
    with tempfile.TemporaryDirectory() as folder:
        DistilBertModel(configuration).save_pretrained(folder)
        fast.save_pretrained(folder)
        transformer: Any = Transformer(folder, max_seq_length=longest)
    return [transformer, Pooling(dimensions, recipe.pooling)]


def subwords(texts: Iterable[str], size: int) -> Tokenizer:
    """Subwords by byte-pair merges inside runs of one script, learned from `texts`, for case-folded text."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL["unk_token"]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("removed"), pre_tokenizers.UnicodeScripts()]
    )
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(_SPECIAL.values()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
