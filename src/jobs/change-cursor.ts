import { z } from "zod";
import type { ChangePosition, ChangingDataset } from "../db/datasets/changes.js";

/** Written by us and read back from others, who are not to look inside: what is in it may change with any release. */
const VERSION = 1;
const MAX_LENGTH = 300;
const START = "start";

const transaction = z.string().regex(/^\d{1,20}$/);
const shape = z.tuple([
  z.literal(VERSION),
  z.string(),
  z.number().int(),
  transaction,
  z.number().int(),
  transaction,
]);

export function encodeChangeCursor(dataset: ChangingDataset, position: ChangePosition): string {
  const { epoch, xid, seq, horizon } = position;
  const key: z.output<typeof shape> = [VERSION, dataset, epoch, xid, seq, horizon];
  return Buffer.from(JSON.stringify(key)).toString("base64url");
}

/** A cursor of this dataset, as it was handed out; undefined for `start`, which is before everything. */
export const changeCursor = (dataset: ChangingDataset) =>
  z
    .string()
    .max(MAX_LENGTH)
    .transform((text, context): ChangePosition | undefined => {
      if (text === START) return undefined;
      const parsed = shape.safeParse(decoded(text));
      if (parsed.success && parsed.data[1] === dataset) {
        const [, , epoch, xid, seq, horizon] = parsed.data;
        return { epoch, xid, seq, horizon };
      }
      context.addIssue({
        code: "custom",
        message: `must be "start", or a cursor that an export of the changes of ${dataset} has given`,
        params: { code: "invalid_cursor" },
      });
      return z.NEVER;
    });

function decoded(text: string): unknown {
  try {
    return JSON.parse(Buffer.from(text, "base64url").toString("utf8"));
  } catch {
    return undefined;
  }
}
