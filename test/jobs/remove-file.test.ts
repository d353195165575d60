import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import type { ArtifactStore } from "../../src/exports/artifacts/artifact-store.js";
import { removeFile } from "../../src/jobs/remove-file.js";

it("a file of many parts is removed 16 at a time, all of them", async () => {
  const removed: string[] = [];
  let [now, most] = [0, 0];
  const store = {
    async remove(key: string) {
      most = Math.max(most, ++now);
      await setImmediate();
      now--;
      removed.push(key);
    },
  } as ArtifactStore;
  const keys = Array.from({ length: 100 }, (_, part) => `run/${part}`);
  await removeFile(store, { segments: [{ inline: "" }, ...keys.map((key) => ({ key, bytes: 1 }))] });
  expect(most).toBe(16);
  expect(removed.sort()).toEqual(keys.sort());
});
