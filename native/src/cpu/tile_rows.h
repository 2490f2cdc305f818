// A tile's rows are known when it is compiled, so that its sums stay in registers. A source file includes this
// once, within its own namespace and within GA_TARGET_BEGIN ... GA_TARGET_END.

template <int kCount> struct Rows {
    static constexpr int count = kCount;
};

// Calls tile(Rows<n>()), n in [1, kMost].
template <int kMost, typename Tile> inline void with_rows(int n, const Tile & tile) {
    if constexpr (kMost > 1) {
        if (n < kMost) {
            with_rows<kMost - 1>(n, tile);
            return;
        }
    }
    tile(Rows<kMost>());
}
