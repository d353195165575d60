import { z } from "zod";

/** Payload of every job that works on a run: the row has everything else. */
export const runKey = z.strictObject({
  accountId: z.string(),
  runId: z.string(),
  generation: z.number().int(),
});
