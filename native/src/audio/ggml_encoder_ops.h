// Steps of the conformer as ggml's own operations: for devices, and for processors without kernels of ours.
#pragma once

#include "audio/encoder_ops.h"

#include <map>
#include <utility>

namespace ga {

class GgmlEncoderOps final : public EncoderOps {
  public:
    GgmlEncoderOps(const AudioModel & model, GraphRunner & runner, const std::vector<EncoderPart> & parts,
                   const EncoderLayout & layout);

    ggml_tensor * subsample() override;
    ggml_tensor * rms_norm(ggml_tensor * x, ggml_tensor * weight, float min, float max) override;
    ggml_tensor * add_rms_norm(ggml_tensor * x, ggml_tensor * h, ggml_tensor * weight, float scale) override;
    ggml_tensor * attention(const AudioLayer & layer, ggml_tensor * q, ggml_tensor * k, ggml_tensor * v,
                            const PastRows & past) override;
    ggml_tensor * glu(ggml_tensor * h) override;
    ggml_tensor * depthwise_conv(const AudioLayer & layer, ggml_tensor * x, ggml_tensor * past) override;
    ggml_tensor * carry(ggml_tensor * x, ggml_tensor * past) override;

  private:
    ggml_tensor * rows(const std::vector<int32_t> & values, const char * name);
    ggml_tensor * layer_norm_relu(ggml_tensor * x, ggml_tensor * weight);
    // Past and new rows, [width, n parts + N]; made once for who computes with them and who carries them on.
    ggml_tensor * joined(ggml_tensor * past, ggml_tensor * x);

    const std::vector<EncoderPart> & parts_;
    const EncoderLayout & layout_;
    std::map<std::pair<ggml_tensor *, ggml_tensor *>, ggml_tensor *> joined_;

    ggml_tensor * mask_ = nullptr;
    ggml_tensor * query_rows_ = nullptr; // null: the tokens are the queries, in order
    ggml_tensor * key_rows_ = nullptr;
    ggml_tensor * out_rows_ = nullptr;
    ggml_tensor * conv_rows_ = nullptr; // null: one part
    ggml_tensor * conv_out_ = nullptr;
    ggml_tensor * keep_kv_ = nullptr;
    ggml_tensor * keep_conv_ = nullptr;
};

} // namespace ga
