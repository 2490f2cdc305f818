#include "core/plugins.h"

#include "ggml-backend.h"

#include <mutex>
#include <string>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

namespace ga {

namespace {

#if defined(_WIN32)

// The file of this library or of ggml's, in UTF-8: they lie together. Empty where Windows does not say.
std::string library_file() {
    HMODULE module = nullptr;
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
                            reinterpret_cast<LPCWSTR>(&ggml_backend_load_all_from_path), &module)) {
        return {};
    }
    std::wstring wide(32768, L'\0'); // the longest path there is
    wide.resize(GetModuleFileNameW(module, &wide[0], (DWORD)wide.size()));
    const int size = WideCharToMultiByte(CP_UTF8, 0, wide.data(), (int)wide.size(), nullptr, 0, nullptr, nullptr);
    std::string file((size_t)size, '\0');
    WideCharToMultiByte(CP_UTF8, 0, wide.data(), (int)wide.size(), &file[0], size, nullptr, nullptr);
    return file;
}

#else

// The file of ggml's library. Empty where the loader does not say.
std::string library_file() {
    Dl_info info = {};
    const bool found = dladdr(reinterpret_cast<void *>(&ggml_backend_load_all_from_path), &info) != 0;
    return found && info.dli_fname ? info.dli_fname : "";
}

#endif

} // namespace

void load_plugins_once() {
    static std::once_flag once;
    std::call_once(once, [] {
        if (ggml_backend_dev_count() != 0) {
            return;
        }
        const std::string file = library_file();
        const size_t slash = file.find_last_of("/\\");
        if (slash != std::string::npos) {
            ggml_backend_load_all_from_path(file.substr(0, slash).c_str());
        }
    });
}

} // namespace ga
