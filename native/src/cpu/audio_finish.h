// A source file includes this after simd_256.h or simd_512.h.

// What follows a product, on kLanes outputs from `at` on.
inline Vec finish(const MatmulArgs & args, Vec v) {
    v = clamp(v, set1(args.min), set1(args.max));
    if (args.silu) {
        v = clamp(mul(v, vsigmoid(v)), set1(args.silu_min), set1(args.silu_max));
    }
    return v;
}
