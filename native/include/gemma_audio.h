/* gemma_audio.h: the whole C interface of libgemma_audio.
 *
 * Speech in, text out, with Google's Gemma 4 audio models in GGUF files. Three handles:
 *
 *   ga_engine    the weights of one text model and its audio projector, on one backend
 *   ga_audio     one clip on its way through mel -> conformer -> projector (streaming, carries state)
 *   ga_session   the K/V cache of several sequences, prefill, decode, sampling
 *
 * Rules that hold everywhere:
 *   - Every function that can fail returns a ga_status. A handle's last message is copied out by *_error().
 *   - No exception, assertion or abort() crosses this boundary because of a bad file or a bad argument.
 *   - Structs with a `size` field: the caller sets it to sizeof(the struct) (ga_*_defaults does).
 *   - One thread at a time per engine and whatever was opened from it; several engines run in parallel. A call beside another
 *     one fails with GA_ERROR_INVALID_ARGUMENT. A callback may read (tokens, timings), and must not compute or close.
 *   - Not across fork(): in the new process every call on an engine of the old one fails.
 *   - A closed engine lives on until its sessions and audios are closed. Closing NULL is allowed. Closing fails only while a
 *     call is going on (GA_ERROR_INVALID_ARGUMENT): the handle is then as it was.
 *   - Where ggml or libllama end the process all the same, it is with one line on stderr and exit code 3.
 *   - Strings are UTF-8. Audio is 16 kHz mono float32 in [-1, 1]; NaN and infinity are refused.
 *
 * This file is also what the Python binding is generated from: it keeps to plain C declarations, and
 * preprocessor lines are skipped by that generator. */
#ifndef GEMMA_AUDIO_H
#define GEMMA_AUDIO_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#ifdef GA_BUILD
#define GA_API __declspec(dllexport)
#else
#define GA_API __declspec(dllimport)
#endif
#else
#define GA_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status -------------------------------------------------------------------------------------- */

typedef enum ga_status {
    GA_OK = 0,
    GA_ERROR_INVALID_ARGUMENT = 1, /* a call that breaks this header's rules */
    GA_ERROR_IO = 2,               /* a file that cannot be opened, mapped or read */
    GA_ERROR_FORMAT = 3,           /* not a GGUF, truncated, or a tensor or key with a wrong size, type or shape */
    GA_ERROR_UNSUPPORTED = 4,      /* a sound file of an architecture or type this engine does not run */
    GA_ERROR_WIDTH_MISMATCH = 5,   /* the projector's width is not the text model's: the files do not belong together */
    GA_ERROR_OUT_OF_MEMORY = 6,
    GA_ERROR_BACKEND = 7,      /* no such backend, or it failed while computing */
    GA_ERROR_CONTEXT_FULL = 8, /* more positions than the session was opened with */
    GA_ERROR_CANCELLED = 9,    /* the cancel callback said so; the session stays usable */
    GA_ERROR_INTERNAL = 10
} ga_status;

/* A short English name of a status, never NULL. */
GA_API const char * ga_status_name(ga_status status);

/* ---- library ------------------------------------------------------------------------------------- */

/* Counts up whenever this header changes incompatibly. */
GA_API int32_t ga_abi_version(void);

typedef void (*ga_log_callback)(int32_t level, const char * text,
                                void * user_data); /* level: ggml's (1 debug .. 4 error) */

/* Where ggml's and libllama's log lines go. Default, and callback NULL: nowhere. Process-wide. */
GA_API void ga_set_log(ga_log_callback callback, void * user_data);

typedef struct ga_device_info {
    uint32_t size;
    char name[64]; /* ggml's device name: "CPU", "CUDA0", "Vulkan0", ... */
    char description[128];
    int32_t type;         /* ggml_backend_dev_type: 0 CPU, 1 GPU, 2 integrated GPU, 3 accelerator */
    uint64_t memory_free; /* bytes */
    uint64_t memory_total;
} ga_device_info;

GA_API int32_t ga_device_count(void);
GA_API ga_status ga_device_get(int32_t index, ga_device_info * info);

/* Which products of its own the library has for this processor: "avx2: q4_0 q8_0 ...", each class of processors with its weight
 * types, or "ggml" for none. What was left out follows, with the reason. Returns the text's length; at most size - 1 bytes are copied,
 * always terminated. GEMMA_AUDIO_CPU_CLASS in the environment caps the class: avx512, avx2, portable (slow), ggml. */
GA_API size_t ga_cpu_products(char * text, size_t size);

/* ---- engine -------------------------------------------------------------------------------------- */

/* Called now and then during long work. Return 0 to go on, anything else to cancel. */
typedef int32_t (*ga_cancel_callback)(void * user_data);
/* fraction in [0, 1] of the load done. */
typedef void (*ga_progress_callback)(float fraction, void * user_data);

enum { GA_ALL_THAT_FIT = -1 };

typedef struct ga_engine_options {
    uint32_t size;
    int32_t n_threads;             /* at most 512; 0: one per physical core */
    const char * device;           /* a device's name; NULL: the best GPU, else "CPU" */
    int32_t use_repack;            /* 1 (default): let the CPU backend keep matrices in its fastest layout */
    int32_t n_gpu_layers;          /* of the text model, from its first on, that lie on the device; its output matrix
                                      counts as one more. GA_ALL_THAT_FIT (default): by the device's free memory.
                                      The others are the CPU's. No meaning where the device is the CPU. */
    ga_progress_callback progress; /* may be NULL */
    ga_cancel_callback cancel;     /* may be NULL; also asked during every later call on the engine */
    void * user_data;              /* for both callbacks */
} ga_engine_options;

typedef enum ga_projector {
    GA_PROJECTOR_NONE = 0,    /* the engine was opened without an mmproj: text only */
    GA_PROJECTOR_GEMMA4A = 1, /* mel + conformer (E2B, E4B) */
    GA_PROJECTOR_GEMMA4UA = 2 /* raw frames (12B Unified) */
} ga_projector;

typedef struct ga_engine_info {
    uint32_t size;
    int32_t n_vocab;
    int32_t n_embd; /* text width; equals the projector's output width */
    int32_t n_layer;
    int32_t n_layer_kv; /* layers that own K/V: the first n_layer_kv */
    int32_t n_ctx_train;
    int32_t n_gpu_layers; /* on the device, of n_layer + 1 */
    ga_projector projector;
    int32_t n_audio_layer;
    int32_t n_audio_embd; /* conformer width; 0 for gemma4ua */
    int32_t n_audio_out;  /* width of the encoder's output, the projector's input */
    int32_t token_bos;    /* -1 where the vocabulary has none */
    int32_t token_eos;
    uint64_t bytes_text; /* weights resident for the text model, mapped tables not counted */
    uint64_t bytes_audio;
    uint64_t bytes_mapped; /* left in the mapped files, read on demand */
    char device[64];
    char buffers[256]; /* buffer types in use and their bytes, for a verbose line */
} ga_engine_info;

GA_API void ga_engine_defaults(ga_engine_options * options);

typedef struct ga_engine ga_engine;
typedef struct ga_audio ga_audio;
typedef struct ga_session ga_session;

/* Opens a text model and, where mmproj_path is not NULL, its audio projector. On failure *engine is NULL and
 * the message is written to error (error_size bytes, always terminated; may be NULL with size 0). */
GA_API ga_status ga_engine_open(const char * text_path, const char * mmproj_path, const ga_engine_options * options,
                                ga_engine ** engine, char * error, size_t error_size);
GA_API ga_status ga_engine_close(ga_engine * engine);

/* Checks two files (mmproj_path may be NULL) as ga_engine_open does, without reading their weights: what passes opens, where
 * there is memory for it. The message is written as there. */
GA_API ga_status ga_model_check(const char * text_path, const char * mmproj_path, char * error, size_t error_size);

GA_API ga_status ga_engine_get_info(const ga_engine * engine, ga_engine_info * info);

/* One layer of the text model. */
typedef struct ga_layer_info {
    uint32_t size;
    int32_t n_head;
    int32_t window; /* positions that a row sees, itself included; 0: all */
} ga_layer_info;

GA_API ga_status ga_layer_get(ga_engine * engine, int32_t layer, ga_layer_info * info);

/* The message of the last failed call on this engine, its audios or its sessions. Returns its length;
 * at most size - 1 bytes are copied, always terminated. */
GA_API size_t ga_engine_error(const ga_engine * engine, char * text, size_t size);

/* A string value of the text model's metadata, e.g. "tokenizer.chat_template". Returns its length in bytes (copied as
 * above), or -1 where the file has no such string. */
GA_API int64_t ga_engine_metadata(const ga_engine * engine, const char * key, char * text, size_t size);

/* ---- vocabulary ---------------------------------------------------------------------------------- */

/* UTF-8 text to tokens. parse_special: 1 turns "<|turn>" and the like into their control tokens, 0 spells them out.
 * No token is added in front. *n_tokens is the number needed; where capacity is less, nothing is written and
 * the call fails with GA_ERROR_INVALID_ARGUMENT. */
GA_API ga_status ga_tokenize(ga_engine * engine, const char * text, size_t n_bytes, int32_t parse_special,
                             int32_t * tokens, size_t capacity, size_t * n_tokens);

/* The bytes of one token (not terminated; may be part of a UTF-8 character). Control tokens have no bytes unless
 * special is 1. Same capacity rule. */
GA_API ga_status ga_token_bytes(ga_engine * engine, int32_t token, int32_t special, char * bytes, size_t capacity,
                                size_t * n_bytes);

GA_API int32_t ga_token_is_end(const ga_engine * engine, int32_t token);     /* ends an answer */
GA_API int32_t ga_token_is_control(const ga_engine * engine, int32_t token); /* never text: marks, unused tokens */

/* ---- mel (the gemma4a frontend alone) -------------------------------------------------------------- */

typedef struct ga_mel ga_mel;

/* Log-mel frames of 128 bins, one per 160 samples. Any slicing of the same samples gives identical frames.
 * push() takes samples; pop() gives up to max_frames frames [frame][128] that are complete. */
GA_API ga_status ga_mel_open(ga_mel ** mel);
GA_API void ga_mel_close(ga_mel * mel);
GA_API ga_status ga_mel_push(ga_mel * mel, const float * samples, size_t n_samples);
GA_API ga_status ga_mel_pop(ga_mel * mel, float * frames, size_t max_frames, size_t * n_frames);

/* ---- audio: samples -> embeddings ------------------------------------------------------------------ */

/* One clip. Samples are pushed in pieces of any size; tokens (25 a second) come out as soon as they are determined,
 * the same for any slicing as for the whole clip at once. finish() ends the clip and gives its last tokens. */
GA_API ga_status ga_audio_open(ga_engine * engine, ga_audio ** audio);
GA_API ga_status ga_audio_close(ga_audio * audio);
GA_API ga_status ga_audio_push(ga_audio * audio, const float * samples, size_t n_samples);
GA_API ga_status ga_audio_finish(ga_audio * audio);

/* Pushes one piece to each of several clips and encodes them together; finish[i] != 0 ends clip i. */
GA_API ga_status ga_audio_push_batch(ga_audio * const * audios, const float * const * samples, const size_t * n_samples,
                                     const int32_t * finish, size_t n_audios);

/* Tokens determined so far. */
GA_API size_t ga_audio_count(const ga_audio * audio);
/* Copies embeddings of tokens [first, first + n) as [n][n_embd], or with stage 1 the encoder's output before the
 * projector as [n][n_audio_out] (kept only if ga_audio_keep_encoder was called before the first push). */
GA_API ga_status ga_audio_read(const ga_audio * audio, int32_t stage, size_t first, size_t n, float * out);
GA_API ga_status ga_audio_keep_encoder(ga_audio * audio);

/* ---- session: prefill and decode ------------------------------------------------------------------- */

typedef enum ga_kv_type { GA_KV_F16 = 0, GA_KV_Q8_0 = 1, GA_KV_F32 = 2 } ga_kv_type;

typedef struct ga_session_options {
    uint32_t size;
    int32_t n_ctx;   /* positions of each sequence */
    int32_t n_seq;   /* sequences */
    int32_t n_batch; /* most rows computed in one graph; longer forwards are cut. 0: a good size for the device */
    ga_kv_type kv_type;
    int32_t skip_rows; /* 1 (default): rows whose logits nobody wants stop at the last K/V-owning layer */
} ga_session_options;

GA_API void ga_session_defaults(ga_session_options * options);
GA_API ga_status ga_session_open(ga_engine * engine, const ga_session_options * options, ga_session ** session);
GA_API ga_status ga_session_close(ga_session * session);

/* What one sequence gets in one forward call: n new positions appended after its present length. Exactly one of tokens,
 * embeddings ([n][n_embd], as from ga_audio_read) and audio (tokens [audio_first, audio_first + n) of a clip of this
 * engine) is not NULL. Logits are computed for the last n_logits of the n positions. */
typedef struct ga_input {
    int32_t seq;
    int32_t n;
    const int32_t * tokens;
    const float * embeddings;
    const ga_audio * audio;
    int32_t audio_first;
    int32_t n_logits;
} ga_input;

/* Runs several inputs in one call, in order; each sequence may stand in it several times (audio, then text). The logits
 * wanted are rows 0, 1, ... in the order of the inputs. On failure no sequence has changed its length. */
GA_API ga_status ga_session_forward(ga_session * session, const ga_input * inputs, size_t n_inputs);

/* Rows of the last forward, and one of them ([n_vocab], soft-capped); valid until the next call on the session. What
 * ga_session_generate computed may have none: devices choose tokens where the logits are. */
GA_API size_t ga_session_n_logits(const ga_session * session);
GA_API const float * ga_session_logits(const ga_session * session, size_t row);

/* Positions held by a sequence; rewind forgets all from n on (0: the whole sequence). Nothing is copied. */
GA_API int32_t ga_session_length(const ga_session * session, int32_t seq);
GA_API ga_status ga_session_rewind(ga_session * session, int32_t seq, int32_t n);
/* Gives sequence `to` the first n positions of sequence `from` in place of all it held: a common beginning of several prompts
 * is computed once. */
GA_API ga_status ga_session_copy(ga_session * session, int32_t from, int32_t to, int32_t n);

/* Where tokens look at what a sequence holds (which the tokens of a transcript do at the sound of their words). The tokens are
 * run behind the sequence's positions and forgotten again. For each of the layers (ascending) in turn: [n_head][n_tokens][n_keys],
 * the softmax of each head over the positions [first_key, first_key + n_keys) alone; all of them must lie in the window of a
 * sliding layer (ga_layer_get). capacity: the number of floats of all that. At most n_batch tokens. */
GA_API ga_status ga_session_attention(ga_session * session, int32_t seq, const int32_t * tokens, int32_t n_tokens,
                                      const int32_t * layers, size_t n_layers, int32_t first_key, int32_t n_keys,
                                      float * out, size_t capacity);

/* ---- sampling -------------------------------------------------------------------------------------- */

typedef struct ga_sampler_options {
    uint32_t size;
    float temperature; /* 0: greedy */
    int32_t top_k;     /* 0: off */
    float top_p;       /* 1: off */
    float min_p;       /* 0: off */
    uint32_t seed;
    const char * grammar; /* GBNF, start rule "root"; NULL: none */
    int32_t text_only;    /* 1: no token that is never text, but the ends of an answer and the marks of a thought */
    int32_t no_thinking;  /* 1: the mark that opens a thought is never chosen either */
} ga_sampler_options;

GA_API void ga_sampler_defaults(ga_sampler_options * options);
/* Sets (and restarts) the sampler chain of a sequence. Every sequence starts greedy. */
GA_API ga_status ga_session_sampler(ga_session * session, int32_t seq, const ga_sampler_options * options);
/* Draws a token from a row of the last forward with that sequence's chain. logprob (may be NULL): log-probability of the
 * token under the plain softmax of the row. */
GA_API ga_status ga_session_sample(ga_session * session, int32_t seq, size_t row, int32_t * token, float * logprob);

/* ---- generation ------------------------------------------------------------------------------------ */

typedef enum ga_stop { GA_STOP_RUNNING = 0, GA_STOP_END = 1, GA_STOP_BUDGET = 2, GA_STOP_CALLER = 3 } ga_stop;

/* One answer in the making. The caller fills seq, next_token (the first token, sampled from the prompt's last logits) and
 * n_max; the library counts. next_token is always the token that has been reported but not yet fed. */
typedef struct ga_generation {
    int32_t seq;
    int32_t next_token;
    int32_t n_max;      /* tokens still allowed */
    ga_stop stop;       /* GA_STOP_RUNNING on entry */
    int32_t ignore_end; /* 1: the end token is a token like any other, so that exactly n_max are written (benchmarks) */
} ga_generation;

/* Told each new token (the end token only where it is ignored) of generation `index`. Return 0 to go on, 1 to stop this generation,
 * 2 to return from ga_session_generate after this step. */
typedef int32_t (*ga_token_callback)(size_t index, int32_t token, float logprob, void * user_data);

/* Decodes all running generations together, one token of each a step, until every one has stopped; with
 * return_on_stop 1 until any one has (so that a scheduler can give its slot to the next window). */
GA_API ga_status ga_session_generate(ga_session * session, ga_generation * generations, size_t n_generations,
                                     int32_t return_on_stop, ga_token_callback callback, void * user_data);

/* ---- timings --------------------------------------------------------------------------------------- */

typedef struct ga_timings {
    uint32_t size;
    double load_s;
    double mel_s;
    double encode_s;  /* conformer and projector */
    double prefill_s; /* forwards of more than one position a sequence */
    double decode_s;  /* forwards of one position a sequence */
    uint64_t n_samples;
    uint64_t n_audio_tokens;
    uint64_t n_prefill;
    uint64_t n_decode;
} ga_timings;

GA_API ga_status ga_engine_timings(const ga_engine * engine, ga_timings * timings);
GA_API void ga_engine_reset_timings(ga_engine * engine);

#ifdef __cplusplus
}
#endif

#endif /* GEMMA_AUDIO_H */
