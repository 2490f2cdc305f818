#include "audio/encoder_ops.h"

#include "audio/cpu_encoder_ops.h"
#include "audio/ggml_encoder_ops.h"

#include <cmath>

namespace ga {

EncoderOps::EncoderOps(const AudioModel & model, GraphRunner & runner)
    : model_(model), runner_(runner), ctx_(runner.ctx()), nodes_(runner.ctx()), quants_(nodes_) {}

ggml_tensor * EncoderOps::clamp(ggml_tensor * x, float min, float max) {
    return std::isinf(min) && std::isinf(max) ? x : ggml_clamp(ctx_, x, min, max);
}

ggml_tensor * EncoderOps::multiply(ggml_tensor * weight, ggml_tensor * x, const AfterProduct & after) {
    if (weight->type == GGML_TYPE_F16) {
        x = ggml_clamp(ctx_, x, -65504.0f, 65504.0f); // ggml rounds it to F16, where larger values are infinite
    }
    ggml_tensor * result =
        for_quant_ops(weight) ? quants_.multiply(weight, x) : runner_.multiply(weight, x, GGML_PREC_F32);
    if (after.bias) {
        result = ggml_add(ctx_, result, after.bias);
    }
    result = clamp(result, after.min, after.max);
    return after.silu ? clamp(ggml_silu(ctx_, result), after.silu_min, after.silu_max) : result;
}

std::unique_ptr<EncoderOps> make_encoder_ops(const AudioModel & model, GraphRunner & runner,
                                             const std::vector<EncoderPart> & parts, const EncoderLayout & layout,
                                             bool plain) {
    if (const AudioKernels * kernels = plain ? nullptr : audio_kernels()) {
        return std::make_unique<CpuEncoderOps>(model, runner, *kernels, parts, layout);
    }
    return std::make_unique<GgmlEncoderOps>(model, runner, parts, layout);
}

} // namespace ga
