import { describe, expect, it } from "vitest";
import { wallTimes } from "../../src/exports/wall-time.js";

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;
const begin = Date.UTC(2009, 0, 1);
const end = Date.UTC(2031, 0, 1);

/** What the clocks of a zone are ahead of UTC, asked of Intl each time. */
function offsets(timeZone: string): (time: number) => number {
  const format = new Intl.DateTimeFormat("en-US", { timeZone, timeZoneName: "longOffset" });
  return (time) => {
    const [, sign, hours, minutes] = /GMT(?:([+-])(\d\d):(\d\d))?$/.exec(format.format(time))!;
    const ahead = (Number(hours ?? 0) * 60 + Number(minutes ?? 0)) * MINUTE_MS;
    return sign === "-" ? -ahead : ahead;
  };
}

/** The first instants of a new offset, to the second. */
function transitionsOf(offsetAt: (time: number) => number): number[] {
  const found: number[] = [];
  for (let week = begin; week < end; week += 7 * DAY_MS) {
    let [before, after] = [week, week + 7 * DAY_MS];
    if (offsetAt(before) === offsetAt(after)) continue;
    while (after - before > SECOND_MS) {
      const middle = before + Math.floor((after - before) / 2 / SECOND_MS) * SECOND_MS;
      if (offsetAt(middle) === offsetAt(before)) before = middle;
      else after = middle;
    }
    found.push(after);
  }
  return found;
}

describe("the clock on the wall", () => {
  it("changes at the minute, also of a zone that does so at 00:01", () => {
    const wallTime = wallTimes("America/St_Johns");
    const shown = (time: string) => new Date(wallTime(Date.parse(time))).toISOString().slice(11, 19);
    expect(["03:30:30", "03:40:00", "03:30:59", "03:31:00"].map((at) => shown(`2010-03-14T${at}Z`))).toEqual([
      "00:00:30",
      "01:10:00",
      "00:00:59",
      "01:01:00",
    ]);
  });

  it("is that of Intl around every change of every zone, whichever time is asked for first", () => {
    let changes = 0;
    for (const timeZone of Intl.supportedValuesOf("timeZone")) {
      const offsetAt = offsets(timeZone);
      const [forwards, backwards] = [wallTimes(timeZone), wallTimes(timeZone)];
      for (const change of transitionsOf(offsetAt)) {
        changes++;
        const times = [-30 * MINUTE_MS, -5 * MINUTE_MS, -1, 0, 5 * MINUTE_MS, 30 * MINUTE_MS].map(
          (distance) => change + distance,
        );
        const expected = times.map((time) => time + offsetAt(time));
        const forward = times.map((time) => forwards(time));
        const backward = times.toReversed().map((time) => backwards(time));
        expect(forward, timeZone).toEqual(expected);
        expect(backward.reverse(), timeZone).toEqual(expected);
      }
    }
    expect(changes).toBeGreaterThan(3_000);
  }, 60_000);
});
