/**
 * A family of numbers that add up: whole-number columns kept per bucket and combination of dimension values, in two
 * grains. Everything that writes, checks or reads rollups is made from such a description.
 */
export interface RollupFamily {
  /** A row per 15 minutes and combination. */
  quarters: string;
  /** A row per local day of each of the account's zones, grouping and combination. */
  days: string;
  /** What is still to be added to both: rows like those of the quarters, any number to a key, that may be below zero. */
  deltas: string;
  /** What the `dimensions_id` of all of them stand for. */
  sets: string;
  dimensions: readonly string[];
  /** Columns that count; a placement names its counters as a bit mask in this order. */
  counters: readonly string[];
  /** Columns with sums of milliseconds whose single values are binned too. The position is the slot of the bins. */
  durations: readonly string[];
  /** Columns with sums of other whole numbers. */
  sums: readonly string[];
  /** Type of a bin with its slot. */
  binType: "smallint" | "integer";
}

/** Bounds of the duration bins grow by 2 %: a value is known to ± 1 %. */
export const BIN_GROWTH = 1.02;

/** Bins of one duration: 1,500 × 2 % reaches from 1 ms past 200 years, so twenty slots of bins fit into a smallint. */
export const BINS_PER_SLOT = 1_500;

/** Seconds of the finest bucket: every UTC offset in use is a multiple of it. */
export const BUCKET_SECONDS = 900;

/** Columns of a family that add up. */
export const additiveColumns = (family: RollupFamily): string[] => [
  ...family.counters,
  ...family.durations,
  ...family.sums,
];

/** The mask of one counter, as SQL. Masks are bigint: a family may count more than 31 things. */
export function counterBit(family: RollupFamily, counter: string): string {
  const position = family.counters.indexOf(counter);
  if (position < 0) throw new RangeError(`${family.quarters} does not count ${counter}`);
  return `${2n ** BigInt(position)}::bigint`;
}

/**
 * Days are kept for some subsets of the dimensions too, so that a year by one dimension reads a row per day and value
 * and not one per combination. `mask` names the dimensions that a row tells apart, a bit each.
 */
export interface Grouping {
  mask: number;
  dimensions: readonly string[];
}

export const allDimensions = (family: RollupFamily): Grouping => ({
  mask: 2 ** family.dimensions.length - 1,
  dimensions: family.dimensions,
});

/** No dimension, each dimension alone, and all of them. */
export const groupingsOf = (family: RollupFamily): Grouping[] => [
  { mask: 0, dimensions: [] },
  ...family.dimensions.map((name, index) => ({ mask: 2 ** index, dimensions: [name] })),
  allDimensions(family),
];

/** The smallest kept grouping that tells these dimensions apart. */
export function groupingFor(family: RollupFamily, dimensions: readonly string[]): Grouping {
  return groupingsOf(family).find((grouping) =>
    dimensions.every((name) => grouping.dimensions.includes(name)),
  )!;
}

/** One grain of a family: its table, and the columns of its key after the account. */
export interface Grain {
  table: string;
  keys: readonly string[];
}

export const quarterGrain = (family: RollupFamily): Grain => ({
  table: family.quarters,
  keys: ["bucket", "dimensions_id"],
});

/** What waits to be added has the key of the quarters, though not uniquely. */
export const deltaGrain = (family: RollupFamily): Grain => ({
  ...quarterGrain(family),
  table: family.deltas,
});

export const dayGrain = (family: RollupFamily): Grain => ({
  table: family.days,
  keys: ["zone_id", "grouping", "day", "dimensions_id"],
});
