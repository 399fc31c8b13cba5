"""W-MemNN and RN for bAbI in the structure of the 2018 scripts, as the yardstick for speed and a second opinion on the function.

Every story is padded to mx facts and every fact to the longest sentence, nothing is masked, each head is a layer of its
own, and g is called once for each pair. These are the functions of the scripts' `build_model` where padding is read.
"""
import keras
import numpy as np
from keras import ops

import layers


def build_transcription(args, babi):
    """The padded network: inputs facts (batch, mx, longest sentence + 1) with time words last, and question words.

    Args:
        args: parsed arguments of WMemNN_bAbI.
        babi: data_utils.Babi.
    """
    l2 = keras.regularizers.L2(args.l2)
    units = args.lz

    def dense(size, activation=None, use_bias=True, initializer="glorot_normal", regularizer=l2):
        return keras.layers.Dense(size, activation=activation, use_bias=use_bias, kernel_initializer=initializer,
                                  kernel_regularizer=regularizer)

    def gru():
        return keras.layers.GRU(units, recurrent_activation=layers.hard_sigmoid, reset_after=False,
                                kernel_initializer="glorot_normal")

    inputs, memories, u = _encode(babi, args.mx, args.ez, gru)

    narrow, wide = dense(max(1, units // 2)), dense(units)
    output, buffer = u, []
    for _ in range(args.hops):
        query = wide(narrow(output))
        heads = []
        for _ in range(args.heads):
            keys = dense(units, "tanh", use_bias=False, initializer="glorot_uniform")(memories)
            scores = keras.layers.Dot(axes=(2, 1))([keys, query]) / units**0.5
            weights = keras.layers.Softmax()(scores)
            heads.append(keras.layers.Dot(axes=(1, 1))([weights, memories]))
        joined = keras.layers.Concatenate()(heads) if args.heads > 1 else heads[0]
        output = dense(units, use_bias=False)(joined)
        buffer.append(output)

    r = _sum_over_pairs(buffer, u, [dense(args.relation_units, "relu") for _ in range(3)])
    return keras.Model(inputs, dense(len(babi.answers), use_bias=False)(r), name="transcription")


def build_relation_transcription(args, babi):
    """The padded Relation Network, with inputs as those of `build_transcription`.

    Args:
        args: parsed arguments of RN_bAbI.
        babi: data_utils.Babi.
    """
    def dense(size, activation="relu"):
        return keras.layers.Dense(size, activation=activation, kernel_initializer="glorot_normal")

    def lstm():
        return keras.layers.LSTM(args.lstm_units, kernel_initializer="glorot_normal")

    inputs, objects, question = _encode(babi, args.mx, args.embedding_units, lstm)
    x = _sum_over_pairs([objects[:, i] for i in range(args.mx)], question, [dense(size) for size in args.g_units])
    for size in args.f_units:
        x = dense(size)(x)
    return keras.Model(inputs, dense(len(babi.answers), None)(keras.layers.Dropout(args.dropout)(x)), name="transcription")


def _encode(babi, mx, embedding_dim, recurrent):
    facts = keras.Input((mx, babi.sentences.shape[1] + 1), dtype="int32", name="facts")
    question = keras.Input((babi.questions.shape[1],), dtype="int32", name="question")
    memories = keras.layers.TimeDistributed(recurrent(), name="fact_encoder")(
        keras.layers.Embedding(babi.word_rows(), embedding_dim, name="fact_embedding")(facts))
    u = recurrent()(keras.layers.Embedding(babi.word_rows(), embedding_dim, name="question_embedding")(question))
    return [facts, question], memories, u


def _sum_over_pairs(objects, condition, g):
    relations = []
    for first in objects:
        for second in objects:
            pair = keras.layers.Concatenate()([first, second, condition])
            for layer in g:
                pair = layer(pair)
            relations.append(pair)
    return keras.layers.Add()(relations) if len(relations) > 1 else relations[0]


def padded_inputs(babi, stories):
    """The transcription's inputs: facts (questions, mx, longest sentence + 1), the newest first, and question words.

    Words stand on the right of what pads them, in a `babi` whose padding is read.
    """
    time_words = len(babi.words) + 1 + np.arange(stories.facts.shape[1], dtype=np.int32)
    times = np.where(stories.facts > 0, time_words, 0)
    return np.concatenate([babi.sentences[stories.facts], times[:, :, None]], axis=2), babi.questions[stories.question]


def copy_weights(model, transcription):
    """Give a transcription the weights of the `build_model` of its script, for the same arguments."""
    def take(layer):
        return {weight.path.split("/")[-1]: ops.convert_to_numpy(weight) for weight in layer.weights}

    def copy_encoder(encoder, embedding, recurrent):
        weights = take(encoder)
        transcription.get_layer(embedding).set_weights([weights["embeddings"]])
        recurrent.set_weights([weights["kernel"], weights["recurrent_kernel"], weights["bias"]])

    def copy_g(reasoning):
        next(dense).set_weights([ops.convert_to_numpy(reasoning.kernel), ops.convert_to_numpy(reasoning.bias)])
        for layer in reasoning.deeper:
            next(dense).set_weights(layer.get_weights())

    # Functional models list their layers by depth, so the Dense layers are told apart by the order they were made in.
    dense = iter(sorted((layer for layer in transcription.layers if isinstance(layer, keras.layers.Dense)),
                        key=lambda layer: int((layer.name.split("_") + ["0"])[1])))
    (recurrent,) = (layer for layer in transcription.layers if isinstance(layer, (keras.layers.GRU, keras.layers.LSTM)))
    copy_encoder(model.get_layer("question_encoder"), "question_embedding", recurrent)
    storage, *_ = (layer for layer in model.layers if isinstance(layer, layers.ShortTermStorage))
    copy_encoder(storage.encoder, "fact_embedding", transcription.get_layer("fact_encoder"))
    for layer in model.layers:
        if isinstance(layer, layers.AttentionalController):
            for transition in layer.transition:
                next(dense).set_weights(transition.get_weights())
            for attention in layer.attention:
                for kernel in np.split(ops.convert_to_numpy(attention.head_kernels), attention.heads, axis=1):
                    next(dense).set_weights([kernel])
                next(dense).set_weights([ops.convert_to_numpy(attention.output_kernel)])
    copy_g(next(layer for layer in model.layers if isinstance(layer, layers.RelationalReasoning)))
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            next(dense).set_weights(layer.get_weights())
