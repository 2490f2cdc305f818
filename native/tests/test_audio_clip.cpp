// Clips: samples in, embeddings out; refused calls, cancelled ones, and damaged files.
#include "audio/audio_clip.h"

#include "audio_file.h"

using namespace testing;

namespace {

template <typename Call> std::optional<ga_status> status_of(Call call, std::string * message = nullptr) {
    try {
        call();
    } catch (const ga::Error & error) {
        if (message) {
            *message = error.what();
        }
        return error.status();
    }
    return std::nullopt;
}

std::vector<float> random_samples(size_t n, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0.0f, 0.1f);
    std::vector<float> samples(n);
    std::generate(samples.begin(), samples.end(), [&] { return normal(random); });
    return samples;
}

std::vector<float> embeddings_of(const ga::AudioClip & clip, const ga::AudioModel & model) {
    std::vector<float> values(clip.count() * static_cast<size_t>(model.n_embd_out()));
    clip.read(0, 0, clip.count(), values.data());
    return values;
}

void test_clips() {
    for (const bool raw : {false, true}) {
        Shape shape;
        shape.raw = raw;
        Engine engine(write_gguf(random_model(shape, 400)));
        ga::Timings timings;
        // Token counts: (samples, gemma4a, gemma4ua).
        const size_t counts[][3] = {{0, 0, 0},   {1, 0, 1},   {160, 0, 1},     {161, 1, 1},     {640, 1, 1},
                                    {641, 1, 2}, {801, 2, 2}, {16000, 25, 25}, {16001, 25, 26}, {480000, 750, 750}};
        for (const auto & count : counts) {
            ga::AudioClip clip(engine.encoder, timings);
            const std::vector<float> samples = random_samples(count[0], 1);
            clip.push(samples.data(), samples.size());
            clip.finish();
            CHECK(clip.count() == count[raw ? 2 : 1], "%zu samples: %zu tokens", count[0], clip.count());
        }
        CHECK(timings.n_samples == 160 + 161 + 640 + 641 + 801 + 16000 + 16001 + 480000 + 1, "%zu",
              static_cast<size_t>(timings.n_samples));

        // Any slicing of the samples, alone and in a batch with others.
        const std::vector<float> samples = random_samples(70001, 2);
        ga::AudioClip whole(engine.encoder, timings);
        whole.keep_encoder();
        whole.push(samples.data(), samples.size());
        whole.finish();
        const std::vector<float> expected = embeddings_of(whole, engine.model);
        std::vector<float> inner(static_cast<size_t>(engine.model.n_encoder_out()));
        whole.read(1, whole.count() - 1, 1, inner.data());
        std::mt19937 random(3);
        for (const size_t largest : {700, 1280, 5000, 40000}) {
            ga::AudioClip sliced(engine.encoder, timings), other(engine.encoder, timings);
            for (size_t at = 0; at < samples.size();) {
                const size_t n = std::min<size_t>(random() % (largest + 1), samples.size() - at);
                if (other.finished()) {
                    sliced.push(samples.data() + at, n);
                } else {
                    ga::AudioClip::push_batch({{&other, samples.data(), largest, random() % 8 == 0},
                                               {&sliced, samples.data() + at, n, false}});
                }
                at += n;
            }
            sliced.finish();
            const double difference = largest_difference(expected, embeddings_of(sliced, engine.model));
            CHECK(difference < 1e-5, "slices up to %zu: %g", largest, difference);
        }

        // What the interface forbids.
        ga::AudioClip clip(engine.encoder, timings);
        const auto refused = std::optional<ga_status>(GA_ERROR_INVALID_ARGUMENT);
        for (const float bad : {NAN, INFINITY, -INFINITY}) {
            std::vector<float> broken = samples;
            broken[33333] = bad;
            CHECK(status_of([&] { clip.push(broken.data(), broken.size()); }) == refused, "%f", bad);
            CHECK(clip.count() == 0, "nothing was taken");
        }
        CHECK(status_of([&] {
                  ga::AudioClip::push_batch({{&clip, samples.data(), 1, false}, {&clip, samples.data(), 1, false}});
              }) == refused,
              "a clip twice");
        clip.push(samples.data(), samples.size());
        CHECK(status_of([&] { clip.keep_encoder(); }) == refused, "too late");
        CHECK(status_of([&] { clip.read(1, 0, 1, inner.data()); }) == refused, "not kept");
        CHECK(status_of([&] { clip.read(0, clip.count(), 1, inner.data()); }) == refused, "past the end");
        CHECK(status_of([&] { clip.read(0, 1, SIZE_MAX, inner.data()); }) == refused, "past the end");
        CHECK(status_of([&] { clip.read(2, 0, 0, inner.data()); }) == refused, "no such stage");
        clip.finish();
        CHECK(status_of([&] { clip.push(samples.data(), 1); }) == refused, "finished");
        CHECK(status_of([&] { clip.finish(); }) == refused, "finished");
        CHECK(largest_difference(expected, embeddings_of(clip, engine.model)) < 1e-5, "refused calls changed nothing");
    }
}

// A push that is cancelled half-way can be made again.
void test_cancel() {
    int calls_left = 1 << 30;
    Shape shape;
    shape.layers = 3;
    Engine engine(write_gguf(random_model(shape, 500)), [&] { return calls_left-- <= 0; });
    ga::Timings timings;
    const std::vector<float> samples = random_samples(16000 * 100, 501); // several graphs
    ga::AudioClip plain(engine.encoder, timings), cancelled(engine.encoder, timings);
    plain.push(samples.data(), samples.size());
    plain.finish();
    cancelled.push(samples.data(), 12345);
    int n_cancelled = 0;
    for (const int calls : {0, 1, 2, 3, 5}) {
        calls_left = calls;
        const size_t before = cancelled.count();
        const auto status = status_of([&] { cancelled.push(samples.data() + 12345, samples.size() - 12345); });
        if (!status) {
            break; // so fast that the check was not asked that often
        }
        n_cancelled++;
        CHECK(status == GA_ERROR_CANCELLED && cancelled.count() == before, "%d calls", calls);
    }
    CHECK(n_cancelled > 0, "never cancelled");
    calls_left = 1 << 30;
    if (n_cancelled == 5) {
        cancelled.push(samples.data() + 12345, samples.size() - 12345);
    }
    cancelled.finish();
    const double difference =
        largest_difference(embeddings_of(plain, engine.model), embeddings_of(cancelled, engine.model));
    CHECK(difference < 1e-5, "%g", difference);
}

void test_damaged_files() {
    const auto refused = [](const char * what, ga_status expected, const std::string & named,
                            const std::function<void(Model &)> & damage, bool raw = false) {
        Shape shape;
        shape.raw = raw;
        Model model = random_model(shape, 601); // (odd: clip.audio.projector_type)
        damage(model);
        const std::string path = write_gguf(model);
        std::string message;
        const auto status = status_of([&] { Engine engine(path); }, &message);
        CHECK(status == expected, "%s: status %d, %s", what, status ? static_cast<int>(*status) : 0, message.c_str());
        CHECK(message.find(named) != std::string::npos && message.find(path) != std::string::npos, "%s: %s", what,
              message.c_str());
    };
    // Every tensor that must be there.
    const Model intact = random_model(Shape(), 601);
    for (const auto & entry : intact.tensors) {
        const std::string & name = entry.first;
        const bool matrix = entry.second.ne.size() > 1 && name.rfind("v.", 0) != 0;
        if (matrix && name.find("attn_k_rel") == std::string::npos && name != "a.pre_encode.out.weight") {
            refused("missing", GA_ERROR_FORMAT, name, [&](Model & m) { m.tensors.erase(name); });
        }
        if (name.rfind("v.", 0) == 0 || name.find("put_m") != std::string::npos) {
            continue; // vision; clamps
        }
        // Not the extent by which the others are judged.
        if (name == "mm.a.input_projection.weight" || name == "a.blk.0.per_dim_scale.weight") {
            continue;
        }
        refused("longer rows", GA_ERROR_FORMAT, "has shape", [&](Model & m) {
            Tensor & t = m.tensors[name];
            t.data.resize(t.data.size() / static_cast<size_t>(t.ne[0]) * static_cast<size_t>(t.ne[0] + 2));
            t.ne[0] += 2;
        });
        refused("one dimension more", GA_ERROR_FORMAT, "has shape", [&](Model & m) {
            Tensor & t = m.tensors[name];
            while (t.ne.size() < 4) {
                t.ne.push_back(1);
            }
            t.data.resize(t.data.size() * 2);
            t.ne[3] *= 2;
        });
    }
    const std::string out = "a.pre_encode.out.weight";
    refused("output missing", GA_ERROR_FORMAT, out, [&](Model & m) { m.tensors.erase(out); });
    refused("scalar with two values", GA_ERROR_FORMAT, "a.blk.1.attn_q.input_max",
            [](Model & m) { m.tensors["a.blk.1.attn_q.input_max"] = {{2}, {1.0f, 1.0f}}; });
    refused("NaN bound", GA_ERROR_FORMAT, "a.blk.1.attn_q",
            [](Model & m) { m.tensors["a.blk.1.attn_q.input_max"] = {{1}, {NAN}}; });
    refused("crossed bounds", GA_ERROR_FORMAT, "a.blk.0.ffn_up_1", [](Model & m) {
        m.tensors["a.blk.0.ffn_up_1.output_min"] = {{1}, {2.0f}};
        m.tensors["a.blk.0.ffn_up_1.output_max"] = {{1}, {1.0f}};
    });
    refused("heads", GA_ERROR_FORMAT, "head_count", [](Model & m) { m.ints["clip.audio.attention.head_count"] = 5; });
    refused("zero heads", GA_ERROR_FORMAT, "head_count", [](Model & m) {
        m.ints["clip.audio.attention.head_count"] = 0;
        m.tensors.erase("a.blk.0.per_dim_scale.weight");
    });
    refused("fewer layers", GA_ERROR_FORMAT, "block_count", [](Model & m) { m.ints["clip.audio.block_count"] = 1; });
    refused("more layers", GA_ERROR_FORMAT, "block_count",
            [](Model & m) { m.ints["clip.audio.block_count"] = 4000000000u; });
    refused("a layer far away", GA_ERROR_FORMAT, "audio layers", [](Model & m) {
        m.tensors["a.blk.99999999999999999999.ln2.weight"] = {{32}, std::vector<float>(32, 1.0f)};
    });
    refused("architecture", GA_ERROR_UNSUPPORTED, "llama",
            [](Model & m) { m.strings["general.architecture"] = "llama"; });
    refused("projector", GA_ERROR_UNSUPPORTED, "ultravox",
            [](Model & m) { m.strings["clip.audio.projector_type"] = "ultravox"; });
    refused("no projector", GA_ERROR_FORMAT, "projector_type",
            [](Model & m) { m.strings.erase("clip.audio.projector_type"); });
    refused("unknown term", GA_ERROR_UNSUPPORTED, "a.conv1d.0.bias",
            [](Model & m) { m.tensors["a.conv1d.0.bias"] = {{8}, std::vector<float>(8, 1.0f)}; });
    refused(
        "raw frames of another size", GA_ERROR_FORMAT, "mm.a.input_projection.weight",
        [](Model & m) { m.tensors["mm.a.input_projection.weight"] = {{320, 24}, std::vector<float>(320 * 24, 0.0f)}; },
        true);
}

} // namespace

int main() {
    test_clips();
    test_cancel();
    test_damaged_files();
    remove_files();
    std::printf("%d checks failed\n", failures);
    return failures ? 1 : 0;
}
