import { describe, expect, it } from "vitest";
import { cronExpression, parseCron } from "../../src/analytics/cron.js";

const refusal = (text: string) => {
  const [issue] = cronExpression.safeParse(text).error?.issues ?? [];
  return issue && `${issue.code === "custom" ? issue.params?.code : issue.code}: ${issue.message}`;
};

/** The dates of a year that match, as `01-31`. */
function dates(text: string, year = 2026): string[] {
  const cron = parseCron(text);
  const days = Array.from({ length: year % 4 === 0 ? 366 : 365 }, (_, day) => Date.UTC(year, 0, 1 + day));
  return days
    .filter((date) => cron.matchesDate(date))
    .map((date) => new Date(date).toISOString().slice(5, 10));
}

describe("a cron expression", () => {
  it("is kept as it was written, but for blanks", () => {
    expect(cronExpression.parse("  0  8 * *\tMON-fri ")).toBe("0 8 * * MON-fri");
  });

  it.each<[string, string]>([
    [
      "0 8 * *",
      "invalid_cron: has 4 fields; five are needed: minute, hour, day of the month, month, weekday",
    ],
    [
      "0 0 8 * * *",
      "invalid_cron: has 6 fields; five are needed: minute, hour, day of the month, month, weekday",
    ],
    ["", "invalid_cron: has 1 fields; five are needed: minute, hour, day of the month, month, weekday"],
    ["@daily", "invalid_cron: nicknames are not known; write five fields, @daily as 0 0 * * *"],
    ["0 8 ? * *", 'invalid_cron: day of the month: "?" is not understood'],
    ["H 8 * * *", 'invalid_cron: minute: "H" is not understood'],
    ["0 8 * * 1#1", 'invalid_cron: weekday: "1#1" is not understood'],
    ["0 8 * * 5L", 'invalid_cron: weekday: "5L" is not understood'],
    ["0 8 15W * *", 'invalid_cron: day of the month: "15W" is not understood'],
    ["0 8 * foo *", 'invalid_cron: month: "foo" is not understood'],
    ["0 8 * * monday", 'invalid_cron: weekday: "monday" is not understood'],
    ["0 25 * * *", "invalid_cron: hour: Constraint error, got value 25 expected range 0-23"],
    ["0 8 * * 5-1", "invalid_cron: weekday: Invalid range: 5-1, min(5) > max(1)"],
    ["*/0 8 * * *", "invalid_cron: minute: Constraint error, cannot repeat at every 0 time."],
    ["0 0 31 2 *", "invalid_cron: Invalid explicit day of month definition"],
    ["0 0 31 4,6 *", "never_fires: no date matches it"],
    ["* * * * *", "too_frequent: may fire at most once in 15 minutes"],
    ["*/10 * * * *", "too_frequent: may fire at most once in 15 minutes"],
    ["50 * * * *,", 'invalid_cron: weekday: "*," is not understood'],
    ["0,50 0,23 * * *", "too_frequent: may fire at most once in 15 minutes"],
  ])("%s is refused", (text, why) => {
    expect(refusal(text)).toBe(why);
  });

  it.each(["*/15 * * * *", "0 8 * * 1-5", "0 8 1 */3 *", "5/20 9-17/2 * * *", "0 8 l * 7", "0 8 29 2 *"])(
    "%s is taken",
    (text) => {
      expect(refusal(text)).toBeUndefined();
    },
  );

  it("with a day of the month and a weekday means either", () => {
    expect(dates("0 8 1 1,2 mon")).toEqual([
      "01-01",
      "01-05",
      "01-12",
      "01-19",
      "01-26",
      "02-01",
      "02-02",
      "02-09",
      "02-16",
      "02-23",
    ]);
    expect(dates("0 8 * 2 7")).toEqual(["02-01", "02-08", "02-15", "02-22"]);
    expect(dates("0 8 L,15 2 *", 2028)).toEqual(["02-15", "02-29"]);
  });
});
