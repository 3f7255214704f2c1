"""The models that training starts from: a checkpoint, or random weights with a tokenizer learned from the texts.

Weights are trained in float32, in whatever type the init is stored, and the model is saved in float32.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hbt_bench.errors import ModelError, UsageError
from hbt_bench.identity.signature import Prompts
from hbt_bench.mteb.loaders import load_error, open_model
from hbt_bench.mteb.loading import load_checked
from hbt_bench.training import weights
from hbt_bench.training.inits import Init, check_matryoshka, check_positions, is_random
from hbt_bench.training.recipe import Lengths

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer
    from tokenizers import Tokenizer

    from hbt_bench.training.recipe import Recipe

log = logging.getLogger(__name__)

_SPECIAL_TOKENS = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
#: Dimensions of an attention head of a tiny: init.
_HEAD_WIDTH = 32
#: transformers has a limit of 10 ** 30 tokens for a tokenizer without a limit.
_NO_LIMIT = 10**9
#: Default length of a text for a tiny: init, in tokens.
_MAX_LENGTH = 128


def load(recipe: Recipe, texts: Iterable[str]) -> SentenceTransformer:
    """Return the model to train, in float32, with the recipe's prefixes as its prompts.

    A static: or tiny: init learns its tokenizer from `texts`, and its weights depend on torch's seed. Raises
    `ModelError` if a checkpoint cannot be loaded or trained, and `UsageError` for a key that it cannot honour.
    """
    model = _random(recipe, texts) if is_random(recipe.init) else _load_checkpoint(recipe)
    check_matryoshka(recipe, model.get_embedding_dimension())
    model.float()
    weights.restrict(recipe, model)
    _check_trainable(recipe.init, model)
    _limit_length(recipe, model)
    if model.similarity_fn_name != "cosine":
        log.info(
            f"the similarity of {recipe.init}, {model.similarity_fn_name}, is replaced by cosine, which is trained"
        )
        model.similarity_fn_name = "cosine"
    model.prompts = trained_prompts(model.prompts, recipe.query_prefix, recipe.passage_prefix)
    _check_room(recipe, model)
    if model.default_prompt_name not in model.prompts:
        model.default_prompt_name = None  # a default that does not exist makes a model that cannot be loaded
    return model


def trained_prompts(prompts: Mapping[str, str | None], query: str, document: str) -> dict[str, str]:
    """Return a model's prompts by name, with the trained prompts under all names of queries and documents.

    >>> trained_prompts({"passage": "p: ", "Clustering": "c: "}, "q: ", "d: ")
    {'passage': 'd: ', 'Clustering': 'c: ', 'query': 'q: ', 'document': 'd: '}
    """
    roles = dict.fromkeys(Prompts.QUERY_NAMES, query) | dict.fromkeys(Prompts.DOCUMENT_NAMES, document)
    both = set(Prompts.QUERY_NAMES) & set(Prompts.DOCUMENT_NAMES)
    named = {name: roles.get(name, text or "") for name, text in prompts.items() if name not in both}
    return {**named, "query": query, "document": document}


def used_settings(model: SentenceTransformer) -> dict[str, Any]:
    """Return the settings of a model in training: type of the weights, pooling, greatest length and prompts.

    A setting that differs between the encoders of a Router is a list.
    """
    import torch
    from sentence_transformers.sentence_transformer.modules import Pooling

    modes = [module.pooling_mode for module in model.modules() if isinstance(module, Pooling)]
    return {
        "weights": str(model.dtype).removeprefix("torch."),
        "float32_matmul": torch.get_float32_matmul_precision(),  # "highest" unless a program allows TF32
        "pooling": _single(["+".join([mode] if isinstance(mode, str) else mode) for mode in modes]),
        "max_length": _single([_lengths(module) for module in _transformers(model)]),
        "prompts": {role: model.prompts[role] for role in ("query", "document")},
        **weights.trained_parameters(model),
    }


def _length(module: Any, role: str = "") -> int | None:
    """Return the greatest number of tokens of a text of a role in a transformer, None if it has no limit."""
    length = getattr(module, f"{role}_length", None) or module.max_seq_length
    return length if (length or math.inf) < _NO_LIMIT else None


def _lengths(module: Any) -> dict[str, int | None] | int | None:
    """Return the greatest lengths of queries and passages, a single number if they are the same."""
    query, passage = (_length(module, role) for role in ("query", "document"))
    return query if query == passage else {"query": query, "passage": passage}


def _single(values: list[Any]) -> Any:
    """Return the only value, None if there is none, or all different values."""
    different = [value for row, value in enumerate(values) if value not in values[:row]]
    return different if len(different) > 1 else next(iter(different), None)


def _load_checkpoint(recipe: Recipe) -> SentenceTransformer:
    """Return a folder or a model of the hub; a plain transformer gets the recipe's pooling."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    init = Init.from_name(recipe.init, recipe.revision)
    try:
        if init.checkpoint.kind == "model2vec":
            model = open_model(init.checkpoint, init.hub_name)
        else:
            options: dict[str, Any] = {"revision": init.revision, "trust_remote_code": recipe.trust_remote_code}
            if not init.is_adapter:
                options["model_kwargs"] = {"dtype": torch.float32}
            folder = None if init.hub_name else init.checkpoint.path
            model = load_checked(recipe.init, lambda: SentenceTransformer(recipe.init, **options), folder)
    except ModelError:
        raise
    except Exception as error:  # the libraries and the hub raise errors of many types
        raise load_error(recipe.init, error, True) from error
    if init.checkpoint.kind == "transformers":
        if not isinstance(model[-1], Pooling):
            raise ModelError(f"the init {recipe.init} gives no vectors of tokens, which training pools")
        model[-1] = Pooling(model[-1].embedding_dimension, recipe.pooling)
    if init.is_adapter:
        _train_adapters(recipe.init, model)
    _check_roles(recipe.init, model)
    return model


def _train_adapters(init: str, model: SentenceTransformer) -> None:
    """Unfreeze the weights of adapters, which are loaded as frozen as their base models.

    Raises `ModelError` for a base model in half precision: the saved adapter would be used with it, and not with the
    float32 weights with which it is trained.
    """
    for module in model.modules():
        if getattr(module, "peft_config", None):
            module.set_adapter(module.active_adapters())
    kind = str(model.dtype).removeprefix("torch.")
    if kind != "float32":
        raise ModelError(
            f"the base model of the adapter {init} is stored in {kind}, in which the adapter would be used, but "
            "training is in float32: merge both with peft (merge_and_unload), save the model, and train it"
        )
    log.info(f"training the adapter {init}: the weights of its base model stay")


def _check_roles(init: str, model: SentenceTransformer) -> None:
    """Raise `ModelError` if a model, such as a Router, has vectors of another length for queries than for documents."""
    query, document = (len(encode("text")) for encode in (model.encode_query, model.encode_document))
    if query != document:
        raise ModelError(
            f"the init {init} gives queries {query} and documents {document} dimensions: choose encoders with the same "
            "number"
        )


def _check_trainable(init: str, model: SentenceTransformer) -> None:
    """Raise `ModelError` if a step of training would change nothing, or fail."""
    weights = list(model.parameters())
    if not all(weight.is_floating_point() for weight in weights):
        kind = next(str(weight.dtype) for weight in weights if not weight.is_floating_point()).removeprefix("torch.")
        raise ModelError(f"the init {init} has weights in {kind}, which cannot be trained: start from floating point")
    if not any(weight.requires_grad for weight in weights):
        raise ModelError(f"all weights of the init {init} are frozen, so there is nothing to train")
    if len(devices := sorted({str(weight.device) for weight in weights})) > 1:
        raise ModelError(
            f"the init {init} is spread over {', '.join(devices)}: remove `device_map` from its configuration"
        )


def _limit_length(recipe: Recipe, model: SentenceTransformer) -> None:
    """Set the greatest length of a text, within the positions of the model.

    Raises `UsageError` if the recipe's length is beyond them.
    """
    transformers = _transformers(model)
    if recipe.max_length and not transformers:
        raise UsageError(f"`max_length` has no effect on {recipe.init}, which has no transformer: leave it out")
    for module in transformers:
        positions, limit = _positions(module) or math.inf, _length(module) or math.inf
        check_positions(recipe, positions)
        if recipe.max_length:
            lengths = recipe.max_length if isinstance(recipe.max_length, Lengths) else None
            module.query_length, module.document_length = (lengths.query, lengths.passage) if lengths else (None, None)
            module.max_seq_length = recipe.longest
        elif limit > positions:
            log.info(f"texts are cut at the {positions} positions of {recipe.init}, not at its limit of {limit} tokens")
            module.max_seq_length = positions


def _check_room(recipe: Recipe, model: SentenceTransformer) -> None:
    """Raise `UsageError` if a prompt fills the greatest length, so that all texts would be the same."""
    for module in _transformers(model):
        for role in ("query", "document"):
            tokens = len(module.tokenizer(model.prompts[role])["input_ids"]) if module.tokenizer else 0
            length = _length(module, role) or math.inf
            if tokens >= length:
                raise UsageError(
                    f"the {role} prompt has {tokens} of the {length} tokens of a text in {recipe.init}: "
                    f"raise `max_length`, or shorten `{role.replace('document', 'passage')}_prefix`"
                )


def _transformers(model: SentenceTransformer) -> list[Any]:
    from sentence_transformers.sentence_transformer.modules import Transformer

    return [module for module in model.modules() if isinstance(module, Transformer)]


def _positions(module: torch.nn.Module) -> int | None:
    """Return the number of tokens for which a transformer has learned positions, None if it has no such table.

    A table with a padding row starts after it: RoBERTa's 514 rows are for 512 tokens.
    """
    import torch

    sizes = [
        table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1) - getattr(table, "offset", 0)
        for name, table in module.named_modules()
        if isinstance(table, torch.nn.Embedding)
        and name.rpartition(".")[2] in ("position_embeddings", "embed_positions", "wpe")
    ]
    return min(sizes, default=None)


def _random(recipe: Recipe, texts: Iterable[str]) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    kind, _, size = recipe.init.partition(":")
    tokenizer = learn_subwords(texts, recipe.vocabulary)
    if kind == "static":
        return SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_dim=int(size))])
    return SentenceTransformer(modules=_tiny(tokenizer, recipe, *map(int, size.split("x"))))


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
    max_length = recipe.longest or _MAX_LENGTH
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
