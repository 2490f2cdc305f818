// See mel.h. Spectra are computed in double precision: a float FFT's rounding, relative to the loudest bin, is as large
// as the floor of 0.001 under the logarithm that quiet bins rest on.
#include "audio/mel.h"

#include <algorithm>
#include <cmath>

namespace ga {

namespace {

constexpr int kBins = Mel::n_fft / 2 + 1; // 257
constexpr int kHalf = Mel::n_fft / 2;     // complex points of the packed real FFT
constexpr double kFloor = 1e-3;
constexpr double kMaxHz = 8000.0;
constexpr double kPi = 3.14159265358979323846;

double hz_to_mel(double hz) {
    return 2595.0 * std::log10(1.0 + hz / 700.0);
}
double mel_to_hz(double mel) {
    return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0);
}

struct Spectrum {
    double re[kHalf];
    double im[kHalf];
};

} // namespace

struct Mel::Tables {
    // A triangular filter touches few bins, all neighbours; some of the lowest ones touch none.
    struct Filter {
        int first_bin = 0;
        int n_bins = 0;
        size_t weights = 0; // index into filter_weights
    };

    float hann[window];
    double fft_cos[kHalf], fft_sin[kHalf];   // exp(-2 pi i k / 256)
    double real_cos[kHalf], real_sin[kHalf]; // exp(-2 pi i k / 512)
    Filter filters[n_bins];
    std::vector<double> filter_weights;

    Tables() {
        for (int i = 0; i < window; i++) {
            hann[i] = static_cast<float>(0.5 - 0.5 * std::cos(2.0 * kPi * i / window));
        }
        for (int k = 0; k < kHalf; k++) {
            fft_cos[k] = std::cos(2.0 * kPi * k / kHalf);
            fft_sin[k] = -std::sin(2.0 * kPi * k / kHalf);
            real_cos[k] = std::cos(2.0 * kPi * k / n_fft);
            real_sin[k] = -std::sin(2.0 * kPi * k / n_fft);
        }
        double edges[n_bins + 2]; // Hz; filter m rises from edges[m] to edges[m + 1] and falls to edges[m + 2]
        for (int m = 0; m < n_bins + 2; m++) {
            edges[m] = mel_to_hz(hz_to_mel(kMaxHz) * m / (n_bins + 1));
        }
        for (int m = 0; m < n_bins; m++) {
            Filter & filter = filters[m];
            filter.weights = filter_weights.size();
            for (int bin = 0; bin < kBins; bin++) {
                const double hz = kMaxHz * bin / (kBins - 1);
                const double up = (hz - edges[m]) / (edges[m + 1] - edges[m]);
                const double down = (edges[m + 2] - hz) / (edges[m + 2] - edges[m + 1]);
                const double weight = std::min(up, down);
                if (weight > 0.0) {
                    if (filter.n_bins == 0) {
                        filter.first_bin = bin;
                    }
                    filter.n_bins++;
                    filter_weights.push_back(weight);
                }
            }
        }
    }

    // Complex FFT of 256 points: four radix-4 passes between two buffers, which also put the points in order (Stockham).
    // Returns the buffer that holds the result.
    const Spectrum & fft(Spectrum & a, Spectrum & b) const {
        Spectrum * in = &a;
        Spectrum * out = &b;
        for (int n = kHalf, stride = 1; n > 1; n /= 4, stride *= 4) {
            const int quarter = n / 4;
            for (int p = 0; p < quarter; p++) {
                const double w1r = fft_cos[p * stride], w1i = fft_sin[p * stride];
                const double w2r = fft_cos[2 * p * stride], w2i = fft_sin[2 * p * stride];
                const double w3r = fft_cos[3 * p * stride], w3i = fft_sin[3 * p * stride];
                const double * xr = in->re + stride * p;
                const double * xi = in->im + stride * p;
                double * yr = out->re + stride * 4 * p;
                double * yi = out->im + stride * 4 * p;
                const int step = stride * quarter;
                for (int q = 0; q < stride; q++) {
                    const double ar = xr[q], ai = xi[q];
                    const double br = xr[q + step], bi = xi[q + step];
                    const double cr = xr[q + 2 * step], ci = xi[q + 2 * step];
                    const double dr = xr[q + 3 * step], di = xi[q + 3 * step];
                    const double s0r = ar + cr, s0i = ai + ci, s1r = ar - cr, s1i = ai - ci;
                    const double s2r = br + dr, s2i = bi + di, s3r = br - dr, s3i = bi - di;
                    const double y1r = s1r + s3i, y1i = s1i - s3r; // s1 - i s3
                    const double y2r = s0r - s2r, y2i = s0i - s2i;
                    const double y3r = s1r - s3i, y3i = s1i + s3r; // s1 + i s3
                    yr[q] = s0r + s2r;
                    yi[q] = s0i + s2i;
                    yr[q + stride] = y1r * w1r - y1i * w1i;
                    yi[q + stride] = y1r * w1i + y1i * w1r;
                    yr[q + 2 * stride] = y2r * w2r - y2i * w2i;
                    yi[q + 2 * stride] = y2r * w2i + y2i * w2r;
                    yr[q + 3 * stride] = y3r * w3r - y3i * w3i;
                    yi[q + 3 * stride] = y3r * w3i + y3i * w3r;
                }
            }
            std::swap(in, out);
        }
        return *in;
    }
};

Mel::Mel() {
    static const std::shared_ptr<const Tables> tables = std::make_shared<const Tables>();
    tables_ = tables;
    samples_.assign(left_pad, 0.0f);
}

size_t Mel::n_frames(size_t n_samples) {
    return n_samples + left_pad < window + 1 ? 0 : (n_samples + left_pad - (window + 1)) / hop + 1;
}

size_t Mel::n_ready() const {
    const size_t n = samples_.size() - first_;
    return n < window + 1 ? 0 : (n - (window + 1)) / hop + 1;
}

void Mel::push(const float * samples, size_t n_samples) {
    samples_.erase(samples_.begin(), samples_.begin() + (std::ptrdiff_t)first_);
    first_ = 0;
    samples_.insert(samples_.end(), samples, samples + n_samples);
}

size_t Mel::pop(float * frames, size_t max_frames) {
    const size_t n = std::min(max_frames, n_ready());
    for (size_t i = 0; i < n; i++) {
        compute(samples_.data() + first_, frames + i * n_bins);
        first_ += hop;
    }
    return n;
}

void Mel::compute(const float * samples, float * frame) const {
    const Tables & t = *tables_;
    // Even samples are the real, odd ones the imaginary parts of a complex signal of half the length.
    Spectrum a, b;
    for (int i = 0; i < kHalf; i++) {
        a.re[i] = 2 * i < window ? samples[2 * i] * t.hann[2 * i] : 0.0f;
        a.im[i] = 2 * i < window ? samples[2 * i + 1] * t.hann[2 * i + 1] : 0.0f;
    }
    const Spectrum & z = t.fft(a, b);
    // Taken apart: X[k] = even[k] + exp(-2 pi i k / 512) odd[k].
    double magnitude[kBins];
    magnitude[0] = std::fabs(z.re[0] + z.im[0]);
    magnitude[kHalf] = std::fabs(z.re[0] - z.im[0]);
    for (int k = 1; k < kHalf; k++) {
        const int m = kHalf - k;
        const double even_re = 0.5 * (z.re[k] + z.re[m]), even_im = 0.5 * (z.im[k] - z.im[m]);
        const double odd_re = 0.5 * (z.im[k] + z.im[m]), odd_im = -0.5 * (z.re[k] - z.re[m]);
        const double re = even_re + odd_re * t.real_cos[k] - odd_im * t.real_sin[k];
        const double im = even_im + odd_re * t.real_sin[k] + odd_im * t.real_cos[k];
        magnitude[k] = std::sqrt(re * re + im * im);
    }
    for (int m = 0; m < n_bins; m++) {
        const Tables::Filter & filter = t.filters[m];
        const double * weights = t.filter_weights.data() + filter.weights;
        double sum = 0.0;
        for (int i = 0; i < filter.n_bins; i++) {
            sum += weights[i] * magnitude[filter.first_bin + i];
        }
        frame[m] = static_cast<float>(std::log(sum + kFloor));
    }
}

} // namespace ga
