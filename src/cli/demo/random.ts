/** A small seeded generator (mulberry32): the same seed gives the same demo on every machine. */
export function createRandom(seed: number) {
  let state = seed >>> 0;

  /** In [0, 1). */
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };

  return {
    next,
    chance: (probability: number): boolean => next() < probability,
    /** A whole number in [0, below). */
    below: (below: number): number => Math.floor(next() * below),
    /** One of the items, each as likely as its weight says. */
    pick: <T>(items: readonly T[], weightOf: (item: T) => number = () => 1): T => {
      let rest = next() * items.reduce((sum, item) => sum + weightOf(item), 0);
      for (const item of items) {
        rest -= weightOf(item);
        if (rest < 0) return item;
      }
      return items[items.length - 1]!;
    },
    /** Half of all values lie below `median`; the greater `spread`, the longer the tail. */
    logNormal: (median: number, spread: number): number => {
      const normal = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
      return median * Math.exp(spread * normal);
    },
  };
}

export type Random = ReturnType<typeof createRandom>;
