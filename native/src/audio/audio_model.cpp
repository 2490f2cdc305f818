#include "audio/audio_model.h"

#include "audio/mel.h"
#include "cpu/audio_kernels.h"

#include <algorithm>
#include <cmath>

namespace ga {

namespace {

constexpr int64_t kRawFrame = 640; // samples of a gemma4ua frame
// Gemma 4 has 12. Each layer keeps three results for the next call, and ggml's allocator ends the process where they leave more
// than 256 holes in its memory.
constexpr int64_t kMaxLayers = 64;
constexpr int64_t kMaxWidth = 1 << 16;
constexpr int64_t kMaxChannels = 1 << 12;
constexpr int64_t kMelAfterConvs = Mel::n_bins / 4;

[[noreturn]] void bad_shape(const GgufFile & file, const TensorInfo & info, const std::string & expected) {
    fail(GA_ERROR_FORMAT, "%s: the tensor %s has shape %s, expected %s", file.path().c_str(), info.name.c_str(),
         info.shape().c_str(), expected.c_str());
}

const TensorInfo & need(const GgufFile & file, const std::string & name) {
    const TensorInfo * info = file.find_tensor(name);
    if (!info) {
        fail(GA_ERROR_FORMAT, "%s: the tensor %s is missing", file.path().c_str(), name.c_str());
    }
    if (info->n_elements() == 0) {
        bad_shape(file, *info, "at least one value");
    }
    return *info;
}

// A matrix [n_in, n_out] whose extents are for the file to say.
const TensorInfo & need_matrix(const GgufFile & file, const std::string & name) {
    const TensorInfo & info = need(file, name);
    if (info.ne[2] != 1 || info.ne[3] != 1) {
        bad_shape(file, info, "a matrix");
    }
    return info;
}

ga_projector read_projector(const GgufFile & file) {
    const std::string arch = file.get_string("general.architecture");
    if (arch != "clip") {
        fail(GA_ERROR_UNSUPPORTED, "%s: architecture \"%s\" is no audio projector (expected \"clip\")",
             file.path().c_str(), arch.c_str());
    }
    // Files with a vision tower too give each its own key.
    auto type = file.find_string("clip.audio.projector_type");
    if (!type) {
        type = file.find_string("clip.projector_type");
    }
    if (!type) {
        fail(GA_ERROR_FORMAT, "%s: neither clip.audio.projector_type nor clip.projector_type is there",
             file.path().c_str());
    }
    if (*type == "gemma4a") {
        return GA_PROJECTOR_GEMMA4A;
    }
    if (*type == "gemma4ua") {
        return GA_PROJECTOR_GEMMA4UA;
    }
    fail(GA_ERROR_UNSUPPORTED, "%s: projector type \"%s\" is not Gemma 4 audio (gemma4a, gemma4ua)",
         file.path().c_str(), type->c_str());
}

bool has_prefix(const std::string & text, const std::string & prefix) {
    return text.rfind(prefix, 0) == 0;
}

// Number of a tensor "a.blk.N.…", or -1.
int64_t layer_of(const std::string & name) {
    static const std::string prefix = "a.blk.";
    if (!has_prefix(name, prefix)) {
        return -1;
    }
    int64_t number = -1;
    for (size_t i = prefix.size(); i < name.size() && name[i] >= '0' && name[i] <= '9' && number < kMaxLayers; i++) {
        number = std::max<int64_t>(number, 0) * 10 + (name[i] - '0');
    }
    return number;
}

int64_t count_layers(const GgufFile & file) {
    int64_t n = 0;
    for (const TensorInfo & info : file.tensors()) {
        n = std::max(n, layer_of(info.name) + 1);
    }
    const auto stated = file.find_int("clip.audio.block_count");
    if (n < 1 || n > kMaxLayers) {
        fail(GA_ERROR_FORMAT, "%s: %lld audio layers", file.path().c_str(), static_cast<long long>(n));
    }
    if (stated && *stated != n) {
        fail(GA_ERROR_FORMAT, "%s: clip.audio.block_count is %lld, but there are tensors of %lld audio layers",
             file.path().c_str(), static_cast<long long>(*stated), static_cast<long long>(n));
    }
    return n;
}

// [n0, n1] in ggml order to [n1, n0].
std::vector<float> transposed(const std::vector<float> & values, int64_t n0, int64_t n1) {
    std::vector<float> result(values.size());
    for (int64_t j = 0; j < n1; j++) {
        for (int64_t i = 0; i < n0; i++) {
            result[(size_t)(i * n1 + j)] = values[(size_t)(j * n0 + i)];
        }
    }
    return result;
}

// Keys of the relative distances 11 ... 0: W_rel [width, width] times a sinusoid of the distance, [head_dim, 12, n_head].
std::vector<float> relative_keys(const std::vector<float> & rel, int64_t width, int64_t head_dim) {
    constexpr int n = AudioModel::attn_window;
    const int64_t n_times = width / 2;
    const double step = std::log(10000.0) / static_cast<double>(std::max<int64_t>(n_times - 1, 1));
    std::vector<double> sinusoids((size_t)(width * n)); // [value][distance]
    for (int p = 0; p < n; p++) {
        const double distance = n - 1 - p;
        for (int64_t i = 0; i < n_times; i++) {
            const double angle = distance * std::exp(static_cast<double>(i) * -step);
            sinusoids[(size_t)(i * n + p)] = std::sin(angle);
            sinusoids[(size_t)((n_times + i) * n + p)] = std::cos(angle);
        }
    }
    std::vector<float> keys((size_t)(width * n));
    for (int64_t out = 0; out < width; out++) {
        double sums[n] = {};
        for (int64_t in = 0; in < width; in++) {
            const double weight = rel[(size_t)(out * width + in)];
            for (int p = 0; p < n; p++) {
                sums[p] += weight * sinusoids[(size_t)(in * n + p)];
            }
        }
        const int64_t head = out / head_dim;
        for (int p = 0; p < n; p++) {
            keys[(size_t)((head * n + p) * head_dim + out % head_dim)] = static_cast<float>(sums[p]);
        }
    }
    return keys;
}

} // namespace

AudioModel::AudioModel(const GgufFile & file, Backend & backend) : weights_(file, backend) {
    projector_ = read_projector(file);
    if (file.find_int("clip.has_audio_encoder").value_or(1) == 0) {
        fail(GA_ERROR_UNSUPPORTED, "%s: the file has no audio encoder", file.path().c_str());
    }
    if (!backend.is_cpu() || !audio_kernels()) {
        // ggml multiplies BF16 with activations rounded to BF16 (8 bits); F16 keeps 11 of them and holds all but the tiniest weights exactly.
        weights_.set_bf16_as(GGML_TYPE_F16);
    }

    const TensorInfo & projector = need_matrix(file, "mm.a.input_projection.weight");
    n_encoder_out_ = projector.ne[0];
    n_embd_out_ = projector.ne[1];
    if (projector_ == GA_PROJECTOR_GEMMA4A) {
        frame_width_ = Mel::n_bins;
        declare_conformer(file);
    } else {
        frame_width_ = kRawFrame;
        if (n_encoder_out_ != kRawFrame) {
            bad_shape(file, projector, format("[%d, text width]", static_cast<int>(kRawFrame)));
        }
    }
    projection = weights_.require(projector.name, {n_encoder_out_, n_embd_out_}, Use::Multiply);

    // The files hold a vision tower too. But what stands among the audio tensors would change the result.
    const auto not_audio = [](const std::string & name) {
        return !has_prefix(name, "a.") && !has_prefix(name, "mm.a.");
    };
    if (const TensorInfo * info = weights_.find_unread(not_audio)) {
        fail(GA_ERROR_UNSUPPORTED, "%s: the tensor %s is not part of Gemma 4's audio encoder", file.path().c_str(),
             info->name.c_str());
    }
}

void AudioModel::declare_conformer(const GgufFile & file) {
    // ---- sizes -------------------------------------------------------------------------------------------------
    const TensorInfo & kernel0 = need(file, "a.conv1d.0.weight");
    const TensorInfo & kernel1 = need(file, "a.conv1d.1.weight");
    const TensorInfo & linear0 = need_matrix(file, "a.input_projection.weight");
    n_channels_[0] = kernel0.ne[3];
    n_channels_[1] = kernel1.ne[3];
    width_ = linear0.ne[1];
    if (width_ % 2 != 0 || width_ > kMaxWidth) {
        bad_shape(file, linear0, format("an even width of at most %d", static_cast<int>(kMaxWidth)));
    }
    if (n_channels_[0] > kMaxChannels || n_channels_[1] > kMaxChannels) {
        bad_shape(file, n_channels_[0] > kMaxChannels ? kernel0 : kernel1,
                  format("at most %d channels", static_cast<int>(kMaxChannels)));
    }
    if (linear0.ne[0] != kMelAfterConvs * n_channels_[1]) {
        bad_shape(file, linear0, format("[32 x %lld channels, width]", static_cast<long long>(n_channels_[1])));
    }
    if (file.find_tensor("a.blk.0.per_dim_scale.weight")) {
        const TensorInfo & scale = need(file, "a.blk.0.per_dim_scale.weight");
        if (scale.n_rows() != 1 || width_ % scale.ne[0] != 0) {
            bad_shape(file, scale, "a head's dimension, which divides the width");
        }
        n_head_ = width_ / scale.ne[0];
    }
    const std::string heads_key = "clip.audio.attention.head_count";
    int64_t stated = 0; // not
    if (n_head_ == 0 || file.has(heads_key)) {
        stated = file.get_int(heads_key, 1, width_);
    }
    if (n_head_ == 0) {
        n_head_ = stated;
    }
    if ((stated != 0 && stated != n_head_) || width_ % n_head_ != 0) {
        fail(GA_ERROR_FORMAT, "%s: %s is %lld, which does not fit a width of %lld%s", file.path().c_str(),
             heads_key.c_str(), static_cast<long long>(stated), static_cast<long long>(width_),
             stated != 0 && width_ % stated == 0 ? " and the length of a.blk.0.per_dim_scale.weight" : "");
    }
    const int64_t n = count_layers(file);

    // ---- subsampling: kernels in the order of channels-last data ---------------------------------------------------
    const int64_t c0 = n_channels_[0], c1 = n_channels_[1];
    const std::vector<float> k0 = weights_.read_f32(kernel0.name, {3, 3, 1, c0});
    conv0 = weights_.constant("a.conv1d.0 (matrix)", {9, c0}, k0);
    conv0_taps = weights_.constant("a.conv1d.0 (taps)", {c0, 9}, transposed(k0, 9, c0));
    conv0_norm = weights_.optional("a.conv1d.0.norm.weight", {c0}, Use::Elementwise);
    const std::vector<float> k1 = weights_.read_f32(kernel1.name, {3, 3, c0, c1});
    for (int64_t time = 0; time < 3; time++) {
        std::vector<float> matrix((size_t)(3 * c0 * c1));
        for (int64_t out = 0; out < c1; out++) {
            for (int64_t mel = 0; mel < 3; mel++) {
                for (int64_t in = 0; in < c0; in++) {
                    matrix[(size_t)((out * 3 + mel) * c0 + in)] = k1[(size_t)(((out * c0 + in) * 3 + time) * 3 + mel)];
                }
            }
        }
        conv1[time] = weights_.constant(format("a.conv1d.1 (matrix %d)", static_cast<int>(time)), {3 * c0, c1},
                                        std::move(matrix));
    }
    conv1_norm = weights_.optional("a.conv1d.1.norm.weight", {c1}, Use::Elementwise);
    conv_linear = weights_.require(linear0.name, {linear0.ne[0], width_}, Use::Multiply);

    // ---- layers, output ----------------------------------------------------------------------------------------------
    for (int i = 0; i < n; i++) {
        declare_layer(file, i);
    }
    if (file.find_tensor("a.pre_encode.out.weight")) {
        out_weight = weights_.require("a.pre_encode.out.weight", {width_, n_encoder_out_}, Use::Multiply);
        out_bias = weights_.optional("a.pre_encode.out.bias", {n_encoder_out_}, Use::Elementwise);
    } else if (n_encoder_out_ != width_) {
        fail(GA_ERROR_FORMAT,
             "%s: a.pre_encode.out.weight is missing, and mm.a.input_projection.weight takes %lld values "
             "where a layer gives %lld",
             file.path().c_str(), static_cast<long long>(n_encoder_out_), static_cast<long long>(width_));
    }
}

ClippableLinear AudioModel::linear(const GgufFile & file, const std::string & name, int64_t n_in, int64_t n_out) {
    ClippableLinear result;
    result.weight = weights_.require(name + ".weight", {n_in, n_out}, Use::Multiply);
    const auto bounds = [&](const char * side, float & min, float & max) {
        min = weights_.scalar(name + "." + side + "_min").value_or(min);
        max = weights_.scalar(name + "." + side + "_max").value_or(max);
        if (!(min <= max)) { // NaN too
            fail(GA_ERROR_FORMAT, "%s: %s clamps its %s to [%g, %g]", file.path().c_str(), name.c_str(), side, min,
                 max);
        }
    };
    bounds("input", result.in_min, result.in_max);
    bounds("output", result.out_min, result.out_max);
    return result;
}

void AudioModel::declare_layer(const GgufFile & file, int index) {
    const std::string prefix = "a.blk." + std::to_string(index) + ".";
    const auto norm = [&](const char * name) {
        return weights_.optional(prefix + name + ".weight", {width_}, Use::Elementwise);
    };
    const auto feed_forward = [&](const char * suffix) {
        const std::string up = prefix + "ffn_up" + suffix;
        const int64_t n_ff = need_matrix(file, up + ".weight").ne[1];
        AudioFeedForward ffn;
        ffn.pre_norm = weights_.require(prefix + "ffn_norm" + suffix + ".weight", {width_}, Use::Elementwise);
        ffn.up = linear(file, up, width_, n_ff);
        ffn.down = linear(file, prefix + "ffn_down" + suffix, n_ff, width_);
        ffn.post_norm = weights_.optional(prefix + "ffn_post_norm" + suffix + ".weight", {width_}, Use::Elementwise);
        return ffn;
    };

    AudioLayer layer;
    layer.ffn_first = feed_forward("");

    layer.attn_pre_norm = norm("attn_pre_norm");
    layer.q = linear(file, prefix + "attn_q", width_, width_);
    layer.k = linear(file, prefix + "attn_k", width_, width_);
    layer.v = linear(file, prefix + "attn_v", width_, width_);
    layer.attn_out = linear(file, prefix + "attn_out", width_, width_);
    const int64_t dim = head_dim();
    // The converter has applied softplus to per_dim_scale.
    std::vector<float> scale((size_t)dim, 1.0f);
    if (file.find_tensor(prefix + "per_dim_scale.weight")) {
        scale = weights_.read_f32(prefix + "per_dim_scale.weight", {dim});
    }
    for (float & s : scale) {
        s = static_cast<float>(s * (1.0 / std::sqrt(static_cast<double>(dim)) / std::log(2.0)));
    }
    layer.q_scale = weights_.constant(prefix + "q_scale", {dim}, std::move(scale));
    if (file.find_tensor(prefix + "attn_k_rel.weight")) {
        const std::vector<float> rel = weights_.read_f32(prefix + "attn_k_rel.weight", {width_, width_});
        layer.rel_keys =
            weights_.constant(prefix + "rel_keys", {dim, attn_window, n_head_}, relative_keys(rel, width_, dim));
    }
    layer.attn_post_norm = norm("attn_post_norm");

    layer.conv_pre_norm = norm("conv_norm"); // the two names are swapped in the files
    layer.conv_post_norm = norm("norm_conv");
    layer.conv_in = linear(file, prefix + "conv_pw1", width_, 2 * width_);
    layer.conv_out = linear(file, prefix + "conv_pw2", width_, width_);
    const std::vector<float> taps = weights_.read_f32(prefix + "conv_dw.weight", {conv_taps, width_});
    layer.conv_kernel =
        weights_.constant(prefix + "conv_kernel", {width_, conv_taps}, transposed(taps, conv_taps, width_));

    layer.ffn_second = feed_forward("_1");
    layer.out_norm = norm("ln2");
    layers.push_back(layer);
}

} // namespace ga
