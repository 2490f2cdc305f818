// The weights of one text model and its projector on one backend: what ga_engine points to.
#pragma once

#include "audio/audio_encoder.h"
#include "audio/audio_model.h"
#include "core/gguf_file.h"
#include "core/timings.h"
#include "text/text_model.h"
#include "text/vocab.h"

#include <memory>
#include <string>

namespace ga {

// Checks all that opening the two files checks, and reads no weights: what passes opens, given memory. mmproj_path empty: text
// only. Throws Error.
void check_model(const std::string & text_path, const std::string & mmproj_path);

class Engine {
  public:
    // mmproj_path empty: text only. Throws Error.
    Engine(const std::string & text_path, const std::string & mmproj_path, const ga_engine_options & options);

    Backend & backend() { return backend_; }
    const TextModel & text() const { return *text_; }
    const Vocab & vocab() const { return *vocab_; }
    const GgufFile & text_file() const { return text_file_; }
    // Throws GA_ERROR_INVALID_ARGUMENT where the engine was opened without a projector.
    AudioEncoder & encoder();
    Timings & timings() { return timings_; }
    const Timings & timings() const { return timings_; }
    void describe(ga_engine_info & info) const;

  private:
    Backend backend_;
    GgufFile text_file_;
    std::unique_ptr<GgufFile> audio_file_;
    std::unique_ptr<TextModel> text_;
    std::unique_ptr<Vocab> vocab_;
    std::unique_ptr<AudioModel> audio_;
    std::unique_ptr<AudioEncoder> encoder_;
    Timings timings_;
};

} // namespace ga
