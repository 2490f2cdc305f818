// Frames -> embeddings: conformer and projector, for several clips at once, each from where it stopped.
//
//   gemma4a    mel frames [T][128] -> subsampling by 4 -> conformer layers -> linear -> RMS -> projector -> [T/4][n_embd_out]
//   gemma4ua   samples    [T][640] -> RMS -> projector -> [T][n_embd_out]
//
// The conformer only looks back (11 tokens in attention, 4 in the depthwise convolution), but for one frame that each
// of the two strided convolutions looks ahead. What it looks back on is carried between calls in an EncoderState; so
// offline is one call with an empty state, live is many, and both run the same graph and give the same embeddings.
#pragma once

#include "audio/audio_model.h"
#include "core/backend.h"

#include <memory>
#include <vector>

namespace ga {

// What the next tokens of a clip need of the past. An empty one stands at the clip's start.
struct EncoderState {
    int64_t n_tokens = 0;      // encoded so far
    std::vector<float> frames; // [n][frame_width]: from 3 before the next token's first frame (4 n_tokens) on
    std::vector<float> layers; // per layer: K [11][width], V [11][width], GLU [4][width]; zeros before the start
};

// New frames of one clip, and what comes of them. encode() fills the results and moves the state on.
struct EncoderPiece {
    EncoderState * state = nullptr;
    const float * frames = nullptr; // [n_frames][frame_width]
    size_t n_frames = 0;
    bool end = false; // the clip ends here: its last tokens need nothing more

    std::vector<float> * embeddings = nullptr;  // appended to: [n][n_embd_out]
    std::vector<float> * encoder_out = nullptr; // appended to: [n][n_encoder_out]; may be null
};

struct EncoderPart; // see encoder_layout.h

class AudioEncoder {
  public:
    AudioEncoder(const AudioModel & model, Backend & backend);
    ~AudioEncoder();

    const AudioModel & model() const { return model_; }
    // Only ggml's own operations, as on devices other than the CPU: slower, and the same results. For tests.
    void use_plain_ops(bool on) { plain_ops_ = on; }

    // Encodes all pieces, cut into as many graphs as keep compute memory bounded. If it throws, the pieces' states and
    // results are undefined (the caller works on copies).
    void encode(std::vector<EncoderPiece> & pieces);

    // Tokens that the first n_frames of a clip determine, or, where they are all of it, that the clip has.
    int64_t n_tokens(int64_t n_frames, bool end) const;

  private:
    void encode_group(std::vector<EncoderPart> & parts);

    const AudioModel & model_;
    Backend & backend_;
    std::unique_ptr<GraphRunner> runner_;
    bool plain_ops_ = false;
};

} // namespace ga
