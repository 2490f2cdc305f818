// Fuzzing of model files: a golden pair is changed as the input says, opened, and used where it opens.
//
//   input: which pair │ edit edit edit …        edit: kind, which file, place, value
//
// Places are numbered: all numbers of a header (counts, lengths, types, values, shapes, offsets), and then its bytes, so that a
// short input reaches every one of them without having to find it among the weights.
#pragma once

#include "bytes.h"

#include "gemma_audio.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

namespace fuzz {

struct Field {
    size_t at = 0;
    size_t size = 0; // bytes, at most 8
};

struct File {
    std::vector<uint8_t> bytes;
    std::vector<Field> fields;
    size_t header = 0; // bytes before the weights
};

// Walks a sound file's header and notes its numbers.
class Walk {
  public:
    explicit Walk(File & file) : file_(file) {
        at_ = 4;
        number(4); // version
        const uint64_t n_tensors = number(8), n_values = number(8);
        for (uint64_t i = 0; i < n_values; i++) {
            skip(number(8)); // key
            value(number(4));
        }
        for (uint64_t i = 0; i < n_tensors; i++) {
            skip(number(8));
            const uint64_t n_dims = number(4);
            for (uint64_t d = 0; d < n_dims; d++) {
                number(8);
            }
            number(4);
            number(8);
        }
        file.header = at_;
    }

  private:
    uint64_t number(size_t size) {
        uint64_t result = 0;
        if (at_ + size <= file_.bytes.size()) {
            std::memcpy(&result, file_.bytes.data() + at_, size);
        }
        file_.fields.push_back({at_, size});
        at_ += size;
        return result;
    }
    void skip(uint64_t n) { at_ += n; }
    void value(uint64_t type) {
        static const size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
        if (type == 8) {
            skip(number(8));
        } else if (type == 9) {
            const uint64_t of = number(4), n = number(8);
            for (uint64_t i = 0; i < n; i++) {
                // Of a long array a few are enough.
                if (of == 8) {
                    uint64_t length = 0;
                    std::memcpy(&length, file_.bytes.data() + at_, 8);
                    i < 16 ? (void)number(8) : skip(8);
                    skip(length);
                } else {
                    i < 16 ? (void)number(sizes[of]) : skip(sizes[of]);
                }
            }
        } else {
            number(sizes[type]);
        }
    }
    File & file_;
    size_t at_ = 0;
};

inline File read_file(const std::string & path) {
    File file;
    std::ifstream in(path, std::ios::binary);
    file.bytes.assign(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
    if (file.bytes.size() < 24) {
        std::fprintf(stderr, "%s is not there: run this in the repository's root\n", path.c_str());
        std::exit(2);
    }
    Walk walk(file);
    return file;
}

inline const std::vector<std::pair<File, File>> & golden_pairs() {
    static const std::vector<std::pair<File, File>> pairs = [] {
        std::vector<std::pair<File, File>> result;
        for (const std::string name : {"e2b", "unified", "plain", "v_is_k"}) {
            result.emplace_back(read_file("tests/goldens/" + name + ".gguf"),
                                read_file("tests/goldens/mmproj-" + name + ".gguf"));
        }
        return result;
    }();
    return pairs;
}

inline void edit(Bytes & input, const File & original, std::vector<uint8_t> & bytes) {
    static const uint64_t odd[] = {
        0, 1, 2, 3, 7, 31, 32, 33, 255, 256, 65535, 1 << 20, INT32_MAX, UINT32_MAX, (uint64_t)INT64_MAX, UINT64_MAX};
    const uint8_t kind = input.take<uint8_t>() >> 1;
    if (kind < 80) { // a number of the header
        const Field & field = original.fields[input.below(original.fields.size())];
        const uint8_t choice = input.take<uint8_t>();
        const uint64_t value = choice < 128 ? odd[choice % std::size(odd)] : input.take<uint64_t>();
        if (field.at + field.size <= bytes.size()) {
            std::memcpy(bytes.data() + field.at, &value, field.size);
        }
    } else if (kind < 100) { // bytes of the header
        const size_t at = input.take<uint32_t>() % original.header;
        const std::string text = input.text(16);
        if (at + text.size() <= bytes.size()) {
            std::memcpy(bytes.data() + at, text.data(), text.size());
        }
    } else if (kind < 112) { // weights: all from a place on
        const size_t at = original.header + input.take<uint32_t>() % (original.bytes.size() - original.header);
        const uint64_t pattern = input.take<uint64_t>();
        for (size_t i = at; i < bytes.size(); i++) {
            bytes[i] = (uint8_t)(pattern >> (i % 8 * 8));
        }
    } else if (kind < 120) { // cut
        bytes.resize(input.take<uint32_t>() % (bytes.size() + 1));
    } else { // put in or take out
        const size_t at = bytes.empty() ? 0 : input.take<uint32_t>() % bytes.size();
        const std::string text = input.text(32);
        if (kind % 2 == 0) {
            bytes.insert(bytes.begin() + (std::ptrdiff_t)at, text.begin(), text.end());
        } else {
            const size_t n = text.size() < bytes.size() - at ? text.size() : bytes.size() - at;
            bytes.erase(bytes.begin() + (std::ptrdiff_t)at, bytes.begin() + (std::ptrdiff_t)(at + n));
        }
    }
}

// A file in memory where the system has it, removed at the end of its scope.
class Scratch {
  public:
    explicit Scratch(const std::vector<uint8_t> & bytes) {
        const char * folder = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        path_ = std::string(folder) + "/gemma-audio-fuzz-XXXXXX";
        const int fd = mkstemp(path_.data());
        if (fd < 0 || write(fd, bytes.data(), bytes.size()) != (ssize_t)bytes.size()) {
            std::perror(path_.c_str());
            std::exit(2);
        }
        close(fd);
    }
    ~Scratch() { unlink(path_.c_str()); }
    Scratch(const Scratch &) = delete;
    Scratch & operator=(const Scratch &) = delete;
    const char * path() const { return path_.c_str(); }

  private:
    std::string path_;
};

// Every function that needs an engine, once.
inline void use(ga_engine * engine) {
    ga_engine_info info = {};
    info.size = sizeof(info);
    ga_engine_get_info(engine, &info);
    int32_t tokens[64];
    size_t n_tokens = 0;
    const std::string text = "what is <|turn> said?\n7 \xc3\xa4 \xff";
    if (ga_tokenize(engine, text.data(), text.size(), 1, tokens, 64, &n_tokens) != GA_OK) {
        n_tokens = 0;
    }
    for (size_t i = 0; i < n_tokens; i++) {
        char bytes[256];
        size_t n_bytes = 0;
        ga_token_bytes(engine, tokens[i], 1, bytes, sizeof(bytes), &n_bytes);
        ga_token_is_end(engine, tokens[i]);
    }
    ga_engine_metadata(engine, "tokenizer.chat_template", nullptr, 0);
    ga_audio * audio = nullptr;
    if (ga_audio_open(engine, &audio) == GA_OK) {
        std::vector<float> samples(4000);
        for (size_t i = 0; i < samples.size(); i++) {
            samples[i] = (float)((i * 7919) % 200) / 400.0f - 0.25f;
        }
        ga_audio_push(audio, samples.data(), samples.size());
        ga_audio_finish(audio);
    }
    ga_session_options options;
    ga_session_defaults(&options);
    options.n_ctx = 64;
    ga_session * session = nullptr;
    if (ga_session_open(engine, &options, &session) == GA_OK) {
        const int32_t plain[] = {0, 1, 2};
        ga_input inputs[2] = {};
        inputs[0].tokens = n_tokens > 0 ? tokens : plain;
        inputs[0].n = n_tokens > 0 ? (int32_t)n_tokens : 3;
        inputs[1].audio = audio;
        inputs[1].n = (int32_t)ga_audio_count(audio);
        inputs[0].n_logits = inputs[1].n > 0 ? 0 : 1;
        inputs[1].n_logits = 1;
        ga_session_forward(session, inputs, inputs[1].n > 0 ? 2 : 1);
        ga_generation generation = {};
        generation.n_max = 3;
        if (ga_session_sample(session, 0, 0, &generation.next_token, nullptr) == GA_OK) {
            ga_session_generate(session, &generation, 1, 0, nullptr, nullptr);
        }
    }
    ga_session_close(session);
    ga_audio_close(audio);
}

inline void run_model(const uint8_t * data, size_t size) {
    Bytes input(data, size);
    const auto & pair = golden_pairs()[input.below(golden_pairs().size())];
    std::vector<uint8_t> text = pair.first.bytes, mmproj = pair.second.bytes;
    for (int i = 0; i < 8 && !input.empty(); i++) {
        const bool second = input.take<uint8_t>() % 2;
        edit(input, second ? pair.second : pair.first, second ? mmproj : text);
    }
    const Scratch text_file(text), mmproj_file(mmproj);
    char message[512];
    const ga_status checked = ga_model_check(text_file.path(), mmproj_file.path(), message, sizeof(message));
    ga_engine_options options;
    ga_engine_defaults(&options);
    options.n_threads = 1;
    options.device = "CPU";
    ga_engine * engine = nullptr;
    const ga_status opened =
        ga_engine_open(text_file.path(), mmproj_file.path(), &options, &engine, message, sizeof(message));
    if ((opened == GA_OK) != (checked == GA_OK) && opened != GA_ERROR_OUT_OF_MEMORY) {
        std::fprintf(stderr, "the check says %s, opening %s: %s\n", ga_status_name(checked), ga_status_name(opened),
                     message);
        std::abort();
    }
    if (engine) {
        use(engine);
    }
    ga_engine_close(engine);
}

} // namespace fuzz
