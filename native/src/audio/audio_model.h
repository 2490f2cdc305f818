// The audio half of an mmproj GGUF: what its tensors say about the network, and the tensors by name.
//
// Two projectors exist. gemma4a (E2B, E4B) is a mel frontend and a conformer; gemma4ua (12B) is one matrix on raw
// samples. Every width is read from the tensors' shapes and checked for consistency: of the keys only the projector's
// type, the number of layers and the number of heads are needed. `projection_dim` and the stored epsilon are wrong in
// files that exist, and are not read. Vision tensors in the same file are never touched.
#pragma once

#include "core/backend.h"
#include "core/gguf_file.h"
#include "core/weights.h"

#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace ga {

// A matrix without bias whose input and output are clamped to trained bounds (infinite: no clamp).
struct ClippableLinear {
    ggml_tensor * weight = nullptr; // [n_in, n_out]
    float in_min = -std::numeric_limits<float>::infinity();
    float in_max = std::numeric_limits<float>::infinity();
    float out_min = -std::numeric_limits<float>::infinity();
    float out_max = std::numeric_limits<float>::infinity();
};

// Half a step of feed-forward. A norm that is null is skipped.
struct AudioFeedForward {
    ggml_tensor * pre_norm = nullptr;  // [width]
    ClippableLinear up;                // [width, n_ff]
    ClippableLinear down;              // [n_ff, width]
    ggml_tensor * post_norm = nullptr; // [width]
};

struct AudioLayer {
    AudioFeedForward ffn_first;

    ggml_tensor * attn_pre_norm = nullptr; // [width]
    ClippableLinear q, k, v, attn_out;     // [width, width]
    ggml_tensor * q_scale = nullptr;       // [head_dim]: per_dim_scale and the constant factors of q
    ggml_tensor * rel_keys = nullptr;      // [head_dim, 12, n_head]: keys of the distances 11 ... 0; null: no such term
    ggml_tensor * attn_post_norm = nullptr; // [width]

    ggml_tensor * conv_pre_norm = nullptr;  // [width]: `conv_norm` in the files
    ClippableLinear conv_in;                // [width, 2 width]
    ggml_tensor * conv_kernel = nullptr;    // [width, 5]: taps of the distances 4 ... 0
    ggml_tensor * conv_post_norm = nullptr; // [width]: `norm_conv` in the files
    ClippableLinear conv_out;               // [width, width]

    AudioFeedForward ffn_second;
    ggml_tensor * out_norm = nullptr; // [width]
};

class AudioModel {
  public:
    static constexpr int attn_window = 12; // keys a query sees, itself included
    static constexpr int conv_taps = 5;    // of the depthwise convolution
    static constexpr float norm_eps = 1e-6f;

    // Checks the audio tensors of an mmproj file.
    AudioModel(const GgufFile & file, Backend & backend);
    // Places the weights and reads them; until then nothing can be computed. progress(fraction) may be empty.
    void load(const std::function<void(float)> & progress) { weights_.load(progress); }

    ga_projector projector() const { return projector_; }
    int64_t n_embd_out() const { return n_embd_out_; }       // width of an embedding: must equal the text model's
    int64_t n_encoder_out() const { return n_encoder_out_; } // width of the encoder's output, before the projector
    int64_t frame_width() const { return frame_width_; }     // 128 mel values, or 640 samples
    int n_layer() const { return static_cast<int>(layers.size()); }
    int64_t width() const { return width_; } // of the conformer; 0 for gemma4ua
    int64_t n_head() const { return n_head_; }
    int64_t head_dim() const { return n_head_ > 0 ? width_ / n_head_ : 0; }
    int64_t n_channels(int conv) const { return n_channels_[conv]; }
    const WeightSet & weights() const { return weights_; }

    // Subsampling: kernels as matrices on channels-last data, a norm each (null: skipped).
    ggml_tensor * conv0 = nullptr;       // [9 (time, mel), channels 0]
    ggml_tensor * conv0_taps = nullptr;  // the same, [channels 0, 9]
    ggml_tensor * conv0_norm = nullptr;  // [channels 0]
    ggml_tensor * conv1[3] = {};         // one a time step: [3 (mel) x channels 0, channels 1]
    ggml_tensor * conv1_norm = nullptr;  // [channels 1]
    ggml_tensor * conv_linear = nullptr; // [32 x channels 1, width]

    std::vector<AudioLayer> layers;

    ggml_tensor * out_weight = nullptr; // [width, n_encoder_out]; null: the last layer's output is the encoder's
    ggml_tensor * out_bias = nullptr;   // [n_encoder_out]
    ggml_tensor * projection = nullptr; // [n_encoder_out, n_embd_out]

  private:
    void declare_conformer(const GgufFile & file);
    void declare_layer(const GgufFile & file, int index);
    ClippableLinear linear(const GgufFile & file, const std::string & name, int64_t n_in, int64_t n_out);

    ga_projector projector_ = GA_PROJECTOR_NONE;
    int64_t n_embd_out_ = 0;
    int64_t n_encoder_out_ = 0;
    int64_t frame_width_ = 0;
    int64_t width_ = 0;
    int64_t n_head_ = 0;
    int64_t n_channels_[2] = {0, 0};
    WeightSet weights_;
};

} // namespace ga
