// Functions of vectors; simd_256.h and simd_512.h include this.

// e^x for all x, about 1 ulp: 2^n e^r with |r| <= ln 2 / 2.
inline Vec vexp(Vec x) {
    x = vmin(vmax(x, set1(-87.3f)), set1(88.3f));
    const Vec n = round_nearest(mul(x, set1(1.44269504f)));
    Vec r = fma(n, set1(-0.693145752f), x);
    r = fma(n, set1(-1.42860677e-6f), r);
    Vec p = set1(1.9875691500e-4f);
    p = fma(p, r, set1(1.3981999507e-3f));
    p = fma(p, r, set1(8.3334519073e-3f));
    p = fma(p, r, set1(4.1665795894e-2f));
    p = fma(p, r, set1(1.6666665459e-1f));
    p = fma(p, r, set1(5.0000001201e-1f));
    p = fma(p, mul(r, r), add(r, set1(1.0f)));
    return exp_scale(p, n);
}

inline Vec vsigmoid(Vec x) {
    return div(set1(1.0f), add(set1(1.0f), vexp(sub(set1(0.0f), x))));
}

// What is no number stays none: of two values where one is none, the processor takes the second.
inline Vec clamp(Vec x, Vec min, Vec max) {
    return vmin(max, vmax(min, x));
}
