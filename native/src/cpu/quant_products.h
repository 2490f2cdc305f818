// Which kernels multiply quantised matrices on this processor.
//
// Chosen once, when they are first asked for: of the classes that the processor has, for each weight type the best one whose
// kernel passes a proof. It multiplies a small fixed matrix, and the result must be the portable kernel's to the last bit. One that does not
// (a compiler's fault, a processor's, an emulator's) is left out, and said to be; the next class follows, and after the last one ggml.
//
// The environment variable GEMMA_AUDIO_CPU_CLASS caps the class: avx512, avxvnni, avx2, portable (slow; for tests), or
// ggml for none of them.
#pragma once

#include "cpu/quant_kernels.h"

#include <string>
#include <vector>

namespace ga {

class QuantProducts {
  public:
    // classes: the best first. cap: the name of the best one that may be taken, "ggml" for none, or nothing. Without a cap the
    // portable class is not taken: ggml is faster.
    QuantProducts(const std::vector<const QuantClass *> & classes, const std::string & cap);

    // x [n_in] to 8 bits.
    Quantise quantise() const { return quantise_; }
    // Null where ggml multiplies this type.
    const QuantKernel * find(ggml_type type) const;
    // Whether it multiplies a matrix of this type and shape.
    bool takes(ggml_type type, int64_t n_in, int64_t n_out) const;

    // "avx2: q4_0 q8_0 ...", for a report. What was left out follows, with its reason, or a cap that is none.
    const std::string & description() const { return description_; }

  private:
    struct Choice {
        QuantKernel kernel;
        const char * class_name;
    };
    void choose(const QuantClass & candidate);
    void describe();

    Quantise quantise_ = nullptr;
    std::vector<Choice> choices_;
    std::vector<std::string> left_out_;
    std::string description_;
};

// Those of this process.
const QuantProducts & quant_products();

} // namespace ga
