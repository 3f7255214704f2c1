"""The models that training starts from: a checkpoint, or random weights with a tokenizer learned from the texts."""

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

_SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_TOKENIZER_FILES = frozenset(
    {"tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model"}
)
#: Plain transformers under the names that papers use; they need a pooling.
_PLAIN_TRANSFORMERS = frozenset(
    {"xlm-roberta-base", "xlm-roberta-large", "FacebookAI/xlm-roberta-base", "FacebookAI/xlm-roberta-large"}
)
#: Dimensions of an attention head of a tiny: init.
_HEAD_WIDTH = 32
#: Default length of a text for a tiny: init, in tokens.
_MAX_LENGTH = 128


def check(init: str) -> None:
    """Check an init without loading it.

    Raises `UsageError` if its folder does not exist, and `ModelError` if the folder has no dense encoder or no
    tokenizer.
    """
    if _is_random(init):
        return
    if Path(init).is_dir():
        checkpoint = Checkpoint.from_folder(Path(init))
        if not checkpoint.dense:
            raise ModelError(
                f"{init} is a {checkpoint.kind}: training starts from a model that gives one vector a text"
            )
        # without these files, transformers would build an empty tokenizer without a warning
        if not any(path.name in _TOKENIZER_FILES for path in Path(init).rglob("*")):
            raise ModelError(f"the init {init} has no tokenizer: save its tokenizer in the same folder")
    elif init.count("/") > 1 or init.startswith((".", "/", "~")):
        raise UsageError(f"there is no folder {init}: give --init a folder, a hub name, static:DIM or tiny:LAYERSxDIM")


def load(recipe: Recipe, texts: Iterable[str]) -> SentenceTransformer:
    """Return the model to train, with the recipe's prefixes as its prompts.

    A static: or tiny: init learns its tokenizer from `texts`, and its weights depend on torch's seed. Raises
    `ModelError` if a checkpoint cannot be loaded.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    kind, _, size = recipe.init.partition(":")
    if not _is_random(recipe.init):
        model = _load_checkpoint(recipe)
    elif kind == "static":
        embedding = StaticEmbedding(learn_subwords(texts, recipe.vocabulary), embedding_dim=int(size))
        model = SentenceTransformer(modules=[embedding])
    else:
        modules = _tiny(learn_subwords(texts, recipe.vocabulary), recipe, *map(int, size.split("x")))
        model = SentenceTransformer(modules=modules)
    if recipe.max_length and kind != "static":
        model.max_seq_length = recipe.max_length
    model.similarity_fn_name = "cosine"
    model.prompts = {"query": recipe.query_prefix, "document": recipe.passage_prefix}
    return model


def _is_random(init: str) -> bool:
    return init.partition(":")[0] in ("static", "tiny") and ":" in init


def _load_checkpoint(recipe: Recipe) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    folder = Path(recipe.init)
    plain = folder.is_dir() and Checkpoint.from_folder(folder).kind == "transformers"
    try:
        if plain or recipe.init in _PLAIN_TRANSFORMERS:
            transformer: Any = Transformer(recipe.init)
            pooling = Pooling(transformer.get_embedding_dimension(), recipe.pooling)
            return SentenceTransformer(modules=[transformer, pooling])
        return SentenceTransformer(recipe.init)
    except Exception as error:  # the libraries and the hub raise errors of many types
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the init {recipe.init} cannot be loaded ({type(error).__name__}: {reason}): check name and network"
        ) from error


def _tiny(tokenizer: Tokenizer, recipe: Recipe, layers: int, dimensions: int) -> list[Any]:
    """Return the modules of a DistilBERT with random weights, which has no unused parameters.

    The model is saved and loaded once, so that its modules are those of any other transformer.
    """
    import tempfile

    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from tokenizers.processors import TemplateProcessing
    from transformers import DistilBertConfig, DistilBertModel, PreTrainedTokenizerFast

    tokens = [_SPECIAL_TOKENS[name] for name in ("cls_token", "sep_token")]
    tokenizer.post_processor = TemplateProcessing(
        single=f"{tokens[0]} $A {tokens[1]}",
        pair=f"{tokens[0]} $A {tokens[1]} $B:1 {tokens[1]}:1",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in tokens],
    )
    max_length = recipe.max_length or _MAX_LENGTH
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_length, **_SPECIAL_TOKENS)
    configuration = DistilBertConfig(
        vocab_size=len(fast),
        dim=dimensions,
        hidden_dim=4 * dimensions,
        n_layers=layers,
        n_heads=dimensions // _HEAD_WIDTH,
        max_position_embeddings=max_length,
        pad_token_id=fast.pad_token_id,
    )
    with tempfile.TemporaryDirectory() as folder:
        DistilBertModel(configuration).save_pretrained(folder)
        fast.save_pretrained(folder)
        transformer: Any = Transformer(folder, max_seq_length=max_length)
    return [transformer, Pooling(dimensions, recipe.pooling)]


def learn_subwords(texts: Iterable[str], size: int) -> Tokenizer:
    """Learn a tokenizer of `size` subwords by byte-pair merges within runs of one script, after case folding.

    For example, ``learn_subwords(["river", "rivers"], 300).encode("Rivers").tokens``.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token=_SPECIAL_TOKENS["unk_token"]))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation("removed"), pre_tokenizers.UnicodeScripts()]
    )
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(_SPECIAL_TOKENS.values()), show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
