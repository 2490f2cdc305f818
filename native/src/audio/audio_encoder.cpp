#include "audio/audio_encoder.h"

#include "audio/encoder_graph.h"

#include <algorithm>

namespace ga {

namespace {

// Tokens of a graph, over all parts. Compute memory grows with it (about 0.3 MB a token for E2B) and speed no longer does.
constexpr int64_t kMaxTokens = 384;
constexpr int64_t kMaxTokensGpu = 3072;

// Appends rows [first, first + n) of a computed [width, N] tensor.
void append_rows(const GraphRunner & runner, const ggml_tensor * tensor, int64_t first, int64_t n,
                 std::vector<float> & out) {
    const size_t size = out.size();
    out.resize(size + (size_t)(n * tensor->ne[0]));
    runner.read(tensor, out.data() + size, (size_t)first * tensor->nb[1], (size_t)n * tensor->nb[1]);
}

} // namespace

AudioEncoder::AudioEncoder(const AudioModel & model, Backend & backend)
    : model_(model), backend_(backend),
      runner_(std::make_unique<GraphRunner>(backend, (size_t)(256 * model.n_layer() + 256))) {}

AudioEncoder::~AudioEncoder() = default;

int64_t AudioEncoder::n_tokens(int64_t n_frames, bool end) const {
    if (model_.projector() == GA_PROJECTOR_GEMMA4UA) {
        return n_frames;
    }
    // Token t stands on frames 4t - 3 ... 4t + 3.
    return end ? ceil_half(ceil_half(n_frames)) : n_frames / 4;
}

// Each piece is cut into parts; a round takes the next part of every piece, so that a part finds its state moved on.
void AudioEncoder::encode(std::vector<EncoderPiece> & pieces) {
    const bool conformer = model_.projector() == GA_PROJECTOR_GEMMA4A;
    const int64_t frame_width = model_.frame_width();
    const int64_t max_tokens = backend_.is_cpu() ? kMaxTokens : kMaxTokensGpu;

    // Frames carried and new, in one run each.
    struct Window {
        std::vector<float> frames;
        int64_t first_frame = 0;
        int64_t n_frames = 0;
        int64_t n_tokens = 0; // of the clip, when this call is done
    };
    std::vector<Window> windows(pieces.size());
    for (size_t i = 0; i < pieces.size(); i++) {
        EncoderPiece & piece = pieces[i];
        Window & window = windows[i];
        window.first_frame = conformer ? std::max<int64_t>(0, 4 * piece.state->n_tokens - 3) : piece.state->n_tokens;
        window.frames = std::move(piece.state->frames);
        window.frames.insert(window.frames.end(), piece.frames, piece.frames + piece.n_frames * (size_t)frame_width);
        window.n_frames = static_cast<int64_t>(window.frames.size()) / frame_width;
        window.n_tokens = n_tokens(window.first_frame + window.n_frames, piece.end);
    }

    for (bool more = true; more;) {
        more = false;
        std::vector<EncoderPart> group;
        int64_t n_group = 0;
        for (size_t i = 0; i < pieces.size(); i++) {
            const Window & window = windows[i];
            EncoderPart part;
            part.piece = &pieces[i];
            part.frames = window.frames.data();
            part.first_frame = window.first_frame;
            part.n_frames = window.n_frames;
            part.end = pieces[i].end;
            part.first = pieces[i].state->n_tokens;
            part.n = std::min(window.n_tokens - part.first, max_tokens);
            if (part.n <= 0) {
                continue;
            }
            more = true;
            if (n_group + part.n > max_tokens) {
                encode_group(group);
                group.clear();
                n_group = 0;
            }
            n_group += part.n;
            group.push_back(part);
        }
        if (!group.empty()) {
            encode_group(group);
        }
    }

    for (size_t i = 0; i < pieces.size(); i++) {
        const Window & window = windows[i];
        const int64_t keep = conformer ? std::max<int64_t>(0, 4 * pieces[i].state->n_tokens - 3) : window.n_tokens;
        const int64_t skip = std::min(keep - window.first_frame, window.n_frames);
        pieces[i].state->frames.assign(window.frames.begin() + (std::ptrdiff_t)(skip * frame_width),
                                       window.frames.end());
    }
}

void AudioEncoder::encode_group(std::vector<EncoderPart> & parts) {
    const int64_t width = model_.width();
    runner_->begin();
    EncoderGraph graph(model_, *runner_, parts, plain_ops_ || !backend_.is_cpu());
    ggml_tensor * encoded = nullptr;
    std::vector<float> raw; // gemma4ua: the parts' frames
    if (model_.projector() == GA_PROJECTOR_GEMMA4A) {
        encoded = graph.encode();
    } else {
        for (const EncoderPart & part : parts) {
            const float * frames = part.frames + (part.first - part.first_frame) * model_.frame_width();
            raw.insert(raw.end(), frames, frames + part.n * model_.frame_width());
        }
        encoded = runner_->input_view(GGML_TYPE_F32, model_.frame_width(), graph.n_rows(), 1, 1, raw.data(), "samples");
    }
    ggml_tensor * embeddings = graph.project(encoded);
    runner_->output(embeddings, true);
    if (raw.empty()) {
        // Whether anyone reads it or not: ggml keeps its memory plan from one graph to the next of the same shape, and a
        // plan made without this output would let later nodes write over it.
        runner_->output(encoded, true);
    }
    runner_->compute();
    if (model_.weights().bytes_mapped() > 0) {
        model_.weights().check_file();
    }

    int64_t row = 0;
    for (size_t p = 0; p < parts.size(); p++) {
        EncoderPart & part = parts[p];
        append_rows(*runner_, embeddings, row, part.n, *part.piece->embeddings);
        if (part.piece->encoder_out && raw.empty()) {
            append_rows(*runner_, encoded, row, part.n, *part.piece->encoder_out);
        } else if (part.piece->encoder_out) {
            const auto begin = raw.begin() + (std::ptrdiff_t)(row * model_.frame_width());
            const auto end = begin + (std::ptrdiff_t)(part.n * model_.frame_width());
            part.piece->encoder_out->insert(part.piece->encoder_out->end(), begin, end);
        }
        row += part.n;

        EncoderState & state = *part.piece->state;
        state.n_tokens += part.n;
        state.layers.resize((size_t)(static_cast<int64_t>(graph.carried().size()) * kPastRows * width));
        float * out = state.layers.data();
        for (const PastRows & layer : graph.carried()) {
            for (const auto & [tensor, n] : {std::pair(layer.k, kPast), {layer.v, kPast}, {layer.glu, kConvPast}}) {
                const size_t n_bytes = (size_t)n * tensor->nb[1];
                runner_->read(tensor, out, p * n_bytes, n_bytes);
                out += n * width;
            }
        }
    }
}

} // namespace ga
