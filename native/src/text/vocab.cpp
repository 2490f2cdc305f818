#include "text/vocab.h"

#include "gguf.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace ga {

namespace {

constexpr const char * kModel = "tokenizer.ggml.model";
constexpr const char * kTokens = "tokenizer.ggml.tokens";
constexpr const char * kMerges = "tokenizer.ggml.merges";
constexpr const char * kScores = "tokenizer.ggml.scores";
constexpr const char * kTypes = "tokenizer.ggml.token_type";
constexpr const char * kSuppressed = "tokenizer.ggml.suppress_tokens";
constexpr const char * kIds[] = {"tokenizer.ggml.bos_token_id",     "tokenizer.ggml.eos_token_id",
                                 "tokenizer.ggml.eot_token_id",     "tokenizer.ggml.eom_token_id",
                                 "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.padding_token_id"};

// Types of tokens in a file: 0 is none, the others are libllama's.
constexpr int64_t kMaxType = 6;
constexpr int64_t kByteType = 6;

// n 0: any number of values.
bool check_array(const GgufFile & file, const char * key, gguf_type type, size_t n, bool required) {
    const auto array = file.find_array(key);
    if (!array && !file.has(key) && !required) {
        return false;
    }
    if (!array || array->first != type || (n > 0 && array->second != n)) {
        const std::string count = n > 0 ? std::to_string(n) + " " : "";
        fail(GA_ERROR_FORMAT, "%s: %s is missing or not an array of %s%s values", file.path().c_str(), key,
             count.c_str(), gguf_type_name(type));
    }
    return true;
}

// libllama asserts that no two tokens are written alike, and gives empty ones a name of its own.
void check_words(const GgufFile & file) {
    const auto tokens = file.find_string_array(kTokens);
    std::vector<std::string> names; // of the empty ones
    std::unordered_set<std::string_view> seen;
    seen.reserve(tokens.size());
    for (size_t i = 0; i < tokens.size(); i++) {
        if (tokens[i].empty()) {
            names.push_back("[EMPTY_" + std::to_string(i) + "]");
        } else if (!seen.insert(tokens[i]).second) {
            fail(GA_ERROR_FORMAT, "%s: %s holds the same token twice", file.path().c_str(), kTokens);
        }
    }
    for (const std::string & name : names) {
        if (seen.count(name) > 0) {
            fail(GA_ERROR_FORMAT, "%s: %s holds an empty token, and another one spelled %s", file.path().c_str(),
                 kTokens, name.c_str());
        }
    }
}

bool is_byte(std::string_view word) {
    const auto is_hex = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
    };
    return word.size() == 6 && word.substr(0, 3) == "<0x" && is_hex(word[3]) && is_hex(word[4]) && word[5] == '>';
}

void check_types(const GgufFile & file) {
    const auto types = file.find_int_array(kTypes);
    const auto tokens = file.find_string_array(kTokens);
    for (size_t i = 0; i < types.size(); i++) {
        if (types[i] < 0 || types[i] > kMaxType) {
            fail(GA_ERROR_FORMAT, "%s: %s holds %lld, which is no type of a token", file.path().c_str(), kTypes,
                 (long long)types[i]);
        }
        if (types[i] == kByteType && !is_byte(tokens[i])) {
            fail(GA_ERROR_FORMAT, "%s: token %zu is a byte by its type, but is not spelled like <0x0A>",
                 file.path().c_str(), i);
        }
    }
}

// The converter calls the marks of thoughts and tools "user defined", which libllama reads in any text: a person's words, or
// those of a file name, would become marks. As control tokens they are read only where the layout itself is.
constexpr int32_t kControlType = 3;
constexpr int32_t kUserDefinedType = 4;
constexpr int kNoText = LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_UNKNOWN | LLAMA_TOKEN_ATTR_UNUSED;

bool is_mark(std::string_view word) {
    const size_t n = word.size();
    return n > 3 && word.front() == '<' && word.back() == '>' && (word[1] == '|' || word[n - 2] == '|');
}

// What is no text though its type may say so.
bool is_leftover(std::string_view word) {
    return word.substr(0, 7) == "<unused" || word == "[multimodal]" || word == "<s>" || word == "</s>" ||
           word == "<pad>" || word == "<mask>" || word == "<unk>" || is_mark(word);
}

struct GgufDeleter {
    void operator()(gguf_context * keys) const { gguf_free(keys); }
};
using Keys = std::unique_ptr<gguf_context, GgufDeleter>;

void copy_strings(const GgufFile & file, const char * key, gguf_context * to) {
    std::vector<const char *> texts;
    for (const std::string_view text : file.find_string_array(key)) {
        texts.push_back(text.data()); // gguf's strings end with a zero
    }
    gguf_set_arr_str(to, key, texts.data(), texts.size());
}

// What libllama needs to know of a file that was checked.
Keys vocabulary_keys(const GgufFile & file) {
    Keys keys(gguf_init_empty());
    gguf_set_val_str(keys.get(), "general.architecture", "gemma4");
    gguf_set_val_str(keys.get(), kModel, "gemma4");
    copy_strings(file, kTokens, keys.get());
    copy_strings(file, kMerges, keys.get());
    for (const char * key : {kScores, kSuppressed}) {
        if (const auto array = file.find_array(key)) {
            gguf_set_arr_data(keys.get(), key, array->first, file.array_data(key), array->second);
        }
    }
    if (const auto array = file.find_array(kTypes)) {
        const auto * data = (const int32_t *)file.array_data(kTypes);
        std::vector<int32_t> types(data, data + array->second);
        const auto words = file.find_string_array(kTokens);
        for (size_t i = 0; i < types.size() && i < words.size(); i++) {
            types[i] = types[i] == kUserDefinedType && is_mark(words[i]) ? kControlType : types[i];
        }
        gguf_set_arr_data(keys.get(), kTypes, array->first, types.data(), types.size());
    }
    for (const char * key : kIds) {
        if (const auto id = file.find_int(key)) {
            gguf_set_val_u32(keys.get(), key, (uint32_t)*id);
        }
    }
    return keys;
}

} // namespace

void check_vocabulary(const GgufFile & file, int n_vocab) {
    const std::string kind = file.get_string(kModel);
    if (kind != "gemma4") {
        fail(GA_ERROR_UNSUPPORTED, "%s: %s is %s, expected gemma4", file.path().c_str(), kModel, kind.c_str());
    }
    check_array(file, kTokens, GGUF_TYPE_STRING, (size_t)n_vocab, true);
    check_array(file, kMerges, GGUF_TYPE_STRING, 0, true);
    check_array(file, kScores, GGUF_TYPE_FLOAT32, (size_t)n_vocab, false);
    check_array(file, kSuppressed, GGUF_TYPE_INT32, 0, false);
    check_words(file);
    if (check_array(file, kTypes, GGUF_TYPE_INT32, (size_t)n_vocab, false)) {
        check_types(file);
    }
    for (const char * key : kIds) {
        if (file.has(key)) {
            file.get_int(key, 0, n_vocab - 1);
        }
    }
}

Vocab::Vocab(const GgufFile & file, int n_vocab) {
    check_vocabulary(file, n_vocab);
    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    params.n_gpu_layers = 0;
    const Keys keys = vocabulary_keys(file);
    model_.reset(llama_model_init_from_user(keys.get(), nullptr, nullptr, params));
    if (!model_) {
        fail(GA_ERROR_FORMAT, "%s: the vocabulary cannot be read", file.path().c_str());
    }
    vocab_ = llama_model_get_vocab(model_.get());
    n_ = llama_vocab_n_tokens(vocab_);
    if (n_ != n_vocab) {
        fail(GA_ERROR_FORMAT, "%s: %d tokens, but token_embd.weight has %d rows", file.path().c_str(), n_, n_vocab);
    }
    int32_t n_suppressed = 0;
    const llama_token * suppressed = llama_vocab_get_suppress_tokens(vocab_, &n_suppressed);
    if (suppressed) {
        suppressed_.assign(suppressed, suppressed + n_suppressed);
    }
    const auto words = file.find_string_array(kTokens);
    control_.resize((size_t)n_);
    useless_.resize((size_t)n_);
    for (int32_t i = 0; i < n_; i++) {
        const int attributes = llama_vocab_get_attr(vocab_, i);
        const std::string_view word = words[(size_t)i];
        const bool opens = word == "<|channel>";
        control_[(size_t)i] = (attributes & kNoText) || is_leftover(word);
        useless_[(size_t)i] = control_[(size_t)i] && !is_end(i) && !opens && word != "<channel|>";
        thought_open_ = opens ? i : thought_open_;
    }
}

std::vector<int32_t> Vocab::tokenize(const char * text, size_t n_bytes, bool parse_special) const {
    if (n_bytes > INT32_MAX / 4) {
        fail(GA_ERROR_INVALID_ARGUMENT, "a text of %zu bytes is too long", n_bytes);
    }
    std::vector<int32_t> tokens(n_bytes + 8);
    int32_t n =
        llama_tokenize(vocab_, text, (int32_t)n_bytes, tokens.data(), (int32_t)tokens.size(), false, parse_special);
    if (n < 0) {
        tokens.resize((size_t)-n);
        n = llama_tokenize(vocab_, text, (int32_t)n_bytes, tokens.data(), (int32_t)tokens.size(), false, parse_special);
    }
    tokens.resize((size_t)std::max(n, 0));
    return tokens;
}

std::string Vocab::bytes(int32_t token, bool special) const {
    std::string piece(32, '\0');
    int32_t n = llama_token_to_piece(vocab_, token, piece.data(), (int32_t)piece.size(), 0, special);
    if (n < 0) {
        piece.resize((size_t)-n);
        n = llama_token_to_piece(vocab_, token, piece.data(), (int32_t)piece.size(), 0, special);
    }
    piece.resize((size_t)std::max(n, 0));
    return piece;
}

} // namespace ga
