// Regions of code for processors that have more than the rest of the library asks for.
#pragma once

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define GA_X86 1
#include <immintrin.h>
#else
#define GA_X86 0
#endif

#define GA_PRAGMA(text) _Pragma(#text)

#if defined(__clang__)
#define GA_TARGET_BEGIN(features)                                                                                      \
    GA_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define GA_TARGET_END GA_PRAGMA(clang attribute pop)
#else
#define GA_TARGET_BEGIN(features) GA_PRAGMA(GCC push_options) GA_PRAGMA(GCC target(features))
#define GA_TARGET_END GA_PRAGMA(GCC pop_options)
#endif

// GCC's own AVX-512 headers set registers of no particular value, and its warning about that has no way around it (GCC bug
// 105593). For a whole source file, before anything else in it.
#if defined(__GNUC__) && !defined(__clang__)
#define GA_EXCUSE_AVX512_HEADERS                                                                                       \
    GA_PRAGMA(GCC diagnostic ignored "-Wmaybe-uninitialized") GA_PRAGMA(GCC diagnostic ignored "-Wuninitialized")
#else
#define GA_EXCUSE_AVX512_HEADERS
#endif
