// The log-mel frontend of gemma4a, streaming.
//
//   samples (16 kHz, mono)                                    any slicing
//     160 zeros in front, then windows of 320 every 160        [320]   n samples -> (n + 160 - 321) / 160 + 1 frames
//     x periodic Hann, zero-padded to 512, real FFT, magnitude [257]
//     x 128 triangular filters (HTK scale, 0 to 8000 Hz)       [128]
//     ln(x + 0.001)                                            [128]   one frame
//
// A frame depends only on its own 320 samples, and is computed in one piece by the same code however they arrive: so
// any slicing gives bit-identical frames. A frame is complete once the sample after its last one is there (the model
// was trained with windows of 321 samples of which 320 are used), and nothing is padded at the end of a clip.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

namespace ga {

class Mel {
  public:
    static constexpr int n_bins = 128;   // values of a frame
    static constexpr int window = 320;   // samples of a frame
    static constexpr int hop = 160;      // samples between the starts of two frames
    static constexpr int left_pad = 160; // zeros in front of the first sample
    static constexpr int n_fft = 512;

    Mel();

    void push(const float * samples, size_t n_samples);
    // Copies out (and forgets) up to max_frames complete frames [frame][128]; returns how many.
    size_t pop(float * frames, size_t max_frames);
    size_t n_ready() const;

    // Frames of a whole clip of n samples.
    static size_t n_frames(size_t n_samples);

  private:
    struct Tables;
    void compute(const float * samples, float * frame) const;

    std::shared_ptr<const Tables> tables_; // shared by all instances
    std::vector<float> samples_;           // those still needed, the left padding included
    size_t first_ = 0;                     // where the next frame starts in samples_
};

} // namespace ga
