// What devices do, done by the CPU: graphs that are kept from step to step, and tokens that are chosen within them.
#include "session_tools.h"

using namespace testing;
using namespace ga;

namespace {

// Steps with a kept graph beside steps whose graph is built anew: the same logits, and few graphs. Sequences come and go, are set
// back, and cross blocks of keys at different steps; damaged numbers must not come in from positions that nothing was written to.
void test_kept_graphs_change_nothing(const TextShape & shape, ga_kv_type kv, const char * name) {
    const TempFile file("kept.gguf");
    testing::write_text_model(shape, file.path());
    Engine engine(file.path(), "", engine_options());
    const int n_vocab = engine.text().n_vocab;
    ga_session_options options = session_options(3);
    options.n_ctx = 700; // no whole number of blocks
    options.kv_type = kv;
    Session plain(engine, options, false), kept(engine, options, true);
    const auto prompt = some_tokens(230, 3);
    float worst = 0;
    size_t n_steps = 0;
    const auto step = [&](const std::vector<int> & sequences) {
        std::vector<int32_t> next;
        std::vector<SessionInput> inputs;
        for (const int seq : sequences) {
            next.push_back((int32_t)((n_steps * 7 + (size_t)seq * 3) % (size_t)n_vocab));
        }
        for (size_t i = 0; i < next.size(); i++) {
            inputs.push_back({sequences[i], 1, &next[i], nullptr, 1});
        }
        plain.forward(inputs);
        kept.forward(inputs);
        for (size_t row = 0; row < sequences.size(); row++) {
            worst = std::max(worst, distance(logits_of(plain, row, n_vocab), logits_of(kept, row, n_vocab)));
        }
        n_steps++;
    };
    for (Session * session : {&plain, &kept}) {
        session->forward({tokens_of(prompt, 1, 0), tokens_of({prompt.begin(), prompt.begin() + 40}, 1, 1)});
    }
    const size_t before = kept.n_graphs_built();
    for (int i = 0; i < 60; i++) { // sequence 0 goes from 230 to 290
        step({0, 1});
    }
    const size_t two = kept.n_graphs_built() - before;
    CHECK(two >= 2 && two <= 4, "%s: %zu graphs for 60 steps of two sequences", name, two);
    for (int i = 0; i < 20; i++) {
        step({0, 1, 2}); // a third one, from nothing
    }
    for (Session * session : {&plain, &kept}) {
        session->rewind(0, 100);
        session->copy(1, 2, 50);
    }
    for (int i = 0; i < 20; i++) {
        step(i % 2 ? std::vector<int>{0, 2} : std::vector<int>{2, 0}); // in another order: another graph
    }
    for (int i = 0; i < 200; i++) {
        step({0});
    }
    // Kept graphs have ggml's products of floats, which sum in another order.
    CHECK(worst < 5 * kSame, "%s: off by %g", name, (double)worst);
    CHECK(kept.n_graphs_built() < n_steps / 6, "%s: %zu graphs for %zu steps", name, kept.n_graphs_built(), n_steps);
    CHECK(plain.n_graphs_built() >= n_steps, "%s: graphs were kept unasked", name);
    const float all = distance(logits_of(plain, 0, n_vocab), std::vector<float>((size_t)n_vocab, 0.0f));
    CHECK(all > 0.1f, "%s: the logits are all alike", name);
}

// Tokens chosen within the graph beside tokens chosen from logits: the same ones, with the same probabilities.
void test_picked_tokens_are_those_of_the_logits() {
    const TempFile file("picked.gguf");
    testing::write_text_model({}, file.path(), 3);
    Engine engine(file.path(), "", engine_options());
    const int n_vocab = engine.text().n_vocab;
    Session plain(engine, session_options(3), false), picking(engine, session_options(3), true);
    struct Found {
        std::vector<int32_t> tokens;
        std::vector<float> logprobs;
    };
    const auto answers = [&](Session & session, bool text_only, float temperature_of_one) {
        Found found;
        ga_sampler_options sampler = {};
        sampler.top_p = 1;
        sampler.text_only = text_only;
        std::vector<ga_generation> generations(3);
        for (int seq = 0; seq < 3; seq++) {
            sampler.temperature = seq == 1 ? temperature_of_one : 0;
            sampler.seed = 5;
            session.set_sampler(seq, sampler);
            session.rewind(seq, 0);
            const auto prompt = some_tokens(5 + 3 * seq, (unsigned)seq);
            session.forward({tokens_of(prompt, 1, seq)});
            generations[(size_t)seq] = {seq, prompt[0], 40, GA_STOP_RUNNING, 1};
        }
        session.generate(generations.data(), 3, false, [&](size_t, int32_t token, float logprob) {
            found.tokens.push_back(token);
            found.logprobs.push_back(logprob);
            return 0;
        });
        return found;
    };
    for (const bool text_only : {false, true}) {
        const Found a = answers(plain, text_only, 0), b = answers(picking, text_only, 0);
        CHECK(a.tokens.size() == 120, "%zu tokens", a.tokens.size());
        CHECK(a.tokens == b.tokens, "text only %d: other tokens", text_only);
        CHECK(distance(a.logprobs, b.logprobs) < kSame, "probabilities off by %g",
              (double)distance(a.logprobs, b.logprobs));
        CHECK(plain.n_logits() == 3 && picking.n_logits() == 0, "%zu rows came to the host", picking.n_logits());
    }
    // One that draws its tokens brings all logits to the host, and nothing changes.
    const Found a = answers(plain, false, 1), b = answers(picking, false, 1);
    CHECK(a.tokens == b.tokens, "beside a sampler that draws: other tokens");
    CHECK(picking.n_logits() == 3, "%zu rows of logits", picking.n_logits());
    // Other tokens suppressed than the step before: the numbers on the device are replaced.
    CHECK(answers(picking, true, 0).tokens == answers(plain, true, 0).tokens, "suppressed again: other tokens");
    const std::vector<bool> & never = engine.vocab().useless();
    CHECK((int)never.size() == n_vocab, "%zu tokens", never.size());
}

void test_picking_tells_damaged_weights() {
    const TempFile file("picked.gguf");
    TextShape shape;
    shape.scale = NAN;
    testing::write_text_model(shape, file.path());
    Engine engine(file.path(), "", engine_options());
    Session session(engine, session_options(), true);
    ga_generation generation = {0, 9, 3, GA_STOP_RUNNING, 1};
    CHECK(thrown([&] { session.generate(&generation, 1, false, nullptr); }) == GA_ERROR_BACKEND, "damaged weights");
}

} // namespace

int main() {
    ga_set_log(nullptr, nullptr);
    test_kept_graphs_change_nothing({}, GA_KV_F32, "kept graphs");
    TextShape shape;
    shape.window = 300; // crosses blocks at other steps than the whole does
    test_kept_graphs_change_nothing(shape, GA_KV_F32, "a long window");
    shape.ple = 0;
    shape.n_shared = 0;
    shape.heads_kv = 2;
    test_kept_graphs_change_nothing(shape, GA_KV_F32, "no ple");
    test_picked_tokens_are_those_of_the_logits();
    test_picking_tells_damaged_weights();
    return testing::result();
}
