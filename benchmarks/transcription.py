"""W-MemNN for bAbI in the structure of the 2018 script, as the yardstick for speed and as a second opinion on the function.

Every story is padded to mx facts and every fact to the longest sentence, nothing is masked, each head is a layer of its
own, and g is called once for each pair. On stories without padding it is the function of `WMemNN_bAbI.build_model`.
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

    words = len(babi.words) + 1
    facts = keras.Input((args.mx, babi.sentences.shape[1] + 1), dtype="int32", name="facts")
    question = keras.Input((babi.questions.shape[1],), dtype="int32", name="question")
    memories = keras.layers.TimeDistributed(gru(), name="fact_gru")(
        keras.layers.Embedding(words + args.mx, args.ez, name="fact_embedding")(facts))
    u = gru()(keras.layers.Embedding(words, args.ez, name="question_embedding")(question))

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

    g = [dense(args.relation_units, "relu") for _ in range(3)]
    relations = []
    for first in buffer:
        for second in buffer:
            pair = keras.layers.Concatenate()([first, second, u])
            for layer in g:
                pair = layer(pair)
            relations.append(pair)
    r = keras.layers.Add()(relations) if len(relations) > 1 else relations[0]
    return keras.Model([facts, question], dense(len(babi.answers), use_bias=False)(r), name="transcription")


def padded_inputs(babi, stories):
    """The transcription's inputs: facts (questions, mx, longest sentence + 1), the newest first, and question words."""
    time_words = len(babi.words) + 1 + np.arange(stories.facts.shape[1], dtype=np.int32)
    times = np.where(stories.facts > 0, time_words, 0)
    return np.concatenate([babi.sentences[stories.facts], times[:, :, None]], axis=2), babi.questions[stories.question]


def copy_weights(model, transcription):
    """Give a transcription the weights of a `WMemNN_bAbI.build_model` of the same arguments."""
    def take(layer):
        return {weight.path.split("/")[-1]: ops.convert_to_numpy(weight) for weight in layer.weights}

    def gru_weights(encoder):
        weights = take(encoder)
        return weights["embeddings"], [weights["kernel"], weights["recurrent_kernel"], weights["bias"]]

    controller, reasoning = model.get_layer("attentional_controller"), model.get_layer("reasoning_module")
    fact_embedding, fact_gru = gru_weights(model.get_layer("short_term_storage").encoder)
    question_embedding, question_gru = gru_weights(model.get_layer("question_encoder"))
    by_kind = {kind: [layer for layer in transcription.layers if isinstance(layer, kind)]
               for kind in (keras.layers.Dense, keras.layers.GRU)}
    transcription.get_layer("fact_embedding").set_weights([fact_embedding])
    transcription.get_layer("question_embedding").set_weights([question_embedding])
    transcription.get_layer("fact_gru").set_weights(fact_gru)
    by_kind[keras.layers.GRU][0].set_weights(question_gru)

    # Functional models list their layers by depth, so the Dense layers are told apart by the order they were made in.
    dense = iter(sorted(by_kind[keras.layers.Dense], key=lambda layer: int((layer.name.split("_") + ["0"])[1])))
    for transition in controller.transition:
        next(dense).set_weights(transition.get_weights())
    for attention in controller.attention:
        for kernel in np.split(ops.convert_to_numpy(attention.head_kernels), attention.heads, axis=1):
            next(dense).set_weights([kernel])
        next(dense).set_weights([ops.convert_to_numpy(attention.output_kernel)])
    next(dense).set_weights([ops.convert_to_numpy(reasoning.kernel), ops.convert_to_numpy(reasoning.bias)])
    for layer in reasoning.deeper:
        next(dense).set_weights(layer.get_weights())
    next(dense).set_weights(model.get_layer("answer").get_weights())
