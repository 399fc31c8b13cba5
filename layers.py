"""The modules of Working Memory Networks as Keras layers, on keras.ops alone; tested on TensorFlow and JAX.

Pavez, Allende, Allende-Cid, "Working Memory Networks: Augmenting Memory Networks with a Relational Reasoning Module",
ACL 2018, arXiv 1805.09354. The modules of the paper's Figure 1 and where they stand here:

    input module            SentenceEncoder: words -> one vector, for facts and for questions
    short-term storage      ShortTermStorage: facts -> memories m_1 ... m_n
    attentional controller  AttentionalController: hops of MultiHeadMemoryAttention over the memories
    working memory buffer   the controller's output o_1 ... o_K, (batch, hops, units)
    reasoning module        RelationalReasoning: the sum of g over all pairs of the buffer

Facts come in one of two layouts, and give the same result in both. *Padded*: memories (batch, facts, units) with a mask
(batch, facts). *Laid end to end*: memories (facts of all stories, units) with `story` (facts of all stories,), the row
of the batch that each fact belongs to; any other number marks a slot to be ignored. The cost of the second follows the
real facts, not the longest story.

| symbol | shape | meaning |
|-|-|-|
| E | (words, embedding) | word embeddings, one matrix for facts, another for questions |
| m_i | (units,) | memory of fact i |
| u | (units,) | encoded question |
| q_k, o_k | (units,) | query and output of hop k |
| f_t | units -> units//2 -> units | makes a query from u or from the last hop's output, linear, shared by the hops |
| g | units -> ... | relation of a pair, a multilayer perceptron |

For images (NLVR) the memories are the cells of a grid over a box of the image: BoxEncoder makes them, VisualController
looks at them with a PerceptronAttention for each box and hop, and SentenceEncoder and RelationalReasoning are the same.
"""
import itertools
import numbers
import random

import keras
from keras import ops


def hard_sigmoid(x):
    """clip(0.2 x + 0.5, 0, 1), the gate activation of the paper's framework, Keras 2; that of Keras 3 is x/6 + 0.5."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


def _step_of_gru(projected, hidden, kernels, gate):
    """z, r and h' (rows, units) of a step, each from its part of `projected` and `kernels`, see `gru`."""
    update, reset = (gate(part + ops.matmul(hidden, kernel)) for part, kernel in zip(projected[:2], kernels[:2]))
    return update, reset, ops.tanh(projected[2] + ops.matmul(reset * hidden, kernels[2]))


def gru(projected, recurrent_kernel, state, words, recurrent_activation="hard_sigmoid", masked=False):
    """The last state of a GRU over the words of sentences, with its gradient written by hand.

    With a_t = projected[word_t] + [h U_z, h U_r, (r * h) U_h], a step is [z, r] = gate([a_z, a_r]), h' = tanh(a_h),
    h_t = z * h + (1 - z) * h', where h = h_{t-1}. Backwards, from d = dL/dh_t:

        da_h = d * (1 - z) * (1 - h'^2)              e = da_h U_h^T
        da_z = d * (h - h') * gate'(a_z)             da_r = e * h * gate'(a_r)
        dL/dh_{t-1} = d * z + e * r + da_z U_z^T + da_r U_r^T

    gate' follows from the gate: 0.2 where 0 < gate < 1, and gate (1 - gate) for a sigmoid. A masked word has z = 1, which
    leaves the state as it is and passes d on. The gradients of U_z, U_r, U_h are sums over all sentences and steps of
    h^T da_z, h^T da_r and (r * h)^T da_h: one product each. That of `projected` sums da_t over the places of each word.

    Args:
        projected: (words, 3 units), E W + b.
        recurrent_kernel: (units, 3 units), U_z, U_r, U_h side by side.
        state: (sentences, units), h_0.
        words: integers (sentences, length).
        recurrent_activation: "hard_sigmoid" or "sigmoid".
        masked: bool, whether words 0 leave the state as it is.

    Returns:
        h_length (sentences, units).
    """
    vocabulary, gate = projected.shape[0], hard_sigmoid if recurrent_activation == "hard_sigmoid" else ops.sigmoid

    def slope(gates):
        if recurrent_activation == "hard_sigmoid":
            return ops.where((gates > 0.0) & (gates < 1.0), ops.cast(0.2, gates.dtype), ops.cast(0.0, gates.dtype))
        return gates * (1.0 - gates)

    @ops.custom_gradient
    def last_state(*arguments):
        # z, r and h' are arrays of their own throughout: parts of one array are slow to compute with.
        projected, kernels, state = arguments[:3], arguments[3:6], arguments[6]

        def step(carried, word):
            before = carried[0]
            update, reset, candidate = _step_of_gru([ops.take(part, word, axis=0) for part in projected], before, kernels, gate)
            if masked:
                update = ops.where(ops.expand_dims(word != 0, 1), update, 1.0)
            return (update * before + (1.0 - update) * candidate, update, reset, candidate), (before, update, reset, candidate)

        empty = ops.zeros_like(state)  # on TensorFlow what is kept of a step has the structure of what is carried on
        (last, *_), kept = ops.scan(step, (state, empty, empty, empty), ops.transpose(words))

        def gradient(*arguments, upstream=None):  # the backends hand what comes from behind on as the last, or by name
            of_last = arguments[-1] if upstream is None else upstream
            back = [ops.transpose(kernel) for kernel in kernels]

            def step_back(carried, kept):
                upstream, (before, update, reset, candidate) = carried[0], kept
                into_candidate = upstream * (1.0 - update) * (1.0 - candidate * candidate)
                through = ops.matmul(into_candidate, back[2])
                into_update = upstream * (before - candidate) * slope(update)
                into_reset = through * before * slope(reset)
                upstream = upstream * update + through * reset + ops.matmul(into_update, back[0]) + ops.matmul(into_reset, back[1])
                return (upstream, into_update, into_reset), (into_update, into_reset, into_candidate)

            (of_state, *_), into = ops.scan(step_back, (of_last, empty, empty), kept, reverse=True)
            before, _, reset, _ = (ops.reshape(x, (-1, x.shape[-1])) for x in kept)
            into = [ops.reshape(x, (-1, x.shape[-1])) for x in into]
            word = ops.reshape(ops.transpose(words), (-1,))
            return (*(ops.segment_sum(x, word, vocabulary) for x in into),
                    *(ops.matmul(ops.transpose(read), x) for read, x in zip((before, before, reset * before), into)), of_state)

        return last, gradient

    # Parts, not the variable itself, which the gradient of TensorFlow would ask for by name.
    return last_state(*ops.split(projected, 3, axis=1), *ops.split(ops.convert_to_tensor(recurrent_kernel), 3, axis=1), state)


def positive(**sizes):
    """The sizes as a list of int, whatever kind of whole number they are. Raises ValueError for any other."""
    for name, size in sizes.items():
        if not isinstance(size, numbers.Integral) or isinstance(size, bool) or size < 1:
            raise ValueError(f"{name} is a whole number from 1 up, not {size!r}")
    return [int(size) for size in sizes.values()]


def _integers(numbers):
    """Numbers of words, rows or stories as every backend can index with them, of whatever type they are, as Embedding does."""
    numbers = ops.convert_to_tensor(numbers)
    exact = keras.backend.standardize_dtype(numbers.dtype) in ("int32", "int64")
    return numbers if exact else ops.cast(numbers, "int32")


def _check_same(layer, what, **shapes):
    """Raise ValueError where the leading sizes of some shapes differ, as far as they are known; None is left out."""
    sizes = {name: shape[0] for name, shape in shapes.items() if shape is not None and len(shape)}
    if len({size for size in sizes.values() if isinstance(size, int)}) > 1:
        raise ValueError(f"{layer.name}: {what} have one size, not " + ", ".join(f"{name} {size}" for name, size in sizes.items()))


def _shape(tensor):
    return None if tensor is None else tensor.shape


def _layer_sizes(units):
    """The sizes of the layers of a perceptron as a tuple of int. Raises ValueError where there is none, or one below 1."""
    units = tuple(units)
    positive(layers=len(units))
    return tuple(positive(**{f"units[{i}]": size for i, size in enumerate(units)}))


@keras.saving.register_keras_serializable("wmemnn")
class Glorot(keras.initializers.Initializer):
    """Glorot's initial values as Keras 1 draws them: of variance 2 / (rows + columns), the normal ones not truncated.

    Several kernels may stand side by side in one matrix, as those of the gates of a GRU or of the heads of a hop. Each is then
    drawn as if it were alone: the columns are those of one of them. (Keras 2 and 3 take the whole matrix, and truncate.)

    Args:
        distribution: "normal" or "uniform".
        kernels: int, how many stand side by side.
        seed: int, or None for one of its own.
    """

    def __init__(self, distribution="normal", kernels=1, seed=None):
        if distribution not in ("normal", "uniform"):
            raise ValueError(f"distribution is 'normal' or 'uniform', not {distribution!r}")
        (self.kernels,) = positive(kernels=kernels)
        self.distribution, self._given_seed = distribution, seed
        self.seed = random.randrange(2**31) if seed is None else seed

    def __call__(self, shape, dtype=None):
        deviation = (2.0 / (shape[0] + shape[-1] / self.kernels)) ** 0.5
        if self.distribution == "normal":
            return keras.random.normal(shape, 0.0, deviation, dtype=dtype, seed=self.seed)
        limit = 3.0**0.5 * deviation
        return keras.random.uniform(shape, -limit, limit, dtype=dtype, seed=self.seed)

    def get_config(self):
        return {"distribution": self.distribution, "kernels": self.kernels, "seed": self._given_seed}


def anew(initializer):
    """An initializer like this one that draws other values."""
    return type(initializer).from_config(initializer.get_config())


def _initializer(given, distribution="normal", kernels=1):
    """The initializer that was given, or that of the paper."""
    return Glorot(distribution, kernels) if given is None else keras.initializers.get(given)


@keras.saving.register_keras_serializable("wmemnn")
class SentenceEncoder(keras.layers.Layer):
    """Input module: the last output of a GRU or an LSTM over the embedded words of a sentence.

    With x_t = E[word_t], for t = 1 ... length, the GRU of Keras 2 (Cho et al. 2014, reset before the product) is

        z = hard_sigmoid(x_t W_z + h U_z + b_z)
        r = hard_sigmoid(x_t W_r + h U_r + b_r)
        h' = tanh(x_t W_h + (r * h) U_h + b_h)
        h <- z * h + (1 - z) * h'

    and the LSTM (Hochreiter and Schmidhuber 1997, with forget gate; b_f starts at 1) is

        i, f, o = sigmoid(x_t W_i + h U_i + b_i), sigmoid(x_t W_f + h U_f + b_f), sigmoid(x_t W_o + h U_o + b_o)
        c <- f * c + i * tanh(x_t W_c + h U_c + b_c)
        h <- o * tanh(c)

    Words 0 are padding. What they do is an argument: *masked*, they leave the state as it is, wherever they stand; *read*,
    each is a word like any other, with row 0 of E, so that they belong to the left of a sentence; *zero*, they are read
    as well, but E has no row for them, and x_t = 0. The products E W are computed once for the vocabulary, not once for each
    word read.

    Args:
        vocabulary_size: int, word numbers, 0 included: the rows of E, or one more than them if padding is "zero".
        embedding_dim: int, columns of E.
        units: int, size of h.
        cell: "gru" or "lstm".
        embeddings_initializer, kernel_initializer, recurrent_initializer: Keras initializers of E, of W_z, W_r, W_h side by
            side, and of U_z, U_r, U_h. By default those of the authors: `Glorot`, for each gate.
        padding: "masked", "read" or "zero".
        recurrent_activation: "hard_sigmoid" or "sigmoid", of the gates; by default as in the equations above. (This
            hard_sigmoid is that of Keras 2, see above.)
        padding_in_front: int, how many words 0 are read in front of every sentence, for sentences that come without the
            padding that they all have. Computed once, not for each sentence.

    Call arguments:
        words: integers (..., length), word numbers below `vocabulary_size`; the length is static.

    Returns:
        h (..., units). If padding is "masked", with the mask of those sentences that have a word, (...), where there is at
        least one such axis.

    Raises:
        ValueError: a size below 1; another cell, padding or activation; words without a static length.
    """

    def __init__(self, vocabulary_size, embedding_dim, units, cell="gru", embeddings_initializer=None, kernel_initializer=None,
                 recurrent_initializer=None, padding="masked", recurrent_activation=None, padding_in_front=0, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size, self.embedding_dim, self.units = positive(
            vocabulary_size=vocabulary_size, embedding_dim=embedding_dim, units=units)
        if cell not in ("gru", "lstm"):
            raise ValueError(f"cell is 'gru' or 'lstm', not {cell!r}")
        if padding not in ("masked", "read", "zero"):
            raise ValueError(f"padding is 'masked', 'read' or 'zero', not {padding!r}")
        recurrent_activation = recurrent_activation or ("hard_sigmoid" if cell == "gru" else "sigmoid")
        if recurrent_activation not in ("hard_sigmoid", "sigmoid"):
            raise ValueError(f"recurrent_activation is 'hard_sigmoid' or 'sigmoid', not {recurrent_activation!r}")
        self.cell, self.padding, self.recurrent_activation = cell, padding, recurrent_activation
        self.padding_in_front, _ = padding_in_front, positive(**{"padding_in_front + 1": padding_in_front + 1})
        self.gates = 3 if cell == "gru" else 4
        self.embeddings_initializer = _initializer(embeddings_initializer)
        self.kernel_initializer = _initializer(kernel_initializer, kernels=self.gates)
        self.recurrent_initializer = _initializer(recurrent_initializer, kernels=self.gates)
        self._gate = hard_sigmoid if recurrent_activation == "hard_sigmoid" else ops.sigmoid
        self.supports_masking = True

    def build(self, words_shape):
        if words_shape[-1] is None:
            raise ValueError(f"{self.name}: the words' last axis, the sentence length, is static; shape {words_shape}")
        rows, columns = self.vocabulary_size - (self.padding == "zero"), self.gates * self.units
        self.embeddings = self.add_weight(
            shape=(rows, self.embedding_dim), initializer=self.embeddings_initializer, name="embeddings")
        self.kernel = self.add_weight(
            shape=(self.embedding_dim, columns), initializer=self.kernel_initializer, name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(self.units, columns), initializer=self.recurrent_initializer, name="recurrent_kernel")

        def open_forget_gate(shape, dtype=None):
            return ops.cast(ops.arange(shape[0]) // self.units == 1, dtype)

        self.bias = self.add_weight(
            shape=(columns,), name="bias", initializer="zeros" if self.cell == "gru" else open_forget_gate)

    def call(self, words):
        return self.read(words)[..., :self.units]

    def read(self, words, initial_state=None):
        """The state after some words: h, and for an LSTM c behind it.

        Going on with a sentence's last word from the state of the words before it gives the state of the whole sentence.

        Args:
            words: integers (..., length).
            initial_state: (..., state size), the state to go on from; by default zeros, then `padding_in_front`.
        Returns:
            (..., state size): units of a GRU, twice as many of an LSTM.
        """
        words = _integers(words)
        outer_shape = ops.shape(words)[:-1]
        words = ops.reshape(words, (-1, words.shape[-1]))
        parts, step = (1, self._gru_step) if self.cell == "gru" else (2, self._lstm_step)
        projected = ops.matmul(self.embeddings, self.kernel)
        if self.padding == "zero":
            projected = ops.pad(projected, ((1, 0), (0, 0)))
        projected = projected + self.bias
        if initial_state is not None:
            state = ops.split(ops.reshape(initial_state, (-1, parts * self.units)), parts, axis=1)
        else:
            state = [ops.zeros((1, self.units), self.compute_dtype)] * parts
            if self.padding != "masked":
                for _ in range(self.padding_in_front):
                    state = step(projected[:1], *state)
            state = [ops.repeat(part, ops.shape(words)[0], axis=0) for part in state]
        if self.cell == "gru":
            state = [gru(projected, self.recurrent_kernel, state[0], words, self.recurrent_activation, self.padding == "masked")]
        else:
            for t in range(words.shape[1]):
                word = words[:, t]
                stepped = step(ops.take(projected, word, axis=0), *state)
                if self.padding == "masked":
                    real = ops.expand_dims(word, 1) != 0
                    stepped = [ops.where(real, after, before) for after, before in zip(stepped, state)]
                state = stepped
        return ops.reshape(ops.concatenate(state, axis=1), (*outer_shape, parts * self.units))

    def _gru_step(self, projected_word, hidden):
        kernels = ops.split(ops.convert_to_tensor(self.recurrent_kernel), 3, axis=1)
        update, _, candidate = _step_of_gru(ops.split(projected_word, 3, axis=1), hidden, kernels, self._gate)
        return (update * hidden + (1.0 - update) * candidate,)

    def _lstm_step(self, projected_word, hidden, carry):
        sums = projected_word + ops.matmul(hidden, self.recurrent_kernel)
        enter, forget, candidate, leave = ops.split(sums, 4, axis=1)
        carry = self._gate(forget) * carry + self._gate(enter) * ops.tanh(candidate)
        return self._gate(leave) * ops.tanh(carry), carry

    def compute_mask(self, words, previous_mask=None):
        if len(words.shape) < 2 or self.padding != "masked":
            return None
        return ops.any(ops.not_equal(words, 0), axis=-1)

    def compute_output_shape(self, words_shape):
        return (*words_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "vocabulary_size": self.vocabulary_size,
                "embedding_dim": self.embedding_dim, "units": self.units, "cell": self.cell, "padding": self.padding,
                "recurrent_activation": self.recurrent_activation, "padding_in_front": self.padding_in_front,
                **{name: keras.initializers.serialize(getattr(self, name))
                   for name in ("embeddings_initializer", "kernel_initializer", "recurrent_initializer")}}


def row_in_front(sentences, beginnings):
    """The row of `beginnings` in front of each row of `sentences`, integers (sentences,); both as in `ShortTermStorage`."""
    return ops.minimum(ops.arange(ops.shape(sentences)[0]), ops.shape(beginnings)[0] - 1)


@keras.saving.register_keras_serializable("wmemnn")
class ShortTermStorage(keras.layers.Layer):
    """Short-term storage: memories of facts laid end to end, each distinct sentence encoded once.

        m_i = encoder(w_1, ..., w_L, time_i)

    The last word of a fact is its time word. Facts that share a sentence share the states up to that word, so the
    sentence is read once and the time word is one more step for each fact. Where few sentences are long, and padding stands in
    front, the words that only these have may come apart, as `beginnings`: the others then need no steps for them.

    Args:
        encoder: SentenceEncoder of the facts; its vocabulary holds the time words.

    Call arguments:
        sentences: integers (sentences, length), word numbers, 0 is padding.
        sentence_of_fact: integers (facts,), the row of each fact's sentence.
        time_of_fact: integers (facts,), word number of each fact's time word.
        beginnings: integers (beginnings, length before), what stands in front of the first rows of `sentences`; the last row,
            padding as a rule, in front of all rows that follow, too. By default nothing.

    Returns:
        memories (facts, units).
    """

    def __init__(self, encoder, **kwargs):
        super().__init__(**kwargs)
        self.encoder = encoder

    def build(self, sentences_shape, sentence_of_fact_shape, time_of_fact_shape, beginnings_shape=None):
        _check_same(self, "the facts", sentence_of_fact=sentence_of_fact_shape, time_of_fact=time_of_fact_shape)
        if not self.encoder.built:
            self.encoder.build(sentences_shape)

    def call(self, sentences, sentence_of_fact, time_of_fact, beginnings=None):
        _check_same(self, "the facts", sentence_of_fact=sentence_of_fact.shape, time_of_fact=time_of_fact.shape)
        begun = None
        if beginnings is not None and beginnings.shape[-1]:
            begun = ops.take(self.encoder.read(beginnings), row_in_front(sentences, beginnings), axis=0)
        states = ops.take(self.encoder.read(sentences, begun), _integers(sentence_of_fact), axis=0)
        return self.encoder.read(ops.expand_dims(time_of_fact, 1), states)[..., :self.encoder.units]

    def compute_output_shape(self, sentences_shape, sentence_of_fact_shape, time_of_fact_shape, beginnings_shape=None):
        return (sentence_of_fact_shape[0], self.encoder.units)

    def get_config(self):
        return {**super().get_config(), "encoder": keras.saving.serialize_keras_object(self.encoder)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "encoder": keras.saving.deserialize_keras_object(config["encoder"])})


def with_unused_row(story, batch):
    """The story of each slot, where one more row than stories, `batch`, takes the slots that belong to none."""
    return ops.where((story >= 0) & (story < batch), story, batch)


@keras.saving.register_keras_serializable("wmemnn")
class MultiHeadMemoryAttention(keras.layers.Layer):
    """One hop over the memories, with several heads.

    For head h = 1 ... heads, and the facts i of the story:

        s_i = tanh(m_i W_h) . q / sqrt(units)
        a_i = c_i exp(s_i) / sum over j of c_j exp(s_j)
        o_h = sum over i of a_i m_i
        o = [o_1; ...; o_heads] W_o

    The memories themselves are not projected, and no kernel has a bias. A story without facts gives o = 0. c_i is 1, and a the
    softmax of s, unless `count` says how many equal memories slot i stands for. So the mx - n absent facts that the authors'
    program pads a story of n facts with are one slot that counts mx - n times.

    Args:
        heads: int.
        units: int, size of a memory, of the query and of the output.
        kernel_regularizer: Keras regularizer of all W_h and W_o.
        output_initializer: Keras initializer of W_o, by default the authors': `Glorot`. Each W_h starts by Glorot's uniform
            values.

    Call arguments:
        memories: (facts of all stories, units) with `story`, or (batch, facts, units) with `memories_mask`.
        query: (batch, units).
        story: integers (facts of all stories,), the row of `query` that each memory belongs to; the slots with any
            other number are ignored.
        count: c, integers or floats (facts of all stories,), or (batch, facts); slots with 0 are ignored. By default ones.
        memories_mask: booleans (batch, facts) or (facts of all stories,), which memories are real; by default all. Set by a
            layer that passes masks.

    Returns:
        o (batch, units).

    Raises:
        ValueError: a size below 1; memories (facts, units) without `story`; another last axis than `units`.
    """

    def __init__(self, heads, units, kernel_regularizer=None, output_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.units = positive(heads=heads, units=units)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.output_initializer = _initializer(output_initializer)

    def build(self, memories_shape, query_shape, story_shape=None, count_shape=None):
        for name, shape in (("memories", memories_shape), ("query", query_shape)):
            if shape[-1] != self.units:
                raise ValueError(f"{self.name}: the last axis of {name} is units = {self.units}, not {shape[-1]}")
        self._check_shapes(memories_shape, query_shape, story_shape, count_shape)
        self.head_kernels = self.add_weight(
            shape=(self.units, self.heads * self.units), initializer=Glorot("uniform", self.heads),
            regularizer=self.kernel_regularizer, name="head_kernels")
        self.output_kernel = self.add_weight(
            shape=(self.heads * self.units, self.units), initializer=self.output_initializer,
            regularizer=self.kernel_regularizer, name="output_kernel")

    def _check_shapes(self, memories, query, story, count=None, mask=None):
        if len(memories) == 2 and story is None:
            raise ValueError(f"{self.name}: memories of shape (facts, units) need story, the row each belongs to")
        if len(memories) == 2:
            _check_same(self, "the facts", memories=memories, story=story, count=count, memories_mask=mask)
            return
        if story is not None:
            raise ValueError(f"{self.name}: memories of shape (batch, facts, units) have no story; leave it out, or lay them end "
                             "to end")
        _check_same(self, "the stories of the batch", memories=memories, query=query, count=count, memories_mask=mask)
        _check_same(self, "the facts of a story", memories=memories[1:], **{
            name: shape[1:] for name, shape in (("count", count), ("memories_mask", mask)) if shape is not None})

    def call(self, memories, query, story=None, count=None, memories_mask=None):
        return self.attend(memories, query, story, count, memories_mask)[0]

    def attend(self, memories, query, story=None, count=None, memories_mask=None):
        """The output o (batch, units), and the weights a, (facts of all stories, heads) or (batch * facts, heads).

        Args:
            As the call arguments. The weights of slots that belong to no story mean nothing.
        """
        self._check_shapes(*map(_shape, (memories, query, story, count, memories_mask)))
        batch = ops.shape(query)[0]
        if len(memories.shape) == 3:
            memories, story = lay_end_to_end(memories, memories_mask)
        else:
            story = _integers(story)
            if memories_mask is not None:
                story = ops.where(memories_mask, story, -1)
        if count is not None:
            count = ops.cast(ops.reshape(count, (-1,)), self.compute_dtype)
            story = ops.where(count > 0, story, -1)
        story = with_unused_row(story, batch)  # the row is cut off at the end
        query = ops.pad(query, ((0, 1), (0, 0)))
        keys = ops.tanh(ops.matmul(memories, self.head_kernels))
        # The sum over the units of each head as a product with zeros and ones: compilers do sums along the last axis slowly.
        of_head = ops.repeat(ops.eye(self.heads, dtype=keys.dtype), self.units, axis=0)
        scores = ops.matmul(keys * ops.tile(ops.take(query, story, axis=0), (1, self.heads)), of_head) / self.units**0.5
        # The softmax does not depend on what is subtracted from the scores, so no gradient flows through it.
        highest = ops.stop_gradient(ops.segment_max(ops.stop_gradient(scores), story, batch + 1))
        weights = ops.exp(scores - ops.take(highest, story, axis=0))
        if count is not None:
            weights = ops.expand_dims(count, 1) * weights
        total = ops.segment_sum(weights, story, batch + 1)
        weights = weights / ops.take(ops.where(total > 0, total, 1.0), story, axis=0)
        attended = ops.segment_sum(ops.expand_dims(weights, 2) * ops.expand_dims(memories, 1), story, batch + 1)
        return ops.matmul(ops.reshape(attended, (-1, self.heads * self.units)), self.output_kernel)[:-1], weights

    def compute_mask(self, memories, previous_mask=None):
        return None

    def compute_output_shape(self, memories_shape, query_shape, story_shape=None, count_shape=None):
        return query_shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "units": self.units,
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
                "output_initializer": keras.initializers.serialize(self.output_initializer)}


def lay_end_to_end(memories, mask=None):
    """Turn padded memories into memories laid end to end.

    Args:
        memories: (batch, facts, units).
        mask: booleans (batch, facts), which are real; by default all.
    Returns:
        memories (batch * facts, units) and story (batch * facts,), -1 where masked.
    """
    batch, facts = ops.shape(memories)[:2]
    story = ops.broadcast_to(ops.expand_dims(ops.arange(batch, dtype="int32"), 1), (batch, facts))
    if mask is not None:
        story = ops.where(mask, story, -1)
    return ops.reshape(memories, (-1, memories.shape[-1])), ops.reshape(story, (-1,))


@keras.saving.register_keras_serializable("wmemnn")
class AttentionalController(keras.layers.Layer):
    """Attentional controller: hops of multi-head attention; its outputs are the working memory buffer.

        q_1 = f_t(u),  o_k = attention_k(memories, q_k),  q_{k+1} = f_t(o_k)

    f_t(x) = (x W_1 + b_1) W_2 + b_2 with units//2 features between, linear, shared by all hops. Each hop has its own
    MultiHeadMemoryAttention.

    Args:
        hops, heads, units: int.
        kernel_regularizer: Keras regularizer of all kernels.
        kernel_initializer: Keras initializer of W_1, W_2 and the W_o of the hops, by default the authors': `Glorot`.

    Call arguments:
        memories, story, count, memories_mask: as in MultiHeadMemoryAttention.
        question: u, (batch, units).

    Returns:
        working memory buffer (batch, hops, units).

    Raises:
        ValueError: a size below 1, or what MultiHeadMemoryAttention raises.
    """

    def __init__(self, hops, heads, units, kernel_regularizer=None, kernel_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.hops, self.heads, self.units = positive(hops=hops, heads=heads, units=units)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_initializer = _initializer(kernel_initializer)
        self.transition = [
            keras.layers.Dense(size, kernel_initializer=anew(self.kernel_initializer), kernel_regularizer=self.kernel_regularizer,
                               dtype=self.dtype_policy, name=f"transition_{i}")
            for i, size in enumerate((max(1, self.units // 2), self.units), start=1)]
        self.attention = [
            MultiHeadMemoryAttention(heads, units, self.kernel_regularizer, anew(self.kernel_initializer),
                                     dtype=self.dtype_policy, name=f"hop_{k + 1}")
            for k in range(self.hops)]

    def build(self, memories_shape, question_shape, story_shape=None, count_shape=None):
        self.transition[0].build((None, self.units))
        self.transition[1].build((None, max(1, self.units // 2)))
        for attention in self.attention:
            attention.build(memories_shape, question_shape, story_shape, count_shape)

    def call(self, memories, question, story=None, count=None, memories_mask=None):
        return self.attend(memories, question, story, count, memories_mask)[0]

    def attend(self, memories, question, story=None, count=None, memories_mask=None):
        """The working memory buffer, and the weights of all hops, as of `MultiHeadMemoryAttention.attend`.

        Args:
            As the call arguments.
        Returns:
            buffer (batch, hops, units), weights (facts of all stories, hops, heads).
        """
        output, buffer, weights = question, [], []
        for number in range(self.hops):
            output, of_hop = self.hop(number, output, memories, story, count, memories_mask)
            buffer.append(output)
            weights.append(of_hop)
        return ops.stack(buffer, axis=1), ops.stack(weights, axis=1)

    def hop(self, number, source, memories, story=None, count=None, memories_mask=None):
        """One hop: its output o (batch, units) and its weights (facts of all stories, heads).

        Args:
            number: int, counts the hops from 0.
            source: (batch, units), what its query is made from: u for the first hop, else the output of the hop before.
            memories, story, count, memories_mask: as the call arguments.
        """
        query = self.transition[1](self.transition[0](source))
        return self.attention[number].attend(memories, query, story, count, memories_mask)

    def compute_mask(self, memories, previous_mask=None):
        return None

    def compute_output_shape(self, memories_shape, question_shape, story_shape=None, count_shape=None):
        return (question_shape[0], self.hops, self.units)

    def get_config(self):
        return {**super().get_config(), "hops": self.hops, "heads": self.heads, "units": self.units,
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}


@keras.saving.register_keras_serializable("wmemnn")
class RelationalReasoning(keras.layers.Layer):
    """Reasoning module: the sum of g over all ordered pairs of objects, each pair with a condition.

        r = sum over i, j of c_i c_j g([o_i; o_j; u]),   g(x) = relu(... relu(x W_1 + b_1) ... W_L + b_L)

    A Relation Network (Santoro et al. 2017, arXiv 1706.01427): on the working memory buffer in a W-MemNN, on the facts
    themselves in the network of that paper. W_1 is split into a part for o_i, one for o_j and one for u: the first layer
    costs one product for each object and an addition for each pair. c_i is 1 unless `count` says how many equal objects slot i
    stands for.

    Args:
        units: sequence of int, the layers of g.
        kernel_regularizer: Keras regularizer of all kernels.
        kernel_initializer: Keras initializer of all kernels, by default the authors': `Glorot`.

    Call arguments:
        objects: (batch, objects, features); or (objects of all stories, features) with `story`, `first` and `second`.
        condition: u, (batch, condition features).
        story: integers (objects of all stories,), the row of `condition` that each object belongs to.
        first, second: integers (pairs of all stories,), the objects i and j of each pair, both of the same story, such
            as `data_utils.pairs_of_facts` gives them; slots with `first` below 0 are ignored.
        count: c, integers or floats (objects of all stories,), or (batch, objects). By default ones.
        objects_mask: booleans (batch, objects) or (objects of all stories,), which objects are real; by default all. A pair
            counts when both are.

    Returns:
        r (batch, units[-1]).

    Raises:
        ValueError: no layer, or a size below 1; objects (objects of all stories, features) without their pairs.
    """

    def __init__(self, units=(128, 128, 128), kernel_regularizer=None, kernel_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.units = _layer_sizes(units)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.kernel_initializer = _initializer(kernel_initializer)
        self.deeper = [
            keras.layers.Dense(size, activation="relu", kernel_initializer=anew(self.kernel_initializer),
                               kernel_regularizer=self.kernel_regularizer, dtype=self.dtype_policy, name=f"g_{i}")
            for i, size in enumerate(self.units[1:], start=2)]

    def build(self, objects_shape, condition_shape, story_shape=None, first_shape=None, second_shape=None, count_shape=None):
        self._check_shapes(objects_shape, condition_shape, story_shape, first_shape, second_shape, count_shape)
        self.kernel = self.add_weight(
            shape=(2 * objects_shape[-1] + condition_shape[-1], self.units[0]), initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer, name="g_1_kernel")
        self.bias = self.add_weight(shape=(self.units[0],), initializer="zeros", name="g_1_bias")
        for dense, features in zip(self.deeper, self.units):
            dense.build((None, features))

    def _check_shapes(self, objects, condition, story, first, second, count=None, mask=None):
        if len(objects) == 2:
            if any(part is None for part in (story, first, second)):
                raise ValueError(f"{self.name}: objects of shape (objects, features) need story, first and second")
            _check_same(self, "the objects", objects=objects, story=story, count=count, objects_mask=mask)
            _check_same(self, "the pairs", first=first, second=second)
            return
        if any(part is not None for part in (story, first, second)):
            raise ValueError(f"{self.name}: objects of shape (batch, objects, features) have all pairs; leave story, first and "
                             "second out, or lay the objects end to end")
        _check_same(self, "the stories of the batch", objects=objects, condition=condition, count=count, objects_mask=mask)
        _check_same(self, "the objects of a story", objects=objects[1:], **{
            name: shape[1:] for name, shape in (("count", count), ("objects_mask", mask)) if shape is not None})

    def call(self, objects, condition, story=None, first=None, second=None, count=None, objects_mask=None):
        self._check_shapes(*map(_shape, (objects, condition, story, first, second, count, objects_mask)))
        features = objects.shape[-1]
        as_first = ops.matmul(objects, self.kernel[:features])
        as_second = ops.matmul(objects, self.kernel[features:2 * features])
        shared = ops.matmul(condition, self.kernel[2 * features:]) + self.bias
        if len(objects.shape) == 2:
            return ops.cast(self._sum_over_listed_pairs(
                as_first, as_second, shared, *map(_integers, (story, first, second)), count, objects_mask), self.compute_dtype)
        pairs = ops.expand_dims(as_first + ops.expand_dims(shared, 1), 2) + ops.expand_dims(as_second, 1)
        number = ops.shape(objects)[1] ** 2
        related = ops.reshape(self._deeper(ops.reshape(pairs, (-1, self.units[0]))), (-1, number, self.units[-1]))
        if objects_mask is not None:
            real = ops.expand_dims(objects_mask, 2) & ops.expand_dims(objects_mask, 1)
            related = ops.where(ops.reshape(real, (-1, number, 1)), related, 0.0)
        if count is not None:
            count = ops.cast(count, related.dtype)
            related = ops.reshape(ops.expand_dims(count, 2) * ops.expand_dims(count, 1), (-1, number, 1)) * related
        return ops.cast(ops.sum(related, axis=1), self.compute_dtype)

    def _sum_over_listed_pairs(self, as_first, as_second, shared, story, first, second, count, objects_mask):
        batch = ops.shape(shared)[0]
        # Objects of no story read any row of the condition; no pair names them.
        as_first = as_first + ops.take(shared, ops.clip(story, 0, batch - 1), axis=0)
        real, first, second = first >= 0, ops.maximum(first, 0), ops.maximum(second, 0)
        related = self._deeper(ops.take(as_first, first, axis=0) + ops.take(as_second, second, axis=0))
        if count is not None:
            count = ops.cast(count, related.dtype)
            related = ops.expand_dims(ops.take(count, first) * ops.take(count, second), 1) * related
        if objects_mask is not None:
            real = real & ops.take(objects_mask, first) & ops.take(objects_mask, second)
        # One more row than stories takes the slots without a pair; it is cut off at the end.
        story_of_pair = ops.where(real, ops.take(story, first), batch)
        return ops.segment_sum(related, story_of_pair, batch + 1)[:-1]

    def _deeper(self, pairs):
        pairs = ops.relu(pairs)
        for dense in self.deeper:
            pairs = dense(pairs)
        return ops.cast(pairs, self.variable_dtype)  # of many pairs, whose sum needs the precision of the weights

    def compute_mask(self, objects, previous_mask=None):
        return None

    def compute_output_shape(self, objects_shape, condition_shape, story_shape=None, first_shape=None,
                             second_shape=None, count_shape=None):
        return (condition_shape[0], self.units[-1])

    def get_config(self):
        return {**super().get_config(), "units": self.units,
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer)}


@keras.saving.register_keras_serializable("wmemnn")
class BoxEncoder(keras.layers.Layer):
    """Input module for images: a convolutional network makes a grid of memories of each box.

        x = (pixels - mean) / deviation
        x = max-pool_{3, stride 3} relu(conv_{3x3, filters} x)
        x = max-pool_{3, stride 2} relu(conv_{3x3, filters - 2} x)
        m_rc = [x_rc; r / rows; c / columns]

    The convolutions keep the size ("same"), the pools leave out what does not fill a window, and r and c count from 0. A
    box of 50 x 50 pixels has 7 x 7 memories.

    Args:
        filters: int, above 2, size of a memory.
        mean, deviation: sequences of float, of each channel of the training images.
        kernel_initializer: Keras initializer of the convolutions, by default the authors': normal values of variance
            2 / (rows of the kernel), not truncated.
        convolutions: int, 2 or more. Two in the paper; those from the third on are as the second, without a pool.

    Call arguments:
        boxes: pixels (boxes, height, width, channels), integers or floats; the last three sizes are static.

    Returns:
        memories (boxes, rows * columns, filters), row by row.

    Raises:
        ValueError: filters below 3; convolutions below 2; not as many channels as means and deviations; boxes that are too small for a cell, or
            without static sizes.
    """

    def __init__(self, filters, mean, deviation, kernel_initializer=None, convolutions=2, **kwargs):
        super().__init__(**kwargs)
        self.kernel_initializer = keras.initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal") \
            if kernel_initializer is None else keras.initializers.get(kernel_initializer)
        self.filters, narrower, *_ = positive(
            filters=filters, **{"filters - 2": filters - 2, "convolutions - 1": convolutions - 1})
        self.mean, self.deviation = [float(x) for x in mean], [float(x) for x in deviation]
        self.convolutions = [
            keras.layers.Conv2D(number, 3, padding="same", activation="relu", kernel_initializer=anew(self.kernel_initializer),
                                dtype=self.dtype_policy, name=f"convolution_{i}")
            for i, number in enumerate((self.filters, *[narrower] * (convolutions - 1)), start=1)]
        self.pools = [keras.layers.MaxPooling2D(3, strides, dtype=self.dtype_policy) for strides in (3, 2)]

    def build(self, boxes_shape):
        if not boxes_shape[-1] == len(self.mean) == len(self.deviation):
            raise ValueError(f"{self.name}: boxes of shape {boxes_shape} need {boxes_shape[-1]} means and deviations, "
                             f"not {len(self.mean)} and {len(self.deviation)}")
        if None in boxes_shape[1:3] or min(boxes_shape[1:3]) < 9:
            raise ValueError(f"{self.name}: boxes have at least 9 x 9 pixels, and static sizes; shape {boxes_shape}")
        channels = boxes_shape[-1]
        for convolution in self.convolutions:
            convolution.build((None, None, None, channels))
            channels = convolution.filters

    def call(self, boxes):
        mean, deviation = (ops.array(of_channels, self.compute_dtype) for of_channels in (self.mean, self.deviation))
        x = (ops.cast(boxes, self.compute_dtype) - mean) / deviation
        for convolution, pool in itertools.zip_longest(self.convolutions, self.pools):
            x = convolution(x)
            x = pool(x) if pool else x
        rows, columns = x.shape[1:3]
        row, column = ops.meshgrid(ops.arange(rows) / rows, ops.arange(columns) / columns, indexing="ij")
        place = ops.cast(ops.expand_dims(ops.stack([row, column], axis=-1), 0), x.dtype)
        place = ops.broadcast_to(place, (ops.shape(x)[0], rows, columns, 2))
        return ops.reshape(ops.concatenate([x, place], axis=-1), (-1, rows * columns, self.filters))

    def compute_output_shape(self, boxes_shape):
        rows, columns = ((size // 3 - 3) // 2 + 1 for size in boxes_shape[1:3])
        return (boxes_shape[0], rows * columns, self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "mean": self.mean, "deviation": self.deviation,
                "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
                "convolutions": len(self.convolutions)}


@keras.saving.register_keras_serializable("wmemnn")
class PerceptronAttention(keras.layers.Layer):
    """One look at a grid of memories: attention whose scores a multilayer perceptron gives.

        s_i = tanh(w . h_L + b),  h_1 = relu(m_i W_m + q W_q + b_1),  h_l = relu(h_{l-1} W_l + b_l)
        o = sum over i of softmax(s)_i m_i

    m_i W_m + q W_q is the first layer on [m_i; q], with one product for each memory and one for each query. Several heads
    share the hidden layers; each has its own w and b, and o = [o_1; ...; o_heads].

    Args:
        units: sequence of int, the hidden layers.
        kernel_regularizer: Keras regularizer of all kernels.
        heads: int. One in the paper.
        scores: Keras activation of the scores, tanh in the paper, which bounds them to -1 ... 1: no weight is then more
            than e^2 times another.

    Call arguments:
        memories: (looks, memories, features).
        query: q, (looks, query features).

    Returns:
        o (looks, heads * features).

    Raises:
        ValueError: no layer, or a size below 1.
    """

    def __init__(self, units=(256, 128), kernel_regularizer=None, heads=1, scores="tanh", **kwargs):
        super().__init__(**kwargs)
        self.units, (self.heads,) = _layer_sizes(units), positive(heads=heads)
        self.scores = keras.activations.get(scores)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.deeper = [
            keras.layers.Dense(size, activation=activation, kernel_regularizer=self.kernel_regularizer,
                               dtype=self.dtype_policy, name=f"layer_{i}")
            for i, (size, activation) in enumerate(
                [*((size, "relu") for size in self.units[1:]), (self.heads, self.scores)], start=2)]

    def build(self, memories_shape, query_shape):
        self.kernel = self.add_weight(
            shape=(memories_shape[-1] + query_shape[-1], self.units[0]), initializer="glorot_uniform",
            regularizer=self.kernel_regularizer, name="layer_1_kernel")
        self.bias = self.add_weight(shape=(self.units[0],), initializer="zeros", name="layer_1_bias")
        for dense, features in zip(self.deeper, self.units):
            dense.build((None, features))

    def call(self, memories, query):
        return self.attend(memories, query)[0]

    def attend(self, memories, query):
        """The output o (looks, heads * features), and the weights softmax(s), (looks, heads, memories).

        Args:
            As the call arguments.
        """
        _check_same(self, "the looks", memories=memories.shape, query=query.shape)
        number, features = memories.shape[1:]
        of_query = ops.matmul(query, self.kernel[features:]) + self.bias
        hidden = ops.relu(ops.matmul(memories, self.kernel[:features]) + ops.expand_dims(of_query, 1))
        hidden = ops.reshape(hidden, (-1, self.units[0]))
        for dense in self.deeper:
            hidden = dense(hidden)
        weights = ops.softmax(ops.transpose(ops.reshape(hidden, (-1, number, self.heads)), (0, 2, 1)))
        return ops.reshape(ops.matmul(weights, memories), (-1, self.heads * features)), weights

    def compute_output_shape(self, memories_shape, query_shape):
        return (memories_shape[0], self.heads * memories_shape[-1])

    def get_config(self):
        return {**super().get_config(), "units": self.units, "heads": self.heads,
                "scores": keras.activations.serialize(self.scores),
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer)}


@keras.saving.register_keras_serializable("wmemnn")
class VisualController(keras.layers.Layer):
    """Attentional controller for images of several boxes: in each hop a look at each box.

        o_1p = attention_1p(memories of the box at place p, u)
        o_kp = attention_kp(memories of the box at place p, f_t(o_{k-1,p})),   f_t(x) = relu(x W + b)

    Each hop and place has a PerceptronAttention of its own; f_t is shared by all. What is seen depends on the box, its place
    and the sentence, not on the other boxes, so images that share a box at a place and the sentence share the look. A look
    is a pair of a box and a sentence. Each place has its own list of them; places that share their attention share one list.

    Args:
        hops, places: int.
        units: sequence of int, the hidden layers of the attention.
        shared: bool, whether the places of a hop share one PerceptronAttention. Not in the paper.
        kernel_regularizer: Keras regularizer of all kernels.
        heads, scores: of each PerceptronAttention.
        transition_initializer: Keras initializer of W, by default the authors': `Glorot`.

    Call arguments:
        memories: (boxes, memories, features).
        sentences: u, (sentences, query features).
        box_of_look, sentence_of_look: integers (looks, places), or (looks, 1) if `shared`, rows of `memories` and
            `sentences`; looks that no image has may hold any.
        look_of_image: integers (images, places), the row of the look at each of an image's boxes.

    Returns:
        working memory buffer (images, hops * places, heads * features), the places of the first hop first.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(self, hops=2, places=3, units=(256, 128), shared=False, kernel_regularizer=None, heads=1, scores="tanh",
                 transition_initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.transition_initializer = _initializer(transition_initializer)
        self.hops, self.places, self.heads = positive(hops=hops, places=places, heads=heads)
        self.units, self.shared = _layer_sizes(units), shared
        self.scores = keras.activations.get(scores)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        # A flat list, hop by hop: Keras saves no weights of layers in nested lists.
        self.attention = [
            PerceptronAttention(units, self.kernel_regularizer, heads, self.scores, dtype=self.dtype_policy,
                                name=f"hop_{k + 1}_place_{p + 1}")
            for k in range(self.hops) for p in range(1 if shared else self.places)]

    def build(self, memories_shape, sentences_shape, box_of_look_shape, sentence_of_look_shape, look_of_image_shape):
        self._check_shapes(box_of_look_shape, sentence_of_look_shape, look_of_image_shape)
        self.transition = keras.layers.Dense(sentences_shape[-1], activation="relu", dtype=self.dtype_policy,
                                             kernel_initializer=self.transition_initializer,
                                             kernel_regularizer=self.kernel_regularizer, name="transition")
        self.transition.build((None, self.heads * memories_shape[-1]))
        for attention in self.attention:
            attention.build(memories_shape, sentences_shape)

    def _check_shapes(self, box_of_look, sentence_of_look, look_of_image):
        lists = 1 if self.shared else self.places
        for name, shape, columns in (("box_of_look", box_of_look, lists), ("sentence_of_look", sentence_of_look, lists),
                                     ("look_of_image", look_of_image, self.places)):
            if shape[-1] != columns:
                raise ValueError(f"{self.name}: the last axis of {name} is {columns}, not {shape[-1]}")
        _check_same(self, "the looks", box_of_look=box_of_look, sentence_of_look=sentence_of_look)

    def call(self, memories, sentences, box_of_look, sentence_of_look, look_of_image):
        return self.attend(memories, sentences, box_of_look, sentence_of_look, look_of_image)[0]

    def attend(self, memories, sentences, box_of_look, sentence_of_look, look_of_image):
        """The working memory buffer, and the weights of all looks of each image.

        Args:
            As the call arguments.
        Returns:
            buffer (images, hops * places, heads * features), weights (images, hops * places, heads, memories).
        """
        self._check_shapes(box_of_look.shape, sentence_of_look.shape, look_of_image.shape)
        box_of_look, sentence_of_look, look_of_image = map(_integers, (box_of_look, sentence_of_look, look_of_image))
        buffer, weights = ([[] for _ in range(self.hops)] for _ in range(2))
        places = range(self.places)
        for number, of_list in enumerate([places] if self.shared else [[place] for place in places]):
            box = ops.take(memories, box_of_look[:, number], axis=0)
            query = ops.take(sentences, sentence_of_look[:, number], axis=0)
            for k in range(self.hops):
                if k:
                    query = self.transition(output)
                output, of_look = self.attention[k if self.shared else k * self.places + number].attend(box, query)
                for place in of_list:
                    buffer[k].append(ops.take(output, look_of_image[:, place], axis=0))
                    weights[k].append(ops.take(of_look, look_of_image[:, place], axis=0))
        return tuple(ops.stack([of_place for hop in hops for of_place in hop], axis=1) for hops in (buffer, weights))

    def compute_output_shape(self, memories_shape, sentences_shape, box_of_look_shape, sentence_of_look_shape,
                             look_of_image_shape):
        return (look_of_image_shape[0], self.hops * self.places, self.heads * memories_shape[-1])

    def get_config(self):
        return {**super().get_config(), "hops": self.hops, "places": self.places, "units": self.units,
                "shared": self.shared, "heads": self.heads, "scores": keras.activations.serialize(self.scores),
                "transition_initializer": keras.initializers.serialize(self.transition_initializer),
                "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer)}
