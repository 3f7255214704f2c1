"""Try a loaded model on a few words: which weights its vectors depend on, and whether it tells texts separate.

The words are the days of the week in languages of many scripts. A model need not know a language: it is refused only if
it fails in all of them, English included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hbt_bench.errors import ModelError
from hbt_bench.identity.signature import Prompts
from hbt_bench.ranking.collapse import MOST, is_same, same_share

#: Languages of the sample, each in a script of its own. English comes first: most models pass there.
_SAMPLE = ("en", "zh", "ru", "ar", "hi", "el", "he", "bn", "ta", "th", "ja", "ko", "ka", "am", "hy", "my", "km", "lo")
#: Words of a vocabulary that are tried, and the fewest that must be known.
_WORDS, _FEWEST = 50, 3


@cache
def sample_words(language: str) -> tuple[str, ...]:
    """Return seven different words of a language.

    >>> sample_words("en")[1]
    'Monday'
    """
    from babel import Locale

    return tuple(Locale(language).days["format"]["wide"].values())


def depends_on(model: Any, module: Any, weights: Sequence[str]) -> bool:
    """Return whether the vectors of `model` depend on some of `weights`, parameters of its part `module`.

    For the test, the weights are replaced by other random numbers for a moment. If `model` cannot encode a word, all
    weights but those of a pooler count as needed.
    """
    import torch

    parameters = {name: value for name, value in module.named_parameters() if name in set(weights)}
    if len(parameters) < len(set(weights)):  # buffers
        return True
    text = (" ".join(sample_words("en")),)
    saved = {name: value.detach().clone() for name, value in parameters.items()}
    generator = torch.Generator().manual_seed(0)
    try:
        before = _encode(model, text)
        with torch.no_grad():
            for value in parameters.values():
                value.copy_(torch.randn(value.shape, generator=generator))
        after = _encode(model, text)
    except ModelError:
        return True
    finally:
        with torch.no_grad():
            for name, value in parameters.items():
                value.copy_(saved[name])
    if before is None or after is None:
        return any("pooler" not in name for name in weights)
    return not all(is_same(before[role][0], vectors[0]) for role, vectors in after.items())


def depends_on_call(model: Any, encode: Callable[[Sequence[str]], NDArray[np.float32]]) -> bool:
    """Return whether the vectors that `encode` returns for words depend on the other words of the call.

    Rounding differs between batches, less than one part in a thousand for float32 weights. Weights of 16 bits, and
    models without weights of torch, may differ by a twentieth.
    """
    import torch

    module = getattr(model, "model", None)
    types = {value.dtype for value in module.parameters()} if isinstance(module, torch.nn.Module) else set()
    tolerance = 1e-3 if types == {torch.float32} else 0.05
    words = sample_words("en")
    half = len(words) // 2
    try:  # the greatest number of a call is in one of the halves, so that the other half has another scale
        separate, joint = np.concatenate([encode(words[:half]), encode(words[half:])]), encode(words)
    except Exception:  # the evaluation itself raises it again, with the text
        return False
    if separate.shape != joint.shape or not np.array_equal(np.isnan(separate), np.isnan(joint)):
        return True
    separate, joint = np.nan_to_num(separate), np.nan_to_num(joint)  # a model that gives NaN is refused later
    lengths = np.linalg.norm(joint, axis=1)
    return not bool((np.linalg.norm(separate - joint, axis=1) <= tolerance * lengths).all())


def check_tokenizer(name: str, model: Any) -> None:
    """Raise `ModelError` if a tokenizer of `model` maps most of the sample to its unknown token in every language.

    A tokenizer that knows the words of its vocabulary passes: a model may be made for a few words.
    """
    for tokenizer in _tokenizers(model):
        samples = (sample_words(language) for language in _SAMPLE)
        if all(_unknown_share(tokenizer, words) > MOST for words in samples) and not _own_words(tokenizer):
            raise ModelError(
                f"the tokenizer of {name} knows no words: more than half of its tokens are unknown in each of "
                f"{len(_SAMPLE)} scripts. Save the files of its tokenizer beside its weights."
            )


def unknown_share(model: Any, texts: Sequence[str]) -> float:
    """Return the share of tokens of `texts` that a tokenizer of `model` does not know, 0 if it has no tokenizer."""
    return max((_unknown_share(tokenizer, texts) for tokenizer in _tokenizers(model)), default=0.0)


def prompt_fills(model: Any, role: str) -> bool:
    """Return whether the prompt of a role, "query" or "document", has as many tokens as the model reads of a text."""
    from transformers import PreTrainedTokenizerBase

    inner = _sentence_transformers_model(model)
    prompt = getattr(Prompts.from_config(getattr(inner, "prompts", None)), role)
    longest = getattr(inner, "max_seq_length", None)
    tokenizers = [tokenizer for tokenizer in _tokenizers(model) if isinstance(tokenizer, PreTrainedTokenizerBase)]
    if not prompt or not longest:
        return False
    return any(len(tokenizer(prompt)["input_ids"]) >= longest for tokenizer in tokenizers)


def check_vectors(name: str, model: Any) -> None:
    """Raise `ModelError` if `model` gives most words of the sample the same vector, in a role and in every language."""
    least: dict[str, float] = {}
    for words in _samples(model):
        vectors = _encode(model, words)
        if vectors is None or "pair" in vectors:  # a cross-encoder may find all pairs equally bad
            return
        least = {role: min(least.get(role, 1.0), same_share(group)) for role, group in vectors.items()}
        if max(least.values()) <= MOST:
            return
    roles = " and ".join(role for role, share in least.items() if share > MOST)
    raise ModelError(
        f"{name} gives most texts the same vector as a {roles}, in each of {len(_SAMPLE)} scripts: its tokenizer or "
        "its weights are damaged, or its prompt is longer than the longest text that it reads."
    )


def _samples(model: Any) -> Iterator[Sequence[str]]:
    """Yield the words of each language, and words of the model's vocabulary."""
    yield from map(sample_words, _SAMPLE)
    yield from (words for tokenizer in _tokenizers(model) if (words := _own_words(tokenizer)))


def _own_words(tokenizer: Any) -> list[str]:
    """Return some words of a tokenizer's vocabulary that it knows, none if they are too few."""
    vocabulary = list(tokenizer.get_vocab())
    tokens = (token.strip("#▁Ġ") for token in vocabulary[:: -(-len(vocabulary) // _WORDS)])
    words = [token for token in tokens if token.isalnum() and _unknown_share(tokenizer, [token]) == 0]
    return words if len(words) >= _FEWEST else []


def _encode(model: Any, words: Sequence[str]) -> dict[str, list[NDArray[np.float32]]] | None:
    """Return vectors of `words` in each role, None if this is not a model of sentence-transformers.

    The role of a cross-encoder is "pair", and its vectors are scores before the activation. A multi-vector model gives
    a matrix per text.
    """
    import torch
    from sentence_transformers import CrossEncoder, SparseEncoder

    inner = _sentence_transformers_model(model)
    if inner is None:
        return None
    options: dict[str, Any] = {"show_progress_bar": False}
    try:
        if isinstance(inner, CrossEncoder):
            pairs = [(words[0], word) for word in words]
            return {"pair": _arrays(inner.predict(pairs, activation_fn=torch.nn.Identity(), **options))}
        if isinstance(inner, SparseEncoder):
            options["convert_to_sparse_tensor"] = False
        encoders = {"query": inner.encode_query, "document": inner.encode_document}
        return {role: _arrays(encode(list(words), **options)) for role, encode in encoders.items()}
    except Exception as error:
        if inner is not model or not inner.supports("text"):  # only MTEB's wrapper can call it, or it reads images
            return None
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"the model cannot encode a text: {type(error).__name__}: {reason}") from error


def _arrays(vectors: Any) -> list[NDArray[np.float32]]:
    import torch

    return [torch.as_tensor(vector).detach().float().cpu().numpy() for vector in vectors]


def _sentence_transformers_model(model: Any) -> Any:
    """Return the model of sentence-transformers that is, or is in, `model`; None if there is none."""
    from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder

    kinds = (SentenceTransformer, SparseEncoder, MultiVectorEncoder, CrossEncoder)
    return next((value for value in (model, getattr(model, "model", None)) if isinstance(value, kinds)), None)


def _tokenizers(model: Any) -> list[Any]:
    """Return the tokenizers in a model of sentence-transformers."""
    from sentence_transformers.sentence_transformer.modules.tokenizer import WordTokenizer
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

    inner = _sentence_transformers_model(model)
    values = [getattr(module, "tokenizer", None) for module in (inner.modules() if inner is not None else [])]
    kinds = (PreTrainedTokenizerBase, Tokenizer, WordTokenizer)
    return [tokenizer for tokenizer in values if isinstance(tokenizer, kinds)]


def _unknown_share(tokenizer: Any, texts: Sequence[str]) -> float:
    """Return the share of unknown tokens, 1 if the texts have no tokens."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

    if isinstance(tokenizer, PreTrainedTokenizerBase):
        unknown, rows = tokenizer.unk_token_id, tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    elif isinstance(tokenizer, Tokenizer):
        unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "")
        rows = [encoding.ids for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]
    else:  # a tokenizer of words, which drops unknown words
        return sum(not tokenizer.tokenize(text) for text in texts) / len(texts)
    tokens = [token for row in rows for token in row]
    return sum(token == unknown for token in tokens) / len(tokens) if tokens else 1.0
