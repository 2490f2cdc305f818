#include "audio/audio_clip.h"

#include "core/error.h"

#include <algorithm>
#include <cmath>

namespace ga {

namespace {

// Samples taken at a time, so that the frames of an hour pushed at once are never all in memory.
constexpr size_t kMaxSlice = 30 * 16000;

void append(std::vector<float> & to, const std::vector<float> & from) {
    to.insert(to.end(), from.begin(), from.end());
}

// Room for n more values, at least doubled: live sessions append a few rows at a time.
void make_room(std::vector<float> & values, size_t n) {
    if (values.capacity() - values.size() < n) {
        values.reserve(std::max(values.size() + n, 2 * values.capacity()));
    }
}

} // namespace

// What a push changes of a clip: copies, put back only once everything has succeeded.
struct AudioClip::Work {
    const Push & push;
    Mel mel;
    std::vector<float> samples;
    EncoderState state;
    std::vector<float> frames;
    std::vector<float> embeddings;
    std::vector<float> encoder_out;
    size_t taken = 0; // samples of the push

    explicit Work(const Push & p) : push(p), mel(p.clip->mel_), samples(p.clip->samples_), state(p.clip->state_) {}

    bool done() const { return taken == push.n_samples; }

    // The next slice of samples, as frames.
    void take(int64_t frame_width, bool conformer) {
        const size_t n = std::min(push.n_samples - taken, kMaxSlice);
        const float * slice = push.samples + taken;
        taken += n;
        if (conformer) {
            mel.push(slice, n);
            frames.resize(mel.n_ready() * Mel::n_bins);
            mel.pop(frames.data(), mel.n_ready());
            return;
        }
        samples.insert(samples.end(), slice, slice + n);
        const size_t width = (size_t)frame_width;
        if (done() && push.finish) {
            samples.resize((samples.size() + width - 1) / width * width, 0.0f);
        }
        const auto whole = samples.begin() + (std::ptrdiff_t)(samples.size() / width * width);
        frames.assign(samples.begin(), whole);
        samples.erase(samples.begin(), whole);
    }
};

AudioClip::AudioClip(AudioEncoder & encoder, Timings & timings) : encoder_(encoder), timings_(timings) {}

void AudioClip::keep_encoder() {
    if (started_) {
        fail(GA_ERROR_INVALID_ARGUMENT, "keeping the encoder's output must be asked for before the first push");
    }
    keep_encoder_ = true;
}

void AudioClip::push(const float * samples, size_t n_samples) {
    push_batch({{this, samples, n_samples, false}});
}

void AudioClip::finish() {
    push_batch({{this, nullptr, 0, true}});
}

void AudioClip::push_batch(const std::vector<Push> & pushes) {
    for (size_t i = 0; i < pushes.size(); i++) {
        const Push & push = pushes[i];
        if (!push.clip || (!push.samples && push.n_samples > 0)) {
            fail(GA_ERROR_INVALID_ARGUMENT, "no clip or no samples given");
        }
        if (push.clip->finished_) {
            fail(GA_ERROR_INVALID_ARGUMENT, "the clip is finished and takes no more samples");
        }
        if (&push.clip->encoder_ != &pushes[0].clip->encoder_) {
            fail(GA_ERROR_INVALID_ARGUMENT, "clips of different engines cannot be encoded together");
        }
        for (size_t j = 0; j < i; j++) {
            if (pushes[j].clip == push.clip) {
                fail(GA_ERROR_INVALID_ARGUMENT, "a clip stands twice in one batch");
            }
        }
        const float * bad =
            std::find_if(push.samples, push.samples + push.n_samples, [](float s) { return !std::isfinite(s); });
        if (bad != push.samples + push.n_samples) {
            fail(GA_ERROR_INVALID_ARGUMENT, "sample %zu is not a finite number",
                 static_cast<size_t>(bad - push.samples));
        }
    }
    if (pushes.empty()) {
        return;
    }
    AudioEncoder & encoder = pushes[0].clip->encoder_;
    Timings & timings = pushes[0].clip->timings_;
    const AudioModel & model = encoder.model();

    std::vector<Work> works;
    works.reserve(pushes.size());
    for (const Push & push : pushes) {
        works.emplace_back(push);
    }
    std::vector<bool> ended(works.size(), false);
    while (std::find(ended.begin(), ended.end(), false) != ended.end()) {
        std::vector<EncoderPiece> pieces;
        for (size_t i = 0; i < works.size(); i++) {
            Work & work = works[i];
            if (ended[i]) {
                continue;
            }
            {
                Stopwatch watch(timings.mel_s);
                work.take(model.frame_width(), model.projector() == GA_PROJECTOR_GEMMA4A);
            }
            ended[i] = work.done();
            EncoderPiece piece;
            piece.state = &work.state;
            piece.frames = work.frames.data();
            piece.n_frames = work.frames.size() / (size_t)model.frame_width();
            piece.end = work.done() && work.push.finish;
            piece.embeddings = &work.embeddings;
            piece.encoder_out = work.push.clip->keep_encoder_ ? &work.encoder_out : nullptr;
            pieces.push_back(piece);
        }
        Stopwatch watch(timings.encode_s);
        encoder.encode(pieces);
    }

    // Room first: past this point nothing throws.
    for (const Work & work : works) {
        AudioClip & clip = *work.push.clip;
        make_room(clip.embeddings_, work.embeddings.size());
        make_room(clip.encoder_out_, work.encoder_out.size());
    }
    for (Work & work : works) {
        AudioClip & clip = *work.push.clip;
        append(clip.embeddings_, work.embeddings);
        append(clip.encoder_out_, work.encoder_out);
        timings.n_samples += work.push.n_samples;
        timings.n_audio_tokens += (uint64_t)work.state.n_tokens - clip.n_tokens_;
        clip.n_tokens_ = (size_t)work.state.n_tokens;
        clip.mel_ = std::move(work.mel);
        clip.samples_ = std::move(work.samples);
        clip.state_ = std::move(work.state);
        clip.started_ = true;
        clip.finished_ = work.push.finish;
    }
}

void AudioClip::read(int stage, size_t first, size_t n, float * out) const {
    if (stage != 0 && stage != 1) {
        fail(GA_ERROR_INVALID_ARGUMENT, "stage %d does not exist: 0 is the embeddings, 1 the encoder's output", stage);
    }
    if (stage == 1 && !keep_encoder_) {
        fail(GA_ERROR_INVALID_ARGUMENT, "the encoder's output was not kept");
    }
    if (first > n_tokens_ || n > n_tokens_ - first) {
        fail(GA_ERROR_INVALID_ARGUMENT, "tokens [%zu, %zu) asked for, the clip has %zu", first, first + n, n_tokens_);
    }
    const std::vector<float> & from = stage == 0 ? embeddings_ : encoder_out_;
    const size_t width = (size_t)(stage == 0 ? encoder_.model().n_embd_out() : encoder_.model().n_encoder_out());
    std::copy_n(from.begin() + (std::ptrdiff_t)(first * width), n * width, out);
}

} // namespace ga
