import { z } from "zod";
import { mailLocales } from "../delivery/mail-page.js";

const MAX_TARGETS = 10;
const MAX_ADDRESSES = 20;

/** ASCII without quotes, so that no header and no envelope can be broken out of. */
const mailAddress = z.string().max(254).pipe(z.email("must be a plain mail address, as name@example.com"));

/** One line. */
const subject = z
  .string()
  .min(1)
  .max(200)
  .regex(/^[^\p{Cc}\p{Cs}\u2028\u2029]*$/u, "must not hold line ends or control characters");

const target = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("webhook"), endpoint_id: z.guid().toLowerCase() }),
  z.strictObject({
    type: z.literal("email"),
    to: z.array(mailAddress).min(1).max(MAX_ADDRESSES),
    /** Of mails about runs, instead of ours, which says what it is and how it ended. */
    subject: subject.optional(),
    locale: z.enum(mailLocales).optional(),
  }),
]);

/** Who hears how a run ended. */
export const notifyTargets = z
  .array(target)
  .max(MAX_TARGETS)
  .superRefine((targets, context) => {
    const seen = new Set<string>();
    for (const [index, each] of targets.entries())
      for (const [key, path] of keysOf(each)) {
        if (seen.has(key))
          context.addIssue({
            code: "custom",
            path: [index, ...path],
            message: "is named twice",
            params: { code: "duplicate" },
          });
        seen.add(key);
      }
  });
export type NotifyTargets = z.output<typeof notifyTargets>;

const keysOf = (each: z.output<typeof target>): [string, (string | number)[]][] =>
  each.type === "webhook"
    ? [[each.endpoint_id, ["endpoint_id"]]]
    : each.to.map((address, place) => [address.toLowerCase(), ["to", place]]);
