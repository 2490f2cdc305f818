#include "api/engine.h"

#include <cstdio>

namespace ga {

namespace {

CancelCheck cancel_check(const ga_engine_options & options) {
    if (!options.cancel) {
        return nullptr;
    }
    return [cancel = options.cancel, user_data = options.user_data] { return cancel(user_data) != 0; };
}

// A part [from, to] of the whole load's progress.
std::function<void(float)> progress_part(const ga_engine_options & options, float from, float to) {
    if (!options.progress) {
        return nullptr;
    }
    return [progress = options.progress, user_data = options.user_data, from, to](float fraction) {
        progress(from + (to - from) * fraction, user_data);
    };
}

[[noreturn]] void fail_widths(const GgufFile & text, const GgufFile & audio, int64_t takes, int64_t gives) {
    fail(GA_ERROR_WIDTH_MISMATCH,
         "%s gives embeddings of width %lld, %s takes %lld: the two files do not belong together", audio.path().c_str(),
         (long long)gives, text.path().c_str(), (long long)takes);
}

// The embedding width is what the projector's last matrix says (llama.cpp #24091 went wrong by trusting a key), and has to
// be the width of the text model's token table.
void check_widths(const GgufFile & text, const GgufFile & audio) {
    const TensorInfo * projection = audio.find_tensor("mm.a.input_projection.weight");
    const TensorInfo * table = text.find_tensor("token_embd.weight");
    if (projection && table && projection->ne[1] != table->ne[0]) {
        fail_widths(text, audio, table->ne[0], projection->ne[1]);
    }
}

void check_widths(const TextModel & text, const AudioModel & audio, const GgufFile & text_file,
                  const GgufFile & audio_file) {
    if (audio.n_embd_out() != text.n_embd) {
        fail_widths(text_file, audio_file, text.n_embd, audio.n_embd_out());
    }
}

} // namespace

Engine::Engine(const std::string & text_path, const std::string & mmproj_path, const ga_engine_options & options)
    : backend_(options.device ? options.device : "", options.n_threads, options.use_repack != 0, cancel_check(options)),
      text_file_(text_path) {
    const Stopwatch watch(timings_.load_s);
    if (!mmproj_path.empty()) {
        audio_file_ = std::make_unique<GgufFile>(mmproj_path);
        check_widths(text_file_, *audio_file_); // before anything large is read
        audio_ = std::make_unique<AudioModel>(*audio_file_, backend_);
    }
    text_ = std::make_unique<TextModel>(text_file_, backend_, options.n_gpu_layers);
    vocab_ = std::make_unique<Vocab>(text_file_, text_->n_vocab);
    if (audio_) {
        check_widths(*text_, *audio_, text_file_, *audio_file_);
        audio_->load(progress_part(options, 0.0f, 0.2f));
        encoder_ = std::make_unique<AudioEncoder>(*audio_, backend_);
    }
    text_->load(progress_part(options, 0.2f, 1.0f));
}

void check_model(const std::string & text_path, const std::string & mmproj_path) {
    Backend cpu("CPU", 1, /*use_repack =*/true, nullptr);
    const GgufFile text_file(text_path);
    const TextModel text(text_file, cpu, GA_ALL_THAT_FIT);
    check_vocabulary(text_file, text.n_vocab);
    if (!mmproj_path.empty()) {
        const GgufFile audio_file(mmproj_path);
        check_widths(text_file, audio_file);
        check_widths(text, AudioModel(audio_file, cpu), text_file, audio_file);
        audio_file.check();
    }
    text_file.check();
}

AudioEncoder & Engine::encoder() {
    if (!encoder_) {
        fail(GA_ERROR_INVALID_ARGUMENT, "the engine was opened without a projector (mmproj) file: it cannot hear");
    }
    return *encoder_;
}

void Engine::describe(ga_engine_info & info) const {
    info.n_vocab = text_->n_vocab;
    info.n_embd = text_->n_embd;
    info.n_layer = text_->n_layer;
    info.n_layer_kv = text_->n_layer_kv;
    info.n_ctx_train = text_->n_ctx_train;
    info.n_gpu_layers = text_->n_gpu_layers;
    info.projector = audio_ ? audio_->projector() : GA_PROJECTOR_NONE;
    info.n_audio_layer = audio_ ? audio_->n_layer() : 0;
    info.n_audio_embd = audio_ ? (int32_t)audio_->width() : 0;
    info.n_audio_out = audio_ ? (int32_t)audio_->n_encoder_out() : 0;
    info.token_bos = vocab_->bos();
    info.token_eos = vocab_->eos();
    info.bytes_text = text_->weights().bytes_resident();
    info.bytes_audio = audio_ ? audio_->weights().bytes_resident() : 0;
    info.bytes_mapped = text_->weights().bytes_mapped() + (audio_ ? audio_->weights().bytes_mapped() : 0);
    std::snprintf(info.device, sizeof(info.device), "%s", backend_.device_name().c_str());
    std::map<std::string, size_t> buffers = text_->weights().bytes_by_buffer();
    if (audio_) {
        for (const auto & [name, bytes] : audio_->weights().bytes_by_buffer()) {
            buffers[name] += bytes;
        }
    }
    std::string text;
    for (const auto & [name, bytes] : buffers) {
        text += format("%s%s %.1f MB", text.empty() ? "" : ", ", name.c_str(), (double)bytes / 1e6);
    }
    std::snprintf(info.buffers, sizeof(info.buffers), "%s", text.c_str());
}

} // namespace ga
