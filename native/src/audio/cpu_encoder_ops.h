// Steps of the conformer as graph nodes of our own, run by the loops of audio_kernels.h on the CPU.
// Each node stands for several ggml operations and one pass over memory.
#pragma once

#include "audio/encoder_ops.h"
#include "cpu/audio_kernels.h"
#include "cpu/float_ops.h"

#include <vector>

namespace ga {

class CpuEncoderOps final : public EncoderOps {
  public:
    CpuEncoderOps(const AudioModel & model, GraphRunner & runner, const AudioKernels & kernels,
                  const std::vector<EncoderPart> & parts, const EncoderLayout & layout)
        : EncoderOps(model, runner), kernels_(kernels), parts_(parts), layout_(layout), runs_(row_runs(parts)),
          floats_(nodes_, kernels) {}

    ggml_tensor * subsample() override;
    ggml_tensor * multiply(ggml_tensor * weight, ggml_tensor * x, const AfterProduct & after) override;
    ggml_tensor * rms_norm(ggml_tensor * x, ggml_tensor * weight, float min, float max) override;
    ggml_tensor * add_rms_norm(ggml_tensor * x, ggml_tensor * h, ggml_tensor * weight, float scale) override;
    ggml_tensor * attention(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v,
                            const PastRows & past) override;
    ggml_tensor * glu(ggml_tensor * h) override;
    ggml_tensor * depthwise_conv(const AudioLayer & layer, ggml_tensor * x, ggml_tensor * past) override;
    ggml_tensor * carry(ggml_tensor * x, ggml_tensor * past) override;

  private:
    // First convolution, LayerNorm, ReLU: [c0, 1 + n_mel / 2, rows]; position 0 is the next one's padding. frames: pointers
    // that are valid until the graph has run.
    ggml_tensor * conv0(FrameRows frames);
    // Second convolution, LayerNorm, ReLU: [c1, n_mel / 4, slots]
    ggml_tensor * conv1(ggml_tensor * x);
    const RowRun & run_of(int64_t row, int64_t & index) const;

    const AudioKernels & kernels_;
    const std::vector<EncoderPart> & parts_;
    const EncoderLayout & layout_;
    std::vector<RowRun> runs_;
    FloatOps floats_;
};

} // namespace ga
