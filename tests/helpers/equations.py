"""The equations of the layers in plain numpy, one story, fact or image at a time, for the tests to compare with."""
import numpy as np


def hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0.0, 1.0)


def gru(words, embeddings, kernel, recurrent_kernel, bias, gate=hard_sigmoid):
    """Last state of the GRU of Keras 2 over the words that are not 0; words (length,)."""
    units = recurrent_kernel.shape[0]
    w_z, w_r, w_h = np.split(kernel, 3, axis=1)
    u_z, u_r, u_h = np.split(recurrent_kernel, 3, axis=1)
    b_z, b_r, b_h = np.split(bias, 3)
    h = np.zeros(units)
    for word in words:
        if word != 0:
            x = embeddings[word]
            z = gate(x @ w_z + h @ u_z + b_z)
            r = gate(x @ w_r + h @ u_r + b_r)
            h = z * h + (1 - z) * np.tanh(x @ w_h + (r * h) @ u_h + b_h)
    return h


def word_reconstruction(encoding, words, kernel):
    """Cross-entropy of the words that are not 0, told from the encoding of their sentence; words (length,)."""
    log_shares = []
    for r_t in np.split(kernel, len(words), axis=1):
        logits = encoding @ r_t
        log_shares.append(logits - np.log(np.exp(logits).sum()))
    return -sum(log_share[word] for log_share, word in zip(log_shares, words) if word != 0)


def word_overlap(question, facts):
    """Share of each fact of one story in the words of the question that not all facts have; lists of word numbers."""
    telling = [(word, np.log(len(facts) / count)) for word in question
               if word and (count := sum(word in fact for fact in facts))]
    shared = np.array([sum(weight for word, weight in telling if word in fact) for fact in facts])
    return shared / shared.sum() if shared.any() else shared


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(words, embeddings, kernel, recurrent_kernel, bias, gate=sigmoid):
    """Last output of an LSTM over the words that are not 0; gates input, forget, candidate, output; words (length,)."""
    units = recurrent_kernel.shape[0]
    w, u, b = np.split(kernel, 4, axis=1), np.split(recurrent_kernel, 4, axis=1), np.split(bias, 4)
    h = c = np.zeros(units)
    for word in words:
        if word != 0:
            enter, forget, candidate, leave = (embeddings[word] @ w[k] + h @ u[k] + b[k] for k in range(4))
            c = gate(forget) * c + gate(enter) * np.tanh(candidate)
            h = gate(leave) * np.tanh(c)
    return h


def hop(memories, query, head_kernels, output_kernel):
    """Multi-head attention over the memories (facts, units) of one story; head_kernels (units, heads * units)."""
    units = len(query)
    outputs = []
    for first in range(0, head_kernels.shape[1], units):
        kernel = head_kernels[:, first:first + units]
        scores = [np.tanh(memory @ kernel) @ query / np.sqrt(units) for memory in memories]
        weights = np.exp(scores) / np.sum(np.exp(scores))
        outputs.append(sum(weight * memory for weight, memory in zip(weights, memories)))
    return np.concatenate(outputs) @ output_kernel


def controller(memories, question, transition, hops):
    """Working memory buffer (hops, units) of one story; transition (W_1, b_1, W_2, b_2), hops [(W_h, W_o), ...]."""
    w_1, b_1, w_2, b_2 = transition
    output, buffer = question, []
    for head_kernels, output_kernel in hops:
        output = hop(memories, (output @ w_1 + b_1) @ w_2 + b_2, head_kernels, output_kernel)
        buffer.append(output)
    return np.stack(buffer)


def relations(objects, condition, g):
    """Sum of g over all ordered pairs of objects (objects, features); g [(W, b), ...]."""
    total = 0.0
    for first in objects:
        for second in objects:
            x = np.concatenate([first, second, condition])
            for kernel, bias in g:
                x = np.maximum(x @ kernel + bias, 0.0)
            total = total + x
    return total


def max_pool(x, stride):
    """Maximum over windows of 3 x 3, those that are full; x (rows, columns, features)."""
    starts = [range(0, size - 2, stride) for size in x.shape[:2]]
    return np.array([[x[r:r + 3, c:c + 3].max(axis=(0, 1)) for c in starts[1]] for r in starts[0]])


def convolution(x, kernel, bias):
    """Relu of the 3 x 3 convolution that keeps the size, zeros around; x (rows, columns, features)."""
    rows, columns, _ = x.shape
    around = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    total = sum(around[r:r + rows, c:c + columns] @ kernel[r, c] for r in range(3) for c in range(3))
    return np.maximum(total + bias, 0.0)


def grid_of_memories(box, mean, deviation, kernel_1, bias_1, kernel_2, bias_2, *further):
    """Memories (rows * columns, filters) of one box (height, width, channels)."""
    x = (box - np.array(mean)) / np.array(deviation)
    x = max_pool(convolution(x, kernel_1, bias_1), 3)
    x = max_pool(convolution(x, kernel_2, bias_2), 2)
    for kernel, bias in zip(further[::2], further[1::2]):
        x = convolution(x, kernel, bias)
    rows, columns, _ = x.shape
    return np.array([[*x[r, c], r / rows, c / columns] for r in range(rows) for c in range(columns)])


def look_weights(memories, query, perceptron, activation=np.tanh):
    """Weights (heads, memories) of a multilayer perceptron over memories (memories, features); perceptron [(W, b), ...],
    W of the last a column for each head."""
    scores = []
    for memory in memories:
        x = np.concatenate([memory, query])
        for kernel, bias in perceptron[:-1]:
            x = np.maximum(x @ kernel + bias, 0.0)
        scores.append(activation(x @ perceptron[-1][0] + perceptron[-1][1]))
    return (np.exp(scores) / np.sum(np.exp(scores), axis=0)).T


def look(memories, query, perceptron, activation=np.tanh):
    """What each head sees with `look_weights`, end to end: (heads * features,)."""
    return np.concatenate([sum(weight * memory for weight, memory in zip(of_head, memories))
                           for of_head in look_weights(memories, query, perceptron, activation)])


def visual_controller(boxes, sentence, transition, perceptrons):
    """Working memory (hops * places, features) of one image; boxes: the memories of each; perceptrons [[hop, place], ...]."""
    buffer, queries = [], [sentence] * len(boxes)
    for hop in perceptrons:
        outputs = [look(memories, query, perceptron) for memories, query, perceptron in zip(boxes, queries, hop)]
        queries = [np.maximum(output @ transition[0] + transition[1], 0.0) for output in outputs]
        buffer += outputs
    return np.stack(buffer)
