import { z } from "zod";
import { defineJob } from "./define-job.js";

/** Folds one account's new events into messages and rollups. */
export const foldEvents = defineJob({
  kind: "events.fold",
  queue: "aggregation",
  payload: z.strictObject({ accountId: z.string() }),
  dedupe: (payload) => payload.accountId,
  async run() {
    return {};
  },
});
