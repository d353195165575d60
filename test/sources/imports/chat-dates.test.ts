import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type DateOrder, guessDateOrder } from "../../../src/sources/imports/chat-dates.js";

type Parts = [number, number, number];
const now = Date.UTC(2026, 10, 24);
const guess = (...dates: Parts[]) => {
  const found = guessDateOrder(now);
  for (const date of dates) found.see(date, true);
  return found.order();
};

describe("the order of a chat's dates", () => {
  it.each<[string, DateOrder | undefined, Parts[]]>([
    ["a day that is no month", "dmy", [[13, 2, 2025]]],
    ["a day in second place", "mdy", [[2, 13, 2025]]],
    ["a year in first place", "ymd", [[2025, 3, 2]]],
    [
      "a date that would lie ahead of now",
      "mdy",
      [
        [11, 12, 25],
        [1, 12, 26],
      ]
        .map((d) => d as Parts)
        .concat([[10, 12, 26]]),
    ],
    [
      "times that would run backwards",
      "dmy",
      [
        [3, 1, 2025],
        [1, 2, 2025],
        [2, 3, 2025],
      ],
    ],
    [
      "the part that changes faster",
      "dmy",
      [
        [1, 1, 2025],
        [2, 1, 2025],
        [3, 1, 2025],
      ],
    ],
    ["nothing that tells", undefined, [[1, 2, 2025]]],
    [
      "too little that tells",
      undefined,
      [
        [1, 2, 2025],
        [1, 3, 2025],
      ],
    ],
    ["dates that are none in any order", undefined, [[31, 31, 2025]]],
  ])("is known from %s", (_why, order, dates) => {
    expect(guess(...dates)).toBe(order);
  });

  it("is never guessed wrong for a chat of many days", () => {
    const days = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 40, maxLength: 80 });
    fc.assert(
      fc.property(
        days,
        fc.constantFrom<DateOrder>("dmy", "mdy", "ymd"),
        fc.boolean(),
        (steps, order, short) => {
          let ms = Date.UTC(2023, 0, 1);
          const dates = steps.map((step): Parts => {
            ms += step * 86_400_000;
            const t = new Date(ms);
            const [y, m, d] = [
              t.getUTCFullYear() % (short ? 100 : 10_000),
              t.getUTCMonth() + 1,
              t.getUTCDate(),
            ];
            return order === "dmy" ? [d, m, y] : order === "mdy" ? [m, d, y] : [y, m, d];
          });
          expect(guess(...dates)).toBe(order);
        },
      ),
    );
  });
});
