// Sessions on small random text models: what must not change a result does not (skipped rows, batches of sequences, cut
// batches, rewinding), what cannot work is an error that leaves the session usable.
#include "session_tools.h"

#include <chrono>
#include <thread>

using namespace testing;
using namespace ga;

namespace {

std::vector<float> prompt_logits(Engine & engine, bool skip, int n_batch, bool all_rows) {
    Session session(engine, session_options(1, skip, n_batch));
    const auto before = some_tokens(3, 1), after = some_tokens(5, 2);
    const auto audio = some_embeddings(20, engine.text().n_embd, 3);
    session.forward({tokens_of(before, all_rows ? 3 : 0),
                     {0, 20, nullptr, audio.data(), all_rows ? 20 : 0},
                     tokens_of(after, all_rows ? 5 : 1)});
    CHECK(session.n_logits() == (all_rows ? 28u : 1u), "%zu rows of logits", session.n_logits());
    CHECK(session.length(0) == 28, "length %d", session.length(0));
    return logits_of(session, session.n_logits() - 1, engine.text().n_vocab);
}

void test_skipping_and_cutting_change_nothing(const TextShape & shape, const char * name) {
    const TempFile file("session.gguf");
    testing::write_text_model(shape, file.path());
    Engine engine(file.path(), "", engine_options());
    const auto truth = prompt_logits(engine, false, 0, true);
    for (const bool all_rows : {false, true}) {
        for (const bool skip : {false, true}) {
            for (const int n_batch : {0, 7, 1}) {
                const float d = distance(truth, prompt_logits(engine, skip, n_batch, all_rows));
                CHECK(d < kSame, "%s: skip %d, batch %d, all rows %d: off by %g", name, skip, n_batch, all_rows,
                      (double)d);
            }
        }
    }
    const float spread = *std::max_element(truth.begin(), truth.end()) - *std::min_element(truth.begin(), truth.end());
    CHECK(spread > 0.1f, "%s: the logits are all alike", name);
}

void test_several_sequences_as_one_by_one() {
    const TempFile file("sequences.gguf");
    testing::write_text_model({}, file.path());
    Engine engine(file.path(), "", engine_options());
    const int n_vocab = engine.text().n_vocab;
    const int lengths[] = {4, 17, 9};
    std::vector<std::vector<int32_t>> prompts;
    std::vector<std::vector<float>> truth;
    for (int i = 0; i < 3; i++) {
        prompts.push_back(some_tokens(lengths[i], 10 + (unsigned)i));
        Session alone(engine, session_options());
        alone.forward({tokens_of(prompts.back(), 1)});
        alone.forward({tokens_of({prompts.back().begin(), prompts.back().begin() + 1}, 1)});
        truth.push_back(logits_of(alone, 0, n_vocab));
    }
    Session together(engine, session_options(3));
    together.forward({tokens_of(prompts[2], 0, 2), tokens_of(prompts[0], 0, 0), tokens_of(prompts[1], 0, 1)});
    const std::vector<int32_t> next = {prompts[0][0], prompts[1][0], prompts[2][0]};
    together.forward({{0, 1, &next[0], nullptr, 1}, {1, 1, &next[1], nullptr, 1}, {2, 1, &next[2], nullptr, 1}});
    for (size_t i = 0; i < 3; i++) {
        const float d = distance(truth[i], logits_of(together, i, n_vocab));
        CHECK(d < kSame, "sequence %zu: off by %g", i, (double)d);
    }
}

void test_rewind() {
    const TempFile file("rewind.gguf");
    testing::write_text_model({}, file.path());
    Engine engine(file.path(), "", engine_options());
    Session session(engine, session_options());
    const auto prompt = some_tokens(12, 1), wrong = some_tokens(9, 2), right = some_tokens(6, 3);
    session.forward({tokens_of(prompt, 0), tokens_of(right, 1)});
    const auto truth = logits_of(session, 0, engine.text().n_vocab);
    session.rewind(0, 0);
    session.forward({tokens_of(prompt, 0), tokens_of(wrong, 9)});
    session.rewind(0, 12);
    session.forward({tokens_of(right, 1)});
    CHECK(distance(truth, logits_of(session, 0, engine.text().n_vocab)) < kSame, "what was rewound is remembered");
    CHECK(thrown([&] { session.rewind(0, 19); }) == GA_ERROR_INVALID_ARGUMENT, "a rewind into the future");
    CHECK(thrown([&] { session.rewind(1, 0); }) == GA_ERROR_INVALID_ARGUMENT, "no such sequence");
}

void test_copied_beginning() {
    const TempFile file("copy.gguf");
    testing::write_text_model({}, file.path());
    Engine engine(file.path(), "", engine_options());
    Session session(engine, session_options(3));
    const auto prompt = some_tokens(12, 1), other = some_tokens(20, 2), rest = some_tokens(6, 3);
    session.forward({tokens_of(prompt, 0), tokens_of(other, 0, 2)});
    session.copy(0, 2, 12); // over what was there
    session.copy(0, 1, 7);
    CHECK(session.length(0) == 12 && session.length(1) == 7 && session.length(2) == 12, "lengths after copies");
    session.forward({tokens_of(rest, 1)});
    const auto truth = logits_of(session, 0, engine.text().n_vocab);
    session.forward({tokens_of(rest, 1, 2)});
    CHECK(distance(truth, logits_of(session, 0, engine.text().n_vocab)) < kSame, "a copy is not what it was made from");
    session.forward({tokens_of({prompt.begin() + 7, prompt.end()}, 0, 1), tokens_of(rest, 1, 1)});
    CHECK(distance(truth, logits_of(session, 0, engine.text().n_vocab)) < kSame, "part of a beginning");
    CHECK(thrown([&] { session.copy(0, 1, 19); }) == GA_ERROR_INVALID_ARGUMENT, "more than there is");
    CHECK(thrown([&] { session.copy(0, 3, 1); }) == GA_ERROR_INVALID_ARGUMENT, "no such sequence");
    CHECK(thrown([&] { session.copy(-1, 1, 0); }) == GA_ERROR_INVALID_ARGUMENT, "no such sequence");
}

void test_generate_equals_single_steps() {
    const TempFile file("generate.gguf");
    testing::write_text_model({}, file.path(), 5);
    Engine engine(file.path(), "", engine_options());
    std::vector<std::vector<int32_t>> truth(2);
    const std::vector<std::vector<int32_t>> prompts = {some_tokens(7, 1), some_tokens(3, 2)};
    for (size_t i = 0; i < 2; i++) {
        Session session(engine, session_options());
        session.forward({tokens_of(prompts[i], 1)});
        int32_t token = session.sample(0, 0, nullptr);
        for (int step = 0; step < 10 && !engine.vocab().is_end(token); step++) {
            truth[i].push_back(token);
            session.forward({{0, 1, &token, nullptr, 1}});
            token = session.sample(0, 0, nullptr);
        }
    }
    Session session(engine, session_options(2));
    session.forward({tokens_of(prompts[0], 1, 0), tokens_of(prompts[1], 1, 1)});
    ga_generation generations[2] = {};
    std::vector<std::vector<int32_t>> found(2);
    for (int i = 0; i < 2; i++) {
        generations[i] = {i, session.sample(i, (size_t)i, nullptr), 9, GA_STOP_RUNNING, 0};
        found[(size_t)i].push_back(generations[i].next_token);
    }
    session.generate(generations, 2, false, [&](size_t index, int32_t token, float logprob) {
        CHECK(logprob <= 0, "a probability above 1");
        found[index].push_back(token);
        return 0;
    });
    for (size_t i = 0; i < 2; i++) {
        found[i].resize(std::min(found[i].size(), truth[i].size()));
        CHECK(found[i] == truth[i], "generation %zu differs from single steps", i);
        CHECK(generations[i].stop != GA_STOP_RUNNING, "generation %zu still runs", i);
    }
    ga_generation twice[2] = {{0, 9, 3, GA_STOP_RUNNING, 0}, {0, 9, 3, GA_STOP_RUNNING, 0}};
    CHECK(thrown([&] { session.generate(twice, 2, false, nullptr); }) == GA_ERROR_INVALID_ARGUMENT,
          "two generations on one sequence");
}

void test_errors_leave_the_session_usable() {
    const TempFile file("errors.gguf");
    testing::write_text_model({}, file.path());
    Quiet state;
    Engine engine(file.path(), "", engine_options(&state));
    Session session(engine, session_options());
    const auto prompt = some_tokens(10, 1);
    session.forward({tokens_of(prompt, 1)});
    const auto truth = logits_of(session, 0, engine.text().n_vocab);
    session.rewind(0, 0);

    const auto long_prompt = some_tokens(65, 2);
    CHECK(thrown([&] { session.forward({tokens_of(long_prompt, 0)}); }) == GA_ERROR_CONTEXT_FULL, "more than n_ctx");
    CHECK(thrown([&] { session.forward({tokens_of({99999}, 1)}); }) == GA_ERROR_INVALID_ARGUMENT, "no such token");
    CHECK(thrown([&] { session.forward({tokens_of({-1}, 1)}); }) == GA_ERROR_INVALID_ARGUMENT, "a negative token");
    CHECK(thrown([&] { session.forward({tokens_of(prompt, 11)}); }) == GA_ERROR_INVALID_ARGUMENT,
          "more logits than rows");
    CHECK(thrown([&] { session.forward({{0, 1, nullptr, nullptr, 0}}); }) == GA_ERROR_INVALID_ARGUMENT, "no source");
    CHECK(thrown([&] { session.forward({tokens_of(prompt, 0, 1)}); }) == GA_ERROR_INVALID_ARGUMENT, "no such sequence");
    CHECK(thrown([&] { session.sample(0, 0, nullptr); }) == GA_ERROR_INVALID_ARGUMENT, "no logits to sample from");
    std::this_thread::sleep_for(std::chrono::milliseconds(25)); // the cancel callback is asked every 20 ms
    state.cancel = 1;
    CHECK(thrown([&] { session.forward({tokens_of(prompt, 1)}); }) == GA_ERROR_CANCELLED, "not cancelled");
    CHECK(session.length(0) == 0, "a failed forward changed the length to %d", session.length(0));
    state.cancel = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
    session.forward({tokens_of(prompt, 1)});
    CHECK(distance(truth, logits_of(session, 0, engine.text().n_vocab)) < kSame, "not as before the errors");
}

void test_sampling() {
    const TempFile file("sampling.gguf");
    testing::write_text_model({}, file.path());
    Engine engine(file.path(), "", engine_options());
    Session session(engine, session_options());
    session.forward({tokens_of(some_tokens(5, 1), 1)});
    const auto row = logits_of(session, 0, engine.text().n_vocab);
    const int32_t best = (int32_t)(std::max_element(row.begin(), row.end()) - row.begin());
    float logprob = 0;
    CHECK(session.sample(0, 0, &logprob) == best, "greedy does not take the best");
    double sum = 0;
    for (const float v : row) {
        sum += std::exp((double)v - row[(size_t)best]);
    }
    CHECK(std::abs(logprob + std::log(sum)) < 1e-4, "log-probability %g, expected %g", (double)logprob, -std::log(sum));

    ga_sampler_options options;
    ga_sampler_defaults(&options);
    options.grammar = "root ::= \"c\" \"d\"";
    session.set_sampler(0, options);
    CHECK(engine.vocab().bytes(session.sample(0, 0, nullptr), false) == "c", "the grammar is not obeyed");
    options.grammar = "root ::= (";
    CHECK(thrown([&] { session.set_sampler(0, options); }) == GA_ERROR_INVALID_ARGUMENT, "a broken grammar");
    options.grammar = nullptr;
    options.temperature = 1;
    options.top_k = 1;
    session.set_sampler(0, options);
    CHECK(session.sample(0, 0, nullptr) == best, "top-k of 1 does not take the best");
    options.temperature = -1;
    CHECK(thrown([&] { session.set_sampler(0, options); }) == GA_ERROR_INVALID_ARGUMENT, "a negative temperature");
}

void test_damaged_models() {
    const TempFile file("damaged.gguf");
    const auto open = [&](std::string * text) {
        return thrown([&] { Engine engine(file.path(), "", engine_options()); }, text);
    };
    const auto expect = [&](ga_status status, const char * word, const testing::Edit & edit) {
        testing::write_text_model({}, file.path(), 1, edit);
        std::string text;
        const ga_status found = open(&text);
        CHECK(found == status && text.find(word) != std::string::npos, "status %d, expected %d naming %s: %s", found,
              status, word, text.c_str());
    };
    expect(GA_ERROR_UNSUPPORTED, "llama",
           [](gguf_context * g) { gguf_set_val_str(g, "general.architecture", "llama"); });
    expect(GA_ERROR_FORMAT, "block_count", [](gguf_context * g) { gguf_remove_key(g, "gemma4.block_count"); });
    expect(GA_ERROR_FORMAT, "per_layer_token_embd", [](gguf_context * g) {
        gguf_set_val_u32(g, "gemma4.block_count", 7);
        const int8_t pattern[7] = {1, 0, 1, 0, 1, 0, 0};
        gguf_set_arr_data(g, "gemma4.attention.sliding_window_pattern", GGUF_TYPE_BOOL, pattern, 7);
    });
    expect(GA_ERROR_FORMAT, "attn_q", [](gguf_context * g) { gguf_set_val_u32(g, "gemma4.attention.head_count", 4); });
    expect(GA_ERROR_FORMAT, "head_count",
           [](gguf_context * g) { gguf_set_val_u32(g, "gemma4.attention.head_count", 0); });
    expect(GA_ERROR_FORMAT, "ffn_gate",
           [](gguf_context * g) { gguf_set_val_u32(g, "gemma4.feed_forward_length", 65); });
    expect(GA_ERROR_FORMAT, "token_embd", [](gguf_context * g) { gguf_set_val_u32(g, "gemma4.embedding_length", 64); });
    expect(GA_ERROR_FORMAT, "shared_kv_layers",
           [](gguf_context * g) { gguf_set_val_u32(g, "gemma4.attention.shared_kv_layers", 6); });
    expect(GA_ERROR_FORMAT, "own",
           [](gguf_context * g) { gguf_set_val_u32(g, "gemma4.attention.shared_kv_layers", 5); });
    expect(GA_ERROR_FORMAT, "per_layer_token_embd",
           [](gguf_context * g) { gguf_set_val_u32(g, "gemma4.embedding_length_per_layer_input", 16); });
    expect(GA_ERROR_FORMAT, "epsilon",
           [](gguf_context * g) { gguf_set_val_f32(g, "gemma4.attention.layer_norm_rms_epsilon", NAN); });
    expect(GA_ERROR_FORMAT, "merges", [](gguf_context * g) { gguf_remove_key(g, "tokenizer.ggml.merges"); });
    expect(GA_ERROR_FORMAT, "bos_token_id",
           [](gguf_context * g) { gguf_set_val_u32(g, "tokenizer.ggml.bos_token_id", 64); });

    TextShape shape;
    shape.scale = NAN;
    testing::write_text_model(shape, file.path());
    Engine engine(file.path(), "", engine_options());
    Session session(engine, session_options());
    session.forward({tokens_of(some_tokens(3, 1), 1)});
    CHECK(thrown([&] { session.sample(0, 0, nullptr); }) == GA_ERROR_BACKEND, "NaN weights give a token");
    CHECK(thrown([&] { engine.encoder(); }) == GA_ERROR_INVALID_ARGUMENT, "hears without a projector");
}

} // namespace

int main() {
    ga_set_log(nullptr, nullptr);
    test_skipping_and_cutting_change_nothing({}, "ple, shared");
    TextShape shape;
    shape.ple = 0;
    shape.n_shared = 0;
    shape.v_is_k = true;
    shape.heads_kv = 2;
    test_skipping_and_cutting_change_nothing(shape, "no ple, not shared, V = K");
    shape = {};
    shape.fused_qkv = true;
    shape.n_shared = 4; // the smallest number of owning layers
    test_skipping_and_cutting_change_nothing(shape, "fused qkv");
    shape = {};
    shape.sliding = {0, 0};
    shape.n_shared = 1; // a single owning layer: no row but the wanted ones runs any layer
    test_skipping_and_cutting_change_nothing(shape, "one owning layer");
    test_several_sequences_as_one_by_one();
    test_rewind();
    test_copied_beginning();
    test_generate_equals_single_steps();
    test_errors_leave_the_session_usable();
    test_sampling();
    test_damaged_models();
    return testing::result();
}
