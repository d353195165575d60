import { describe, expect, it } from "vitest";
import {
  type CatchUp,
  decideSlots,
  type Line,
  MAX_WAITING,
  type Overlap,
} from "../../src/analytics/due-slots.js";

const MINUTE_MS = 60_000;
const now = Date.UTC(2026, 4, 1, 8, 1);

/** What becomes of slots that are so many minutes late. */
function decide(late: number[], catchUp: CatchUp, overlap: Overlap, line: Partial<Line> = {}): string[] {
  const due = late.map((minutes) => now - minutes * MINUTE_MS);
  const slots = decideSlots(due, { catchUp, overlap }, { isBusy: false, waiting: 0, ...line }, now);
  expect(slots.map((slot) => slot.fireAt)).toEqual(due);
  return slots.map((slot) => (slot.reason ? `${slot.outcome} ${slot.reason}` : slot.outcome));
}

describe("a slot on time", () => {
  it("runs, unless a run is open: then it waits or is skipped", () => {
    expect(decide([1], "last", "skip")).toEqual(["queued"]);
    expect(decide([1], "last", "skip", { isBusy: true })).toEqual(["skipped_overlap previous_run_open"]);
    expect(decide([1], "last", "queue", { isBusy: true })).toEqual(["waiting"]);
  });

  it("stands behind those that wait already", () => {
    expect(decide([1], "last", "queue", { waiting: 1 })).toEqual(["waiting"]);
    expect(decide([1], "all", "skip", { isBusy: true, waiting: 1 })).toEqual(["waiting"]);
    expect(decide([1], "all", "skip", { isBusy: true })).toEqual(["skipped_overlap previous_run_open"]);
  });

  it("finds no place in a line that is full", () => {
    expect(decide([1], "all", "queue", { isBusy: true, waiting: MAX_WAITING })).toEqual([
      "skipped_overlap line_full",
    ]);
  });
});

describe("slots that were missed", () => {
  it("are left out, but for the last, or made up for in order", () => {
    expect(decide([61, 31, 1], "none", "skip")).toEqual(["missed too_late", "missed too_late", "queued"]);
    expect(decide([61, 31], "last", "skip")).toEqual(["missed newer_slot", "queued caught_up"]);
    expect(decide([61, 31, 1], "all", "skip")).toEqual(["queued caught_up", "waiting caught_up", "waiting"]);
  });

  it("meet a run that was open before as overlap says, or stand in line for all", () => {
    expect(decide([61, 31], "last", "skip", { isBusy: true })).toEqual([
      "missed newer_slot",
      "skipped_overlap previous_run_open",
    ]);
    expect(decide([61, 31], "last", "queue", { isBusy: true })).toEqual([
      "missed newer_slot",
      "waiting caught_up",
    ]);
    expect(decide([61, 31], "all", "skip", { isBusy: true })).toEqual([
      "waiting caught_up",
      "waiting caught_up",
    ]);
  });
});
