import { z } from "zod";

/** Only what PostgreSQL can store: no NUL, no half surrogate pair. */
export const storable = (text: z.ZodString) =>
  text.refine((value) => value.isWellFormed() && !value.includes("\0"), {
    error: "must not hold NUL or an unpaired surrogate",
    params: { code: "invalid_text" },
  });

/** Storable text that is not empty. Length in UTF-16 units. */
export const safeText = (max: number) => storable(z.string().min(1).max(max));
