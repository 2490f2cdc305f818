// GGUF files that are damaged, truncated or not GGUF at all: each is an Error that says so, none ends the process.
#include "core/gguf_file.h"
#include "text_file.h"

#include <cstring>

using testing::TempFile;
using testing::thrown;

namespace {

void test_reads_what_was_written() {
    const TempFile file("whole.gguf");
    testing::write_text_model({}, file.path());
    const ga::GgufFile gguf(file.path());
    CHECK(gguf.get_string("general.architecture") == "gemma4", "wrong string");
    CHECK(gguf.get_int("gemma4.block_count", 1, 100) == 6, "wrong number");
    CHECK(gguf.get_ints("gemma4.attention.head_count", 6, 1, 9) == std::vector<int64_t>(6, 2), "one value for all");
    CHECK(gguf.get_ints("gemma4.attention.sliding_window_pattern", 6, 0, 1)[1] == 0, "array of booleans");
    const ga::TensorInfo * info = gguf.find_tensor("token_embd.weight");
    CHECK(info && info->ne[0] == 32 && info->ne[1] == 64 && info->shape() == "[32, 64]", "wrong tensor");
    CHECK(!gguf.find_tensor("no.such.tensor"), "a tensor out of nowhere");
}

void test_wrong_types_are_errors() {
    const TempFile file("types.gguf");
    testing::write_text_model({}, file.path());
    const ga::GgufFile gguf(file.path());
    std::string text;
    CHECK(thrown([&] { gguf.get_int("general.architecture", 0, 9); }, &text) == GA_ERROR_FORMAT, "%s", text.c_str());
    CHECK(text.find("general.architecture") != std::string::npos, "the key is not named: %s", text.c_str());
    CHECK(thrown([&] { gguf.get_string("gemma4.block_count"); }) == GA_ERROR_FORMAT, "a number read as a string");
    CHECK(thrown([&] { gguf.get_int("gemma4.block_count", 7, 9); }) == GA_ERROR_FORMAT, "out of range");
    CHECK(thrown([&] { gguf.get_int("missing", 0, 9); }) == GA_ERROR_FORMAT, "a missing key");
    CHECK(thrown([&] { gguf.get_float("tokenizer.ggml.tokens", 0, 1); }) == GA_ERROR_FORMAT,
          "an array read as a number");
    CHECK(thrown([&] { gguf.get_ints("gemma4.attention.sliding_window_pattern", 5, 0, 1); }) == GA_ERROR_FORMAT,
          "an array of another length");
}

void test_no_gguf() {
    const TempFile file("text.gguf");
    CHECK(thrown([&] { ga::GgufFile(file.path() + ".missing"); }) == GA_ERROR_IO, "a missing file");
    CHECK(thrown([&] { ga::GgufFile(std::filesystem::temp_directory_path().string()); }) == GA_ERROR_IO, "a folder");
    file.write({});
    CHECK(thrown([&] { ga::GgufFile gguf(file.path()); }) == GA_ERROR_FORMAT, "an empty file");
    file.write({'G', 'G', 'U'});
    CHECK(thrown([&] { ga::GgufFile gguf(file.path()); }) == GA_ERROR_FORMAT, "three bytes");
    const char * text = "RIFF....WAVEfmt and so on, long enough to be a header";
    file.write({text, text + std::strlen(text)});
    CHECK(thrown([&] { ga::GgufFile gguf(file.path()); }) == GA_ERROR_FORMAT, "another format");
}

// Every possible truncation of a small file either fails with an Error, or cuts nothing but trailing padding.
void test_truncation() {
    const TempFile whole("truncate-whole.gguf"), cut("truncate-cut.gguf");
    testing::write_text_model({}, whole.path());
    const std::vector<char> bytes = whole.read();
    for (size_t n = 0; n < bytes.size(); n += n < 4096 ? 13 : 4099) {
        cut.write({bytes.begin(), bytes.begin() + (std::ptrdiff_t)n});
        const ga_status status = thrown([&] { ga::GgufFile gguf(cut.path()); });
        CHECK(status == GA_ERROR_FORMAT, "cut to %zu of %zu bytes: status %d", n, bytes.size(), status);
    }
}

// Headers that ggml's own reader would end the process on.
void test_header_traps() {
    const TempFile file("traps.gguf");
    std::vector<char> bytes;
    const auto put = [&](const void * data, size_t n) {
        bytes.insert(bytes.end(), static_cast<const char *>(data), static_cast<const char *>(data) + n);
    };
    const auto u32 = [&](uint32_t v) { put(&v, sizeof(v)); };
    const auto u64 = [&](uint64_t v) { put(&v, sizeof(v)); };
    const auto string = [&](const std::string & s) {
        u64(s.size());
        put(s.data(), s.size());
    };
    const auto begin = [&](uint64_t n_kv) {
        bytes.clear();
        put("GGUF", 4);
        u32(3);
        u64(0);
        u64(n_kv);
    };
    const auto refused = [&](const char * what) {
        file.write(bytes);
        CHECK(thrown([&] { ga::GgufFile gguf(file.path()); }) == GA_ERROR_FORMAT, "%s", what);
    };
    begin(1);
    string("");
    u32(GGUF_TYPE_UINT32);
    u32(7);
    refused("an empty key");
    begin(1);
    string("general.alignment");
    u32(GGUF_TYPE_STRING);
    string("32");
    refused("an alignment that is a string");
    begin(1);
    string("general.alignment");
    u32(GGUF_TYPE_UINT32);
    u32(24);
    refused("an alignment that is no power of two");
    begin(1);
    string("a");
    u32(99);
    refused("an unknown type");
    begin(1);
    string("a");
    u32(GGUF_TYPE_ARRAY);
    u32(GGUF_TYPE_UINT64);
    u64(UINT64_MAX / 4);
    refused("an array larger than memory");
    begin(UINT64_MAX);
    refused("more keys than there are bytes");
    begin(1);
    u64(UINT64_MAX);
    refused("a string longer than the file");
}

// Writes a model as parts beside each other, tensors dealt out in turn; the paths.
std::vector<std::string> write_parts(const std::string & whole, const std::string & stem, int count,
                                     const std::function<void(gguf_context *, int)> & edit = nullptr) {
    ggml_context * data = nullptr;
    const std::unique_ptr<gguf_context, decltype(&gguf_free)> from(
        gguf_init_from_file(whole.c_str(), {/*no_alloc =*/false, &data}), gguf_free);
    const std::unique_ptr<ggml_context, decltype(&ggml_free)> tensors(data, ggml_free);
    const int64_t n = gguf_get_n_tensors(from.get());
    std::vector<std::string> paths;
    for (int i = 0; i < count; i++) {
        const std::unique_ptr<gguf_context, decltype(&gguf_free)> part(gguf_init_empty(), gguf_free);
        if (i == 0) {
            gguf_set_kv(part.get(), from.get());
        }
        gguf_set_val_u16(part.get(), "split.no", (uint16_t)i);
        gguf_set_val_u16(part.get(), "split.count", (uint16_t)count);
        gguf_set_val_i32(part.get(), "split.tensors.count", (int32_t)n);
        for (int64_t k = i; k < n; k += count) {
            gguf_add_tensor(part.get(), ggml_get_tensor(tensors.get(), gguf_get_tensor_name(from.get(), k)));
        }
        if (edit) {
            edit(part.get(), i);
        }
        paths.push_back(stem + ga::format("-%05d-of-%05d.gguf", i + 1, count));
        gguf_write_to_file(part.get(), paths.back().c_str(), false);
    }
    return paths;
}

void test_parts_are_one_file() {
    const TempFile file("whole.gguf");
    testing::write_text_model({}, file.path());
    const std::vector<std::string> paths = write_parts(file.path(), file.path() + ".set", 3);
    const ga::GgufFile whole(file.path()), set(paths[0]);
    CHECK(set.tensors().size() == whole.tensors().size(), "%zu tensors", set.tensors().size());
    CHECK(set.get_int("gemma4.block_count", 1, 100) == 6, "metadata of the first part");
    for (const ga::TensorInfo & info : whole.tensors()) {
        const ga::TensorInfo * found = set.find_tensor(info.name);
        CHECK(found && found->n_bytes == info.n_bytes && found->shape() == info.shape() &&
                  std::memcmp(found->data, info.data, info.n_bytes) == 0 &&
                  found->map->data() + found->offset == found->data,
              "%s differs", info.name.c_str());
    }

    std::string text;
    CHECK(thrown([&] { ga::GgufFile gguf(paths[1]); }, &text) == GA_ERROR_FORMAT, "the second part alone");
    CHECK(text.find("name the first part") != std::string::npos, "%s", text.c_str());
    const std::string elsewhere = file.path() + ".renamed";
    std::filesystem::copy_file(paths[0], elsewhere, std::filesystem::copy_options::overwrite_existing);
    CHECK(thrown([&] { ga::GgufFile gguf(elsewhere); }) == GA_ERROR_FORMAT, "a first part of another name");
    std::filesystem::copy_file(paths[2], paths[1], std::filesystem::copy_options::overwrite_existing);
    CHECK(thrown([&] { ga::GgufFile gguf(paths[0]); }, &text) == GA_ERROR_FORMAT, "the same part twice");
    CHECK(text.find(paths[1]) != std::string::npos, "the wrong part is not named: %s", text.c_str());
    std::filesystem::remove(paths[1]);
    CHECK(thrown([&] { ga::GgufFile gguf(paths[0]); }, &text) == GA_ERROR_IO, "a missing part");
    CHECK(text.find(paths[1]) != std::string::npos, "the missing part is not named: %s", text.c_str());
    for (const std::string & path : {paths[0], paths[2], elsewhere}) {
        std::filesystem::remove(path);
    }
}

void test_parts_that_lie() {
    const TempFile file("whole.gguf");
    testing::write_text_model({}, file.path());
    const auto refused = [&](const char * what, const std::function<void(gguf_context *, int)> & edit) {
        const std::vector<std::string> paths = write_parts(file.path(), file.path() + ".set", 2, edit);
        CHECK(thrown([&] { ga::GgufFile gguf(paths[0]); }) == GA_ERROR_FORMAT, "%s", what);
        for (const std::string & path : paths) {
            std::filesystem::remove(path);
        }
    };
    refused("a count beyond reason",
            [](gguf_context * part, int) { gguf_set_val_u32(part, "split.count", 4000000000u); });
    refused("a count that is a string", [](gguf_context * part, int) { gguf_set_val_str(part, "split.count", "2"); });
    refused("no number", [](gguf_context * part, int) { gguf_remove_key(part, "split.no"); });
    refused("tensors that are not there",
            [](gguf_context * part, int) { gguf_set_val_i32(part, "split.tensors.count", 7); });
    refused("a second part that is whole", [](gguf_context * part, int i) {
        if (i == 1) {
            gguf_remove_key(part, "split.count");
        }
    });
}

} // namespace

int main() {
    ggml_log_set([](ggml_log_level, const char *, void *) {}, nullptr);
    test_reads_what_was_written();
    test_wrong_types_are_errors();
    test_no_gguf();
    test_truncation();
    test_header_traps();
    test_parts_are_one_file();
    test_parts_that_lie();
    return testing::result();
}
