// One clip of sound on its way to embeddings: samples in, in pieces of any size, embeddings out as soon as they are
// determined. What ga_audio points to.
//
//   push(samples) -> Mel (gemma4a) or frames of 640 (gemma4ua) -> AudioEncoder -> embeddings [count()][n_embd_out]
//
// A call either does everything or, if it throws (bad samples, cancelled, out of memory), leaves the clips as they were.
#pragma once

#include "audio/audio_encoder.h"
#include "audio/mel.h"
#include "core/timings.h"

#include <vector>

namespace ga {

class AudioClip {
  public:
    // Both must outlive the clip. mel_s, encode_s, n_samples and n_audio_tokens of every call are added to timings.
    AudioClip(AudioEncoder & encoder, Timings & timings);

    // Keeps the encoder's output before the projector too. Before the first push.
    void keep_encoder();

    void push(const float * samples, size_t n_samples);
    void finish();

    struct Push {
        AudioClip * clip = nullptr;
        const float * samples = nullptr;
        size_t n_samples = 0;
        bool finish = false;
    };
    // Several clips of one encoder together, each at most once.
    static void push_batch(const std::vector<Push> & pushes);

    bool finished() const { return finished_; }
    size_t count() const { return n_tokens_; }
    // [count()][n_embd_out]; valid until the next push.
    const float * embeddings() const { return embeddings_.data(); }
    // Copies tokens [first, first + n): stage 0 embeddings, stage 1 the encoder's output. GA_ERROR_INVALID_ARGUMENT where
    // they are not there or were not kept.
    void read(int stage, size_t first, size_t n, float * out) const;

  private:
    struct Work;

    AudioEncoder & encoder_;
    Timings & timings_;
    bool keep_encoder_ = false;
    bool started_ = false;
    bool finished_ = false;
    size_t n_tokens_ = 0;
    Mel mel_;                    // gemma4a
    std::vector<float> samples_; // gemma4ua: less than a frame
    EncoderState state_;
    std::vector<float> embeddings_;
    std::vector<float> encoder_out_;
};

} // namespace ga
