// The audio encoder against its definition on small random models; slicing, long clips, batches.
#include "audio_definition.h"

using namespace testing;

namespace {

std::vector<Shape> shapes() {
    std::vector<Shape> list(9);
    list[1].clamps = false;
    list[2].norms = false;
    list[2].rel = false;
    list[3].output = false;
    list[4].width = 48, list[4].heads = 3, list[4].layers = 3, list[4].ff = 80, list[4].c0 = 5, list[4].c1 = 3;
    list[5].raw = true;
    list[6].width = 64, list[6].heads = 1, list[6].ff = 256, list[6].type = GGML_TYPE_BF16;
    list[7].width = 64, list[7].ff = 128, list[7].type = GGML_TYPE_F16;
    list[8].width = 64, list[8].ff = 128, list[8].encoder_out = 96, list[8].type = GGML_TYPE_Q8_0;
    return list;
}

void test_definition(bool plain) {
    unsigned seed = 0;
    for (const Shape & shape : shapes()) {
        const Model model = random_model(shape, ++seed);
        Engine engine(write_gguf(model));
        engine.encoder.use_plain_ops(plain);
        CHECK(engine.model.n_embd_out() == shape.text, "projection_dim is not read");
        // Lengths around every edge of two strided convolutions, and around block sizes.
        for (const int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 9, 43, 44, 47, 48, 49, 50, 95, 97, 130, 257}) {
            const std::vector<float> frames = random_frames(n, engine.model.frame_width(), seed * 1000 + n);
            const Result ours = encode(engine, frames, 0, 0);
            Rows encoder_out;
            const std::vector<float> embeddings = flat(by_definition(model, frames, &encoder_out));
            const int64_t expected = shape.raw ? n : ((n + 1) / 2 + 1) / 2;
            CHECK(ours.embeddings.size() == static_cast<size_t>(expected * shape.text), "model %u, %d frames", seed,
                  (int)n);
            // ggml rounds activations to the type of the weights, or to 8 bits, and these errors add up over the layers. Our own
            // products round them too where the processor multiplies BF16.
            const bool rounds = shape.type == GGML_TYPE_BF16 && ga::audio_kernels() && ga::audio_kernels()->matmul_bf16;
            const bool exact = shape.type == GGML_TYPE_F32 || (own_kernels(shape, plain) && !rounds);
            const double bound = exact ? 2e-5 : shape.type == GGML_TYPE_Q8_0 ? 0.3 : 6e-2;
            const double difference = largest_difference(ours.embeddings, embeddings);
            CHECK(difference < bound, "model %u, %d frames: %g", seed, (int)n, difference);
            const double inner = largest_difference(ours.encoder_out, flat(encoder_out));
            CHECK(inner < bound, "model %u, %d frames, encoder: %g", seed, (int)n, inner);
            const double cosine = worst_cosine(ours.embeddings, embeddings, static_cast<size_t>(shape.text));
            CHECK(cosine > (exact ? 0.999999 : 0.998), "model %u, %d frames: %.8f", seed, (int)n, cosine);
        }
    }
}

// How much the same clip may differ, cut in another way. Our own kernels sum in the same order for any number of rows; ggml's do
// not, and round half-precision inputs; and Q8_0 products round theirs to 8 bits, which another order of a sum tips.
double slicing_bound(const Shape & shape, bool plain) {
    if (own_kernels(shape, plain)) {
        return 1e-6;
    }
    return shape.type == GGML_TYPE_F32 ? 2e-5 : shape.type == GGML_TYPE_Q8_0 ? 0.15 : 6e-2;
}

void test_slicing(bool plain) {
    unsigned seed = 100;
    for (const Shape & shape : shapes()) {
        Engine engine(write_gguf(random_model(shape, ++seed)));
        engine.encoder.use_plain_ops(plain);
        const std::vector<float> frames = random_frames(301, engine.model.frame_width(), seed);
        const Result whole = encode(engine, frames, 0, 0);
        for (const size_t largest : {1, 2, 3, 5, 8, 9, 16, 50, 120, 300}) {
            const Result sliced = encode(engine, frames, largest, seed + static_cast<unsigned>(largest));
            const double difference = largest_difference(whole.embeddings, sliced.embeddings);
            const double bound = slicing_bound(shape, plain);
            CHECK(difference <= bound, "model %u, slices up to %zu: %g", seed, largest, difference);
        }
    }
}

// More than one graph's worth of tokens in one call.
void test_long() {
    Engine engine(write_gguf(random_model(Shape(), 200)));
    const std::vector<float> frames = random_frames(7003, 128, 201);
    const Result whole = encode(engine, frames, 0, 0);
    const Result sliced = encode(engine, frames, 900, 1);
    CHECK(whole.embeddings.size() == 1751 * 24, "%zu", whole.embeddings.size());
    const double difference = largest_difference(whole.embeddings, sliced.embeddings);
    CHECK(difference < 1e-5, "%g", difference);
}

void test_batch(bool plain) {
    std::mt19937 random(300);
    unsigned seed = 300;
    for (const Shape & shape : shapes()) {
        Engine engine(write_gguf(random_model(shape, ++seed)));
        engine.encoder.use_plain_ops(plain);
        const size_t width = static_cast<size_t>(engine.model.frame_width());
        constexpr size_t n_clips = 5;
        std::vector<float> frames[n_clips], alone[n_clips], together[n_clips];
        ga::EncoderState states[n_clips];
        size_t at[n_clips] = {};
        bool ended[n_clips] = {};
        for (size_t c = 0; c < n_clips; c++) {
            frames[c] = random_frames(1 + random() % 400, engine.model.frame_width(), seed * 10 + c);
            alone[c] = encode(engine, frames[c], 0, 0).embeddings;
        }
        while (std::find(std::begin(ended), std::end(ended), false) != std::end(ended)) {
            std::vector<ga::EncoderPiece> pieces;
            for (size_t c = 0; c < n_clips; c++) {
                if (ended[c] || random() % 4 == 0) {
                    continue;
                }
                ga::EncoderPiece piece;
                piece.state = &states[c];
                piece.frames = frames[c].data() + at[c] * width;
                piece.n_frames = std::min<size_t>(random() % 100, frames[c].size() / width - at[c]);
                at[c] += piece.n_frames;
                piece.end = ended[c] = at[c] == frames[c].size() / width;
                piece.embeddings = &together[c];
                pieces.push_back(piece);
            }
            engine.encoder.encode(pieces);
        }
        for (size_t c = 0; c < n_clips; c++) {
            const double difference = largest_difference(alone[c], together[c]);
            const double bound = slicing_bound(shape, plain);
            CHECK(difference <= bound, "model %u, clip %zu: %g", seed, c, difference);
        }
    }
}

} // namespace

int main() {
    for (const bool plain : {false, true}) {
        test_definition(plain);
        test_slicing(plain);
        test_batch(plain);
    }
    test_long();
    remove_files();
    std::printf("%d checks failed\n", failures);
    return failures ? 1 : 0;
}
