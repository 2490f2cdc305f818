// Words and tokens: libllama's vocabulary, made from the text model's token arrays.
//
// libllama never sees the file. It asserts or throws on some of what a file may say, reads the parts of a split model in its own
// way, and would have to find the same file again that was checked here; so it is given a set of keys that holds the vocabulary
// and nothing else, each of them checked.
#pragma once

#include "core/gguf_file.h"

#include "llama.h"

#include <memory>
#include <string>
#include <vector>

namespace ga {

// Checks the token arrays as Vocab does, and makes nothing. n_vocab: rows of the token table. Throws GA_ERROR_FORMAT or
// GA_ERROR_UNSUPPORTED naming file and key.
void check_vocabulary(const GgufFile & file, int n_vocab);

class Vocab {
  public:
    // Throws as check_vocabulary.
    Vocab(const GgufFile & file, int n_vocab);

    const llama_vocab * get() const { return vocab_; }
    int size() const { return n_; }
    int32_t bos() const { return llama_vocab_bos(vocab_); }
    int32_t eos() const { return llama_vocab_eos(vocab_); }
    bool is_end(int32_t token) const { return llama_vocab_is_eog(vocab_, token); }
    // Never text: what lays out a conversation, unused tokens, marks of other media.
    bool is_control(int32_t token) const { return control_[(size_t)token]; }
    // Control tokens that no answer has a use for: all but its ends and the marks of a thought. [size]
    const std::vector<bool> & useless() const { return useless_; }
    // The mark that opens a thought; -1: there is none.
    int32_t thought_open() const { return thought_open_; }
    bool contains(int32_t token) const { return token >= 0 && token < n_; }
    // Tokens the file says must never be generated.
    const std::vector<int32_t> & suppressed() const { return suppressed_; }

    std::vector<int32_t> tokenize(const char * text, size_t n_bytes, bool parse_special) const;
    std::string bytes(int32_t token, bool special) const;

  private:
    struct ModelDeleter {
        void operator()(llama_model * model) const { llama_model_free(model); }
    };
    std::unique_ptr<llama_model, ModelDeleter> model_;
    const llama_vocab * vocab_ = nullptr;
    int n_ = 0;
    std::vector<int32_t> suppressed_;
    std::vector<bool> control_; // [size]
    std::vector<bool> useless_; // [size]
    int32_t thought_open_ = -1;
};

} // namespace ga
