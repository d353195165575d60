import { expect, it } from "vitest";
import { createTurns } from "../../src/api/metrics-cache/turns.js";

it("turns are taken in order, so many at a time, and given back by what fails", async () => {
  const inTurn = createTurns(2);
  const order: number[] = [];
  let running = 0;
  let most = 0;
  const work = (index: number) => async () => {
    most = Math.max(most, ++running);
    order.push(index);
    await new Promise(setImmediate);
    running--;
    if (index % 2 === 0) throw new Error(`${index}`);
    return index;
  };
  const results = await Promise.allSettled(Array.from({ length: 9 }, (_, index) => inTurn(work(index))));
  expect(order).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
  expect(most).toBe(2);
  expect(results.map(({ status }) => status === "fulfilled")).toEqual(order.map((index) => index % 2 === 1));
  expect(await inTurn(work(1))).toBe(1);
});
