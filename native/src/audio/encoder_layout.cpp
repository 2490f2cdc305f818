#include "audio/encoder_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ga {

namespace {

constexpr int64_t kMaxBlock = 24; // queries of a block: it computes block + 11 keys for each, 12 of them used

} // namespace

EncoderLayout make_layout(const std::vector<EncoderPart> & parts) {
    EncoderLayout layout;
    layout.n_parts = static_cast<int64_t>(parts.size());
    for (const EncoderPart & part : parts) {
        layout.n_rows += part.n;
        layout.n_slots += part.n + 1;
        layout.block = std::max(layout.block, part.n);
    }
    layout.n_slots -= 1;
    layout.block = std::min(layout.block, kMaxBlock);
    layout.n_keys = layout.block + kPast;

    const auto row32 = [](int64_t row) { return static_cast<int32_t>(row); };
    int64_t row = 0, slot = 0, conv = 0;
    for (int64_t p = 0; p < layout.n_parts; p++) {
        const int64_t n = parts[(size_t)p].n;
        // Row of token t of this part in (past of all parts, new rows); t < 0: in the past.
        const auto key_row = [&](int64_t t, int64_t past) {
            return row32(t < 0 ? p * past + past + t : layout.n_parts * past + row + t);
        };
        for (int64_t start = 0; start < n; start += layout.block) {
            const int64_t base = static_cast<int64_t>(layout.query_rows.size());
            for (int64_t i = 0; i < layout.block; i++) {
                const int64_t t = start + i;
                layout.query_rows.push_back(row32(t < n ? row + t : 0));
                if (t < n) {
                    layout.out_rows.push_back(row32(base + i));
                }
                for (int64_t k = 0; k < layout.n_keys; k++) {
                    const int64_t key = start - kPast + k;
                    const bool seen = key <= t && key >= t - kPast && key + parts[(size_t)p].first >= 0;
                    layout.mask.push_back(seen || (t >= n && k == 0) ? 0.0f : -INFINITY);
                }
            }
            for (int64_t k = 0; k < layout.n_keys; k++) {
                layout.key_rows.push_back(key_row(std::min(start - kPast + k, n - 1), kPast));
            }
            layout.n_blocks++;
        }
        for (int64_t t = -kConvPast; t < n; t++) {
            layout.conv_rows.push_back(key_row(t, kConvPast));
        }
        for (int64_t t = 0; t < n; t++) {
            layout.slot_rows.push_back(row32(slot + t));
            layout.conv_out.push_back(row32(conv + t));
        }
        for (int64_t t = n - kPast; t < n; t++) {
            layout.keep_kv.push_back(key_row(t, kPast));
        }
        for (int64_t t = n - kConvPast; t < n; t++) {
            layout.keep_conv.push_back(key_row(t, kConvPast));
        }
        row += n;
        slot += n + 1;
        conv += n + kConvPast;
    }
    return layout;
}

FrameRows frame_rows(const std::vector<EncoderPart> & parts, const EncoderLayout & layout, int64_t n_mel) {
    FrameRows rows((size_t)(2 * layout.n_slots + 2), {nullptr, nullptr, nullptr});
    int64_t slot = 0;
    for (const EncoderPart & part : parts) {
        const int64_t n_total = part.first_frame + part.n_frames;
        for (int64_t r = 0; r < 2 * part.n + 1; r++) {
            const int64_t i = 2 * part.first - 1 + r; // number of the row in the clip
            if (i < 0 || (part.end && i >= ceil_half(n_total))) {
                continue;
            }
            for (int64_t time = 0; time < 3; time++) {
                const int64_t frame = 2 * i - 1 + time;
                if (frame >= 0 && frame < n_total) {
                    rows[(size_t)(2 * slot + r)][(size_t)time] = part.frames + (frame - part.first_frame) * n_mel;
                }
            }
        }
        slot += part.n + 1;
    }
    return rows;
}

std::vector<float> mel_patches(const FrameRows & rows, int64_t n_mel) {
    const int64_t n_out = n_mel / 2; // positions along mel
    const int64_t row_size = (n_out + 1) * 9;
    std::vector<float> patches(rows.size() * (size_t)row_size, 0.0f);
    for (size_t row = 0; row < rows.size(); row++) {
        for (int64_t time = 0; time < 3; time++) {
            const float * mel = rows[row][(size_t)time];
            for (int64_t j = 0; mel && j < n_out; j++) {
                float * patch = patches.data() + (int64_t)row * row_size + (j + 1) * 9 + time * 3;
                patch[0] = j > 0 ? mel[2 * j - 1] : 0.0f;
                patch[1] = mel[2 * j];
                patch[2] = mel[2 * j + 1];
            }
        }
    }
    return patches;
}

std::vector<float> gather_past(const std::vector<EncoderPart> & parts, int64_t n_layer, int64_t width) {
    const int64_t n_parts = static_cast<int64_t>(parts.size());
    std::vector<float> past((size_t)(n_layer * n_parts * kPastRows * width), 0.0f);
    float * out = past.data();
    for (int64_t layer = 0; layer < n_layer; layer++) {
        int64_t first = 0; // row in the layer's part of a state
        for (const int64_t n : {kPast, kPast, kConvPast}) {
            for (const EncoderPart & part : parts) {
                const std::vector<float> & state = part.piece->state->layers;
                if (!state.empty()) {
                    std::memcpy(out, state.data() + (layer * kPastRows + first) * width,
                                (size_t)(n * width) * sizeof(float));
                }
                out += n * width;
            }
            first += n;
        }
    }
    return past;
}

std::vector<RowRun> row_runs(const std::vector<EncoderPart> & parts) {
    std::vector<RowRun> runs;
    int64_t row = 0;
    for (const EncoderPart & part : parts) {
        runs.push_back({row, part.n, part.first});
        row += part.n;
    }
    return runs;
}

} // namespace ga
