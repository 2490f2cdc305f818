// Where the time of an engine went; printed by a verbose run.
#pragma once

#include <chrono>
#include <cstdint>

namespace ga {

struct Timings {
    double load_s = 0;
    double mel_s = 0;
    double encode_s = 0;
    double prefill_s = 0;
    double decode_s = 0;
    uint64_t n_samples = 0;
    uint64_t n_audio_tokens = 0;
    uint64_t n_prefill = 0;
    uint64_t n_decode = 0;
};

// Adds the time from its construction to its destruction to a counter.
class Stopwatch {
  public:
    explicit Stopwatch(double & seconds) : seconds_(seconds), start_(std::chrono::steady_clock::now()) {}
    ~Stopwatch() { seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }
    Stopwatch(const Stopwatch &) = delete;
    Stopwatch & operator=(const Stopwatch &) = delete;

  private:
    double & seconds_;
    std::chrono::steady_clock::time_point start_;
};

} // namespace ga
