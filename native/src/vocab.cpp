#include "vocab.h"

#include <algorithm>
#include <string_view>
#include <unordered_set>

namespace ga {

namespace {

void check_array(const GgufFile & file, const char * key, gguf_type type, size_t n, bool required) {
    const auto array = file.find_array(key);
    if (!array && !file.has(key) && !required) {
        return;
    }
    if (!array || array->first != type || (n > 0 && array->second != n)) {
        fail(GA_ERROR_FORMAT, "%s: %s is missing or not an array of %zu %s values", file.path().c_str(), key, n,
             gguf_type_name(type));
    }
}

void check_token_id(const GgufFile & file, const char * key, int64_t n_vocab) {
    if (file.has(key)) {
        file.get_int(key, 0, n_vocab - 1);
    }
}

} // namespace

Vocab::Vocab(const GgufFile & file, int n_vocab) {
    const std::string kind = file.get_string("tokenizer.ggml.model");
    if (kind != "gemma4") {
        fail(GA_ERROR_UNSUPPORTED, "%s: tokenizer.ggml.model is %s, expected gemma4", file.path().c_str(),
             kind.c_str());
    }
    check_array(file, "tokenizer.ggml.tokens", GGUF_TYPE_STRING, (size_t)n_vocab, true);
    check_array(file, "tokenizer.ggml.merges", GGUF_TYPE_STRING, 0, true);
    check_array(file, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, (size_t)n_vocab, false);
    check_array(file, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, (size_t)n_vocab, false);
    // libllama asserts that no two tokens are written alike.
    const auto tokens = file.find_string_array("tokenizer.ggml.tokens");
    std::unordered_set<std::string_view> seen;
    seen.reserve(tokens.size());
    for (const std::string_view token : tokens) {
        if (!token.empty() && !seen.insert(token).second) {
            fail(GA_ERROR_FORMAT, "%s: tokenizer.ggml.tokens holds the same token twice", file.path().c_str());
        }
    }
    for (const char * key :
         {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
          "tokenizer.ggml.unknown_token_id", "tokenizer.ggml.padding_token_id"}) {
        check_token_id(file, key, n_vocab);
    }

    llama_model_params params = llama_model_default_params();
    params.vocab_only = true;
    params.n_gpu_layers = 0;
    model_.reset(llama_model_load_from_file(file.path().c_str(), params));
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
