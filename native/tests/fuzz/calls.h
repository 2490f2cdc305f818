// Fuzzing of the C interface: an input is a sequence of calls on one engine, its clips and its sessions, with good and bad
// arguments, in any order.
#pragma once

#include "bytes.h"

#include "gemma_audio.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace fuzz {

class Calls {
  public:
    explicit Calls(Bytes & input) : in_(input) { open(); }
    ~Calls() {
        for (ga_session *& session : sessions_) {
            ga_session_close(session);
        }
        ga_engine_close(engine_);
        for (ga_audio *& audio : audios_) { // after the engine, which lives as long as they do
            ga_audio_close(audio);
        }
    }
    Calls(const Calls &) = delete;
    Calls & operator=(const Calls &) = delete;

    void run() {
        for (int i = 0; i < 24 && !in_.empty(); i++) {
            one();
        }
    }

  private:
    static constexpr size_t kHandles = 3;

    void open() {
        ga_engine_options options;
        ga_engine_defaults(&options);
        options.n_threads = 1;
        options.device = "CPU";
        options.cancel = [](void * self) { return (int32_t)static_cast<Calls *>(self)->cancelled(); };
        options.user_data = this;
        char message[256];
        const bool unified = in_.below(4) == 0;
        const char * text = unified ? "tests/goldens/unified.gguf" : "tests/goldens/e2b.gguf";
        const char * mmproj = unified ? "tests/goldens/mmproj-unified.gguf" : "tests/goldens/mmproj-e2b.gguf";
        if (ga_engine_open(text, mmproj, &options, &engine_, message, sizeof(message)) != GA_OK) {
            std::fprintf(stderr, "%s\n", message);
            std::exit(2);
        }
        info_.size = sizeof(info_);
        ga_engine_get_info(engine_, &info_);
    }

    bool cancelled() { return cancel_in_ > 0 && --cancel_in_ == 0; }
    ga_audio *& audio() { return audios_[in_.below(kHandles)]; }
    ga_session *& session() { return sessions_[in_.below(kHandles)]; }

    // Mostly small, now and then absurd.
    int32_t number(int32_t usual) {
        static const int32_t odd[] = {-1, INT32_MAX, INT32_MIN, 1 << 16, 1 << 24, 0};
        const uint8_t choice = in_.take<uint8_t>();
        return choice < 224 ? choice % (usual + 1) : odd[choice % 6];
    }

    std::vector<float> floats(size_t n) {
        const uint8_t kind = in_.take<uint8_t>();
        const float bad[] = {NAN, INFINITY, 1e38f, -1e38f};
        std::vector<float> values(n);
        for (size_t i = 0; i < n; i++) {
            values[i] = (float)((i * (kind + 1u) * 131u) % 255u) / 255.0f - 0.5f;
        }
        if (kind > 240 && n > 0) {
            values[n / 2] = bad[kind % 4];
        }
        return values;
    }

    void one() {
        switch (in_.below(16)) {
        case 0: {
            ga_audio *& a = audio();
            ga_audio_close(a);
            a = nullptr;
            ga_audio_open(engine_, &a);
            break;
        }
        case 1: {
            ga_audio * a = audio();
            const std::vector<float> samples = floats(in_.below(6000));
            ga_audio_push(a, samples.data(), samples.size());
            break;
        }
        case 2:
            ga_audio_finish(audio());
            break;
        case 3:
            ga_audio_keep_encoder(audio());
            break;
        case 4: {
            const size_t n = in_.below(4);
            std::vector<ga_audio *> audios(n);
            std::vector<std::vector<float>> samples(n);
            std::vector<const float *> pointers(n);
            std::vector<size_t> counts(n);
            std::vector<int32_t> finish(n);
            for (size_t i = 0; i < n; i++) {
                audios[i] = audio();
                samples[i] = floats(in_.below(3000));
                pointers[i] = samples[i].data();
                counts[i] = samples[i].size();
                finish[i] = in_.take<uint8_t>() % 2;
            }
            ga_audio_push_batch(audios.data(), pointers.data(), counts.data(), finish.data(), n);
            break;
        }
        case 5: {
            ga_audio * a = audio();
            const size_t first = in_.below(40), n = in_.below(40);
            const size_t width = (size_t)(info_.n_audio_out > info_.n_embd ? info_.n_audio_out : info_.n_embd);
            std::vector<float> out(n * width);
            ga_audio_read(a, in_.take<uint8_t>() % 3, first, n, out.data());
            break;
        }
        case 6: {
            ga_session *& s = session();
            ga_session_close(s);
            s = nullptr;
            ga_session_options options;
            ga_session_defaults(&options);
            options.n_ctx = number(96);
            options.n_seq = number(4);
            options.n_batch = number(20);
            options.kv_type = (ga_kv_type)(in_.take<uint8_t>() % 4);
            options.skip_rows = in_.take<uint8_t>() % 2;
            // What any machine has room for, or none has.
            const double positions = (double)options.n_ctx * options.n_seq;
            if (positions < 1 << 12 || positions > 1e12) {
                ga_session_open(engine_, &options, &s);
            }
            break;
        }
        case 7:
        case 8:
            forward();
            break;
        case 9: {
            ga_session * s = session();
            const int32_t seq = number(4), n = number(40);
            n % 2 == 0 ? ga_session_rewind(s, seq, n) : ga_session_copy(s, seq, n % 3, n / 2);
            break;
        }
        case 10:
            sampler();
            break;
        case 11: {
            ga_session * s = session();
            int32_t token = 0;
            float logprob = 0;
            ga_session_sample(s, number(4), in_.below(4), &token, &logprob);
            ga_session_logits(s, in_.below(4));
            ga_session_length(s, number(4));
            break;
        }
        case 12:
            generate();
            break;
        case 13: {
            const std::string text = in_.text(200);
            std::vector<int32_t> tokens(in_.below(300) + 1);
            size_t n = 0;
            ga_tokenize(engine_, text.data(), text.size(), in_.take<uint8_t>() % 2, tokens.data(), tokens.size(), &n);
            break;
        }
        case 14: {
            char bytes[16];
            size_t n = 0;
            const auto token = (int32_t)((uint32_t)number(250) * 3u); // any number, wrapped around
            ga_token_bytes(engine_, token, in_.take<uint8_t>() % 2, bytes, in_.below(sizeof(bytes) + 1), &n);
            ga_token_is_end(engine_, token);
            ga_token_is_control(engine_, token);
            ga_timings timings = {};
            timings.size = sizeof(timings);
            ga_engine_timings(engine_, &timings);
            break;
        }
        default:
            cancel_in_ = in_.take<uint8_t>() % 32;
            break;
        }
    }

    void forward() {
        ga_session * s = session();
        std::vector<ga_input> inputs(in_.below(5));
        std::vector<std::vector<int32_t>> tokens(inputs.size());
        std::vector<std::vector<float>> embeddings(inputs.size());
        for (size_t i = 0; i < inputs.size(); i++) {
            ga_input & input = inputs[i];
            input = {};
            input.seq = number(3);
            const int32_t n = (int32_t)in_.below(40);
            input.n = n;
            input.n_logits = number(3);
            const uint8_t kind = in_.take<uint8_t>() % 8;
            if (kind < 4) {
                for (int32_t j = 0; j < n; j++) {
                    tokens[i].push_back((j * 37 + kind) % info_.n_vocab);
                }
                if (n > 0 && kind == 3) {
                    tokens[i].back() = number(10);
                }
                input.tokens = tokens[i].data();
            } else if (kind < 6) {
                embeddings[i] = floats((size_t)n * (size_t)info_.n_embd);
                input.embeddings = embeddings[i].data();
            } else {
                input.audio = audio();
                input.audio_first = number(10);
                input.n = number(30);
            }
        }
        ga_session_forward(s, inputs.data(), inputs.size());
    }

    void sampler() {
        static const char * const grammars[] = {
            "root ::= [0-9]+", "root ::= root", "root ::= (", "root ::= \"a\"{1,99}", "", "x ::= \"y\""};
        ga_sampler_options options;
        ga_sampler_defaults(&options);
        options.temperature = (float)in_.take<int8_t>() / 16.0f;
        options.top_k = number(40);
        options.top_p = (float)in_.take<uint8_t>() / 128.0f;
        options.min_p = (float)in_.take<int8_t>() / 128.0f;
        const uint8_t bits = in_.take<uint8_t>(), kind = bits % 16;
        options.text_only = bits & 16;
        options.no_thinking = bits & 32;
        options.grammar = kind < 6 ? grammars[kind] : nullptr;
        ga_session_sampler(session(), number(3), &options);
    }

    void generate() {
        ga_session * s = session();
        std::vector<ga_generation> generations(in_.below(4));
        for (ga_generation & generation : generations) {
            generation = {};
            generation.seq = number(3);
            generation.next_token = number(100);
            generation.n_max = (int32_t)in_.below(6);
            generation.ignore_end = in_.take<uint8_t>() % 2;
        }
        answers_ = in_.take<uint8_t>();
        const auto callback = [](size_t, int32_t token, float, void * user_data) -> int32_t {
            Calls & self = *static_cast<Calls *>(user_data);
            char bytes[64];
            size_t n = 0;
            ga_token_bytes(self.engine_, token, 1, bytes, sizeof(bytes), &n);
            if (self.answers_ % 5 == 4) { // not allowed from here
                for (ga_session * inner : self.sessions_) {
                    if (inner && (ga_session_rewind(inner, 0, 0) == GA_OK || ga_session_close(inner) == GA_OK)) {
                        std::abort();
                    }
                }
            }
            return self.answers_ % 4;
        };
        ga_session_generate(s, generations.data(), generations.size(), in_.take<uint8_t>() % 2, callback, this);
    }

    Bytes & in_;
    ga_engine * engine_ = nullptr;
    ga_engine_info info_ = {};
    ga_audio * audios_[kHandles] = {};
    ga_session * sessions_[kHandles] = {};
    int cancel_in_ = 0;
    int answers_ = 0;
};

inline void run_calls(const uint8_t * data, size_t size) {
    Bytes input(data, size);
    Calls(input).run();
}

} // namespace fuzz
