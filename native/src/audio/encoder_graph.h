// One graph over a group of parts, each a run of new tokens of one clip:
//
//   frames        [9, 65, 2S+2]     3x3 patches of the mel frames, one a position of the first convolution (host)
//   conv 0        [128, 65, 2S+2]   channels first in memory; LayerNorm over channels, ReLU
//   conv 1        [32, 32, S]       three matrices on strided rows; LayerNorm, ReLU
//   linear        [width, N]        N: tokens of all parts, one after the other
//   per layer     FFN/2, attention, light convolution, FFN/2, RMSNorm; K, V and GLU rows of the past in front
//   linear        [encoder_out, N]
//   RMS, linear   [n_embd_out, N]
//
// All matrices run on the N rows together; only attention and the two convolutions know where a clip begins and ends,
// through row indices and masks made on the host. So clips of any lengths and ages share one graph.
#pragma once

#include "audio/encoder_ops.h"

namespace ga {

// The graph's shapes are those at the head of this file; trailing comments give them in ggml order.
class EncoderGraph {
  public:
    // plain: ggml's own operations only.
    EncoderGraph(const AudioModel & model, GraphRunner & runner, const std::vector<EncoderPart> & parts, bool plain)
        : model_(model), runner_(runner), parts_(parts), layout_(make_layout(parts)),
          ops_(make_encoder_ops(model, runner, parts_, layout_, plain)) {}

    ggml_tensor * encode();
    ggml_tensor * project(ggml_tensor * x);
    // Of each layer: rows to carry on, to be read after the run.
    const std::vector<PastRows> & carried() const { return carried_; }
    int64_t n_rows() const { return layout_.n_rows; }

  private:
    ggml_tensor * subsample();
    ggml_tensor * conformer_layer(const AudioLayer & layer, ggml_tensor * x, const PastRows & past);

    // x has been clamped to the layer's input bounds. With `next`, SiLU and that layer's input bounds follow.
    ggml_tensor * linear(const ClippableLinear & layer, ggml_tensor * x, const ClippableLinear * next = nullptr);
    // RMSNorm (without a weight: none), clamped to the input bounds of the layer that comes next; the last one made is
    // kept for layers that share it.
    ggml_tensor * norm_for(const ClippableLinear & next, ggml_tensor * x, ggml_tensor * weight);
    PastRows past_of(ggml_tensor * past, int64_t layer) const;
    ggml_tensor * keep(ggml_tensor * x, ggml_tensor * past);

    const AudioModel & model_;
    GraphRunner & runner_;
    const std::vector<EncoderPart> & parts_;
    const EncoderLayout layout_;
    const std::unique_ptr<EncoderOps> ops_;
    std::vector<PastRows> carried_;
    struct {
        ggml_tensor * x = nullptr;
        float min = 0.0f, max = 0.0f;
        ggml_tensor * result = nullptr;
    } normed_;
};

} // namespace ga
