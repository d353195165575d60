/**
 * Durations are kept in bins whose bounds grow by 2 %: bin 0 is 0 ms (or a clock that ran backwards), bin k ≥ 1 holds
 * [g^(k−1), g^k) ms. The nearest-rank percentile of a set lies in the bin of that rank; these are the values a bin
 * stands for, in seconds.
 */
export const BIN_GROWTH = 1.02;

/** The whole milliseconds that fall into a bin. Empty (`first > last`) for bins narrower than the gap between two. */
function wholeMs(bin: number): { first: number; last: number } {
  return { first: Math.ceil(BIN_GROWTH ** (bin - 1)), last: Math.ceil(BIN_GROWTH ** bin) - 1 };
}

/** Digits beyond microseconds are noise of the binning. */
const toSeconds = (ms: number): number => Math.round(ms * 1_000) / 1_000_000;

/** The value with the least relative error against anything in the bin: at most 1 %, none where it holds one value. */
export function binSeconds(bin: number): number {
  if (bin <= 0) return 0;
  const middle = (2 * BIN_GROWTH ** bin) / (BIN_GROWTH + 1);
  const { first, last } = wholeMs(bin);
  return toSeconds(first > last ? middle : Math.min(Math.max(middle, first), last));
}
