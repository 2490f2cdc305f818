// The C interface: mel frames and clips.
#include "api/api.h"

using ga::guarded;
using ga::require;

extern "C" {

// ---- mel ---------------------------------------------------------------------------------------------

ga_status ga_mel_open(ga_mel ** mel) {
    std::string error;
    return guarded(error, [&] {
        require(mel, "the mel's address is NULL");
        *mel = new ga_mel();
    });
}

void ga_mel_close(ga_mel * mel) {
    delete mel;
}

ga_status ga_mel_push(ga_mel * mel, const float * samples, size_t n_samples) {
    std::string error;
    return guarded(error, [&] {
        require(mel && (samples || n_samples == 0), "mel or samples are NULL");
        mel->mel.push(samples, n_samples);
    });
}

ga_status ga_mel_pop(ga_mel * mel, float * frames, size_t max_frames, size_t * n_frames) {
    std::string error;
    return guarded(error, [&] {
        require(mel && n_frames && (frames || max_frames == 0), "mel, frames or count are NULL");
        *n_frames = mel->mel.pop(frames, max_frames);
    });
}

// ---- audio -------------------------------------------------------------------------------------------

ga_status ga_audio_open(ga_engine * engine, ga_audio ** audio) {
    return ga::change(engine, [&] {
        require(audio, "the audio's address is NULL");
        *audio = nullptr;
        *audio = new ga_audio(engine);
    });
}

ga_status ga_audio_close(ga_audio * audio) {
    return ga::close_with(ga::owner_of(audio), [&] { delete audio; });
}

ga_status ga_audio_push(ga_audio * audio, const float * samples, size_t n_samples) {
    return ga::change(ga::owner_of(audio), [&] {
        require(samples || n_samples == 0, "the samples are NULL");
        audio->clip.push(samples, n_samples);
    });
}

ga_status ga_audio_finish(ga_audio * audio) {
    return ga::change(ga::owner_of(audio), [&] { audio->clip.finish(); });
}

ga_status ga_audio_push_batch(ga_audio * const * audios, const float * const * samples, const size_t * n_samples,
                              const int32_t * finish, size_t n_audios) {
    if (n_audios == 0) {
        return GA_OK;
    }
    return ga::change(audios ? ga::owner_of(audios[0]) : nullptr, [&] {
        require(samples && n_samples && finish, "an array is NULL");
        std::vector<ga::AudioClip::Push> pushes(n_audios);
        for (size_t i = 0; i < n_audios; i++) {
            require(audios[i] && ga::owner_of(audios[i]) == ga::owner_of(audios[0]), "the clips are not of one engine");
            require(samples[i] || n_samples[i] == 0, "the samples are NULL");
            pushes[i] = {&audios[i]->clip, samples[i], n_samples[i], finish[i] != 0};
        }
        ga::AudioClip::push_batch(pushes);
    });
}

size_t ga_audio_count(const ga_audio * audio) {
    return audio ? audio->clip.count() : 0;
}

ga_status ga_audio_read(const ga_audio * audio, int32_t stage, size_t first, size_t n, float * out) {
    return ga::read_from(ga::owner_of(audio), [&] {
        require(out || n == 0, "the output is NULL");
        audio->clip.read(stage, first, n, out);
    });
}

ga_status ga_audio_keep_encoder(ga_audio * audio) {
    return ga::change(ga::owner_of(audio), [&] { audio->clip.keep_encoder(); });
}

} // extern "C"
