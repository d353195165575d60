import fc from "fast-check";
import { messageDimensions, metrics } from "../../src/analytics/catalog.js";
import type { MetricsQuery } from "../../src/analytics/metrics-query.js";
import { filters, ranges } from "./metrics-cells.js";

const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
type Dimensions = MetricsQuery["groupBy"];

/** What is told apart, and what is let through. */
const shapes = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ groupBy: [] as Dimensions, filters: {} }) },
  {
    weight: 3,
    arbitrary: fc.record({
      groupBy: fc.shuffledSubarray([...messageDimensions], {
        minLength: 1,
        maxLength: 2,
      }) as fc.Arbitrary<Dimensions>,
      filters: fc.oneof(fc.constant({}), filters),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      groupBy: oneOf<Dimensions>(["channel_id"], []),
      filters: oneOf<MetricsQuery["filters"]>({}, { channel_id: ["c1", null] }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      groupBy: fc.shuffledSubarray(["channel_id", "started_by", "agent_id"] as const, { minLength: 1 }),
      filters: oneOf<MetricsQuery["filters"]>({}, { started_by: ["inbound"] }, { agent_id: ["ann", null] }),
    }),
  },
);

/** Questions about all metrics but those of contacts: everything that a shape allows, or a few of it. */
export const questions = fc
  .record({
    shape: shapes,
    range: fc.oneof(fc.constant({}), ranges),
    interval: oneOf<MetricsQuery["interval"]>("15m", "hour", "day", "week", "month", "all"),
    timeZone: oneOf("UTC", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Havana"),
    basis: oneOf("cohort" as const, "event" as const),
    groups: oneOf("exclude" as const, "include" as const),
    responders: oneOf("human" as const, "any" as const),
    clock: oneOf("first" as const, "last" as const),
    /** Alone, metrics of the queue show what the others would show anyway. */
    family: oneOf(undefined, undefined, "queue"),
    /** Which of the metrics, as parts of all that the shape allows; everything where there are none. */
    picks: fc.oneof(
      fc.constant<number[]>([]),
      fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { maxLength: 4 }),
    ),
  })
  .map(({ shape, range, interval, family, picks, ...rest }) => {
    const used = [...shape.groupBy, ...Object.keys(shape.filters)];
    const possible = metrics
      .filter(({ rollup }) => rollup !== "contacts")
      .filter(({ dimensions }) => used.every((name) => (dimensions as readonly string[]).includes(name)))
      .map(({ id }) => id);
    const own = metrics.filter((metric) => metric.family === family).map(({ id }) => id);
    const few = own.filter((id) => possible.includes(id));
    const from = few.length > 0 ? few : possible;
    const picked = [...new Set(picks.map((pick) => from[Math.floor(pick * from.length)]!))];
    return {
      ...rest,
      ...shape,
      ...range,
      metrics: picked.length > 0 ? picked : possible,
      // The whole time is too long for the finest intervals.
      interval: !("from" in range) && ["15m", "hour"].includes(interval) ? ("day" as const) : interval,
    };
  });
